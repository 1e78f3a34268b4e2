"""Anderson extrapolation of a sequence of passes, as Bertrand & Massias (2021) have it for coordinate descent."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_RIDGE = 1e-13
"""Of the mean square of the differences, above their rounding: along a slow direction they are nearly equal."""


@attrs.define(eq=False)
class Extrapolation:
    """The last points of a sequence, and where it seems to go.

    Parameters
    ----------
    scale
        Curvature of each coordinate, shape (k,): differences are measured in the fall that they bring.
    length
        How many differences are combined.
    """

    scale: FloatArray
    length: int
    _points: list[FloatArray] = attrs.field(factory=list, init=False)

    def restart(self, point: FloatArray) -> None:
        """Begin a new sequence here."""
        self._points = [point.copy()]

    def add(self, point: FloatArray) -> FloatArray | None:
        """Add a point; when there are enough, the combination of the points whose differences cancel best.

        None before that, and where the differences are not finite or have no length.
        """
        self._points.append(point.copy())
        if len(self._points) <= self.length:
            return None
        points = np.array(self._points)
        differences = np.diff(points, axis=0) * np.sqrt(self.scale)
        # Not a product of matrices: BLAS sums in an order that depends on its threads.
        gram = np.einsum("ij,kj->ik", differences, differences)
        trace = float(np.trace(gram))
        if not 0.0 < trace < np.inf:
            return None
        gram[np.diag_indices(self.length)] += _RIDGE * trace / self.length
        shares = np.linalg.solve(gram / trace, np.ones(self.length))
        total = float(shares.sum())
        return None if total == 0.0 else np.asarray((shares / total) @ points[1:])

"""The interface of losses, and the one family of convex prices that every solver understands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.losses.row_kernels import row_costs, row_slopes
from l0_gates.jit import read_only

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def _not_written_to(values: FloatArray) -> FloatArray:
    return read_only(np.asarray(values))


@attrs.frozen(eq=False)
class RowPrice:
    r"""What the residual of each target costs: a convex, even, piecewise linear-quadratic function.

    .. math:: h_i(r) = \sup_{|y| \le c_i} \; y r - d_i |y| - \tfrac{1}{2} q_i y^2

    Parameters
    ----------
    cap
        ``c``, shape (m,): the slope far out; ``inf`` where the price grows without a bound on its slope.
    dead_zone
        ``d``, shape (m,), in relative error: residuals up to it are free (tolerance).
    curvature
        ``q``, shape (m,): 0 is an absolute loss.

    Notes
    -----
    With ``s = max(|r| - d, 0)``: ``h = s^2 / (2 q)`` where ``s <= q c`` and ``c s - q c^2 / 2`` beyond.
    So ``(c, 0, 0)`` is ``c |r|``; ``(c, d, 0)`` has a tolerance; ``(c, 0, delta / c)`` is Huber's loss
    with its corner at delta; ``(inf, 0, 1 / c)`` is ``c r^2 / 2``; ``(inf, d, 0)`` is the constraint
    ``|r| <= d``. The conjugate is ``d |y| + q y^2 / 2`` on ``|y| <= c``.
    """

    cap: FloatArray = attrs.field(converter=_not_written_to)
    dead_zone: FloatArray = attrs.field(converter=_not_written_to)
    curvature: FloatArray = attrs.field(converter=_not_written_to)

    @classmethod
    def absolute(cls, weights: FloatArray) -> RowPrice:
        """``c_i |r_i|``."""
        zero = np.zeros_like(weights)
        return cls(weights, zero, zero)

    @classmethod
    def absolute_of(cls, problem: CalibrationProblem) -> RowPrice:
        """``c_i max(|r_i| - tolerance_i, 0)``, with the loss weights and tolerances of a problem."""
        weights = problem.loss_weights
        return cls(weights, problem.tolerances, np.zeros_like(weights))

    @property
    def is_absolute(self) -> bool:
        """Whether every row is ``c_i |r_i|`` with a finite ``c_i``."""
        return bool(np.isfinite(self.cap).all() and not self.dead_zone.any() and not self.curvature.any())

    def values(self, residuals: FloatArray) -> FloatArray:
        """``h_i(r_i)``, shape (m,); ``inf`` where a hard row is violated."""
        out = np.empty(residuals.size)
        row_costs(np.ascontiguousarray(residuals), self.cap, self.dead_zone, self.curvature, out)
        return out

    def slopes(self, residuals: FloatArray) -> FloatArray:
        """``h_i'(r_i)``, shape (m,); 0 at a corner at 0, ``inf`` where a hard row is violated."""
        out = np.empty(residuals.size)
        row_slopes(np.ascontiguousarray(residuals), self.cap, self.dead_zone, self.curvature, out)
        return out

    def total(self, residuals: FloatArray) -> float:
        """``sum_i h_i(r_i)``."""
        return float(self.values(residuals).sum())

    def conjugate(self, y: FloatArray) -> float:
        """``sum_i d_i |y_i| + q_i y_i^2 / 2`` for y inside the caps."""
        return float((self.dead_zone * np.abs(y) + 0.5 * self.curvature * y * y).sum())


class Loss(ABC):
    """How error is priced.

    A loss turns a problem into a `RowPrice`. One that is not convex (an error capped at a level) is
    solved as a sequence of convex ones: `reprice` says the next from the residuals of the last.
    Pure: equal arguments give equal answers, and none of them is written to. `l0_calibrate.testing.LossContract`
    holds a loss to what is said here.
    """

    @abstractmethod
    def price(self, problem: CalibrationProblem) -> RowPrice:
        """The price of each target, in the sum form.

        Float64 arrays of shape (m,), not negative; a cap may be infinite. What a target costs is in proportion to
        ``problem.loss_weights``, which average 1 over the targets; an error within ``problem.tolerances`` costs
        nothing.

        Raises
        ------
        InputError
            The problem lacks what the loss needs (a column of standard errors, say).
        """

    def abandoned(self, price: RowPrice, residuals: FloatArray) -> BoolArray | None:
        """Census of the targets whose error counts no further, flags of shape (m,); None for a loss with no such.

        In the price that `reprice` names at these residuals they cost nothing.
        """
        return None

    def reprice(self, price: RowPrice, residuals: FloatArray) -> RowPrice | None:
        """The next convex price of a loss that is not convex, from its first price and the latest residuals.

        The sequence is settled when a price comes again; None (always, if the loss is convex) ends it too. A loss that
        names a price for some residuals names one for infinite ones: this is how it is known not to be convex.
        """
        return None

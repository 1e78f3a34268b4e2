"""From options to the bounds of each ratio."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.inner import inner
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SUM_ROUNDING = 1e-12
"""Part of a sum of weights that is rounding."""


@attrs.frozen(eq=False)
class Bounds:
    """What the ratio of each record may be.

    ``lower_ratio`` and ``upper_ratio`` are against the reference weight scaled up by records / kept;
    ``caps`` of shape (n,) are the largest ratios that the absolute bound allows (``inf`` for none).
    """

    lower_ratio: float
    upper_ratio: float
    caps: FloatArray

    def on(self, support: IntArray, scale_up: float) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of the ratios of a support."""
        upper = np.minimum(np.full(support.size, self.upper_ratio * scale_up), self.caps[support])
        lower = np.full(support.size, self.lower_ratio * scale_up)
        return lower, upper


def bounds_of(problem: CalibrationProblem, options: Options) -> Bounds:
    """The bounds, or an error that names the first record they leave nothing for."""
    w0 = problem.initial_weights
    caps = np.full(w0.size, np.inf)
    if options.max_weight is not None:
        np.divide(options.max_weight, w0, out=caps, where=w0 > 0)
    bounds = Bounds(
        options.min_weight_ratio or 0.0,
        np.inf if options.max_weight_ratio is None else options.max_weight_ratio,
        caps,
    )
    keep = options.budget(w0.size)
    scale_up = 1.0 if keep is None else w0.size / keep
    if keep is None:
        lower, upper = bounds.on(np.arange(w0.size), scale_up)
        pinched = np.flatnonzero(lower > upper)
        if pinched.size:
            j = int(pinched[0])
            raise InputError(
                f"contradictory bounds: record {problem.record_ids[j]} must have at least {lower[j] * w0[j]:.6g} "
                f"by min_weight_ratio and at most {upper[j] * w0[j]:.6g} by max_weight"
                + (f" ({pinched.size - 1} more records like it)" if pinched.size > 1 else "")
            )
    if options.conserve_mass:
        _check_mass(problem, bounds, keep, scale_up)
    return bounds


def _check_mass(problem: CalibrationProblem, bounds: Bounds, keep: int | None, scale_up: float) -> None:
    """Whether the sum of the weights can be held at all."""
    w0 = problem.initial_weights
    lower, upper = bounds.on(np.arange(w0.size), scale_up)
    mass = float(w0.sum())
    with np.errstate(invalid="ignore"):
        most = np.where(w0 > 0, upper * w0, 0.0)
    largest = float(most.sum()) if keep is None else float(np.sort(most)[-keep:].sum())
    if largest < mass * (1 - SUM_ROUNDING):
        raise InputError(
            f"conserve_mass cannot hold: the bounds allow a sum of weights of at most {largest:.6g}, "
            f"the initial weights sum to {mass:.6g}; raise max_weight, max_weight_ratio or keep"
        )
    if keep is None and inner(lower, w0) > mass * (1 + SUM_ROUNDING):
        raise InputError(
            f"conserve_mass cannot hold: min_weight_ratio {bounds.lower_ratio} gives more than the "
            f"initial sum {mass:.6g}"
        )


def check_mass_on(problem: CalibrationProblem, bounds: Bounds, support: IntArray, selector: str) -> None:
    """Whether the records that a selector chose can hold the sum of the weights; InputError where not."""
    w0 = problem.initial_weights[support]
    lower, upper = bounds.on(support, problem.n_records / support.size)
    mass = float(problem.initial_weights.sum())
    least, most = inner(lower, w0), inner(upper, w0)
    if not least * (1 - SUM_ROUNDING) <= mass <= most * (1 + SUM_ROUNDING):
        raise InputError(
            f"conserve_mass cannot hold on the {support.size:,} records that selector {selector!r} chose: the bounds "
            f"allow them a sum of weights from {least:.6g} to {most:.6g}, the initial weights sum to {mass:.6g}; "
            "raise max_weight_ratio or max_weight, lower min_weight_ratio, or keep other records"
        )

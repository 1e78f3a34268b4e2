"""The numbers that belong together beside any set of weights: loss, effective sample size, largest ratio."""

from __future__ import annotations

import hashlib
import math

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.problem import CalibrationProblem

FloatArray = npt.NDArray[np.float64]

MET = 1e-6
"""Relative error of a target that nobody minds."""
CLOSE = 0.1
"""Relative error up to which a target counts as about met: ``within_10_percent``."""


def effective_sample_size(weights: FloatArray) -> float:
    """Kish's effective sample size, ``(sum w)^2 / sum w^2`` (Kish 1965, section 11.7); 0 for no weight at all."""
    peak = float(np.abs(weights).max(initial=0.0))  # weights of others (GREG's) may be negative
    if peak <= 0.0:
        return 0.0
    scaled = weights / peak  # squares of large weights must not overflow
    # Not a product of BLAS, which splits long vectors by the cores of the machine and keeps them busy for a while.
    return float(scaled.sum() ** 2 / np.square(scaled).sum())


def scale_up_of(weights: FloatArray) -> float:
    """Records / kept: with reference weights so many times as large, the kept records stand for all; 1 without any."""
    kept = int(np.count_nonzero(weights))
    return weights.size / kept if kept else 1.0


def weight_ratios(weights: FloatArray, reference: FloatArray, scale_up: float) -> FloatArray:
    """Weight over reference weight, shape (records,), in the terms in which ``max_weight_ratio`` bounds it.

    With a budget the reference weight is scaled up by records / kept (`scale_up_of`): 1 is then the ratio of a file
    whose kept records share the weight of all in the proportion of their reference weights. A dense fit keeps all
    records, some perhaps at zero, and has a ``scale_up`` of 1. 0 where the weight is 0, ``inf`` where only the
    reference is.
    """
    ratios = np.where(weights > 0, np.inf, 0.0)
    np.divide(weights, reference * scale_up, out=ratios, where=reference > 0)
    return ratios


def fingerprint(weights: FloatArray) -> str:
    """SHA-256 of the weights' bits (little-endian float64), to notice any change."""
    return hashlib.sha256(np.ascontiguousarray(weights, dtype="<f8").tobytes()).hexdigest()


def share_text(share: float, decimals: int = 1) -> str:
    """A share in per cent, rounded; 100 only where it is all, 0 only where it is nothing, a dash where unknown."""
    if math.isnan(share):
        return "-"
    step = 10.0**-decimals
    percent = 100.0 * share
    if 0.0 < share < 1.0:
        percent = min(max(percent, step), 100.0 - step)
    return f"{percent:.{decimals}f} %"


@attrs.frozen
class Diagnostics:
    """What a set of weights does to a problem.

    ``loss`` is the mean of |relative error| over the targets, ``loss_capped`` the same with each error
    capped at 1, ``within_10_percent`` the share of targets whose error is at most 0.1; ``design_effect``
    is kept / ESS, ``max_ratio`` the largest of `weight_ratios`; ``top_share`` is the part of the total weight on
    the heaviest 1 % of the kept records.
    """

    loss: float
    loss_capped: float
    within_10_percent: float
    worst_error: float
    kept: int
    total_weight: float
    ess: float
    design_effect: float
    max_ratio: float
    top_share: float


def diagnose(problem: CalibrationProblem, weights: FloatArray, scale_up: float | None = None) -> Diagnostics:
    """Score weights of shape (records,) from the problem's own matrix, independently of any solver.

    ``scale_up`` as in `weight_ratios`; None where it is not known whether zeros were dropped: they are taken for such.
    """
    return diagnostics_of(problem.relative_errors(weights), weights, problem.initial_weights, scale_up)


def diagnostics_of(
    relative_errors: FloatArray, weights: FloatArray, reference: FloatArray, scale_up: float | None = None
) -> Diagnostics:
    """The same from the errors, shape (targets,), the weights and the reference weights, shape (records,)."""
    errors = np.abs(relative_errors)
    kept = int(np.count_nonzero(weights))
    ess = effective_sample_size(weights)
    total = float(weights.sum())
    top = max(1, kept // 100)
    ratios = weight_ratios(weights, reference, scale_up_of(weights) if scale_up is None else scale_up)
    return Diagnostics(
        loss=float(errors.mean()),
        loss_capped=float(np.minimum(errors, 1.0).mean()),
        within_10_percent=float((errors <= CLOSE).mean()),
        worst_error=float(errors.max()),
        kept=kept,
        total_weight=total,
        ess=ess,
        design_effect=kept / ess if ess > 0 else float("nan"),
        max_ratio=float(ratios.max()),
        top_share=float(np.sort(weights)[-top:].sum() / total) if total > 0 else float("nan"),
    )

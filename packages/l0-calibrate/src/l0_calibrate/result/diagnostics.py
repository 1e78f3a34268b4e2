"""The numbers that belong together beside any set of weights: loss, effective sample size, largest ratio."""

from __future__ import annotations

import hashlib

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.problem import CalibrationProblem

FloatArray = npt.NDArray[np.float64]


def effective_sample_size(weights: FloatArray) -> float:
    """Kish's effective sample size, ``(sum w)^2 / sum w^2`` (Kish 1965, section 11.7); 0 for no weight at all."""
    peak = float(np.max(weights, initial=0.0))
    if peak <= 0.0:
        return 0.0
    scaled = weights / peak  # squares of large weights must not overflow
    return float(scaled.sum() ** 2 / (scaled @ scaled))


def weight_ratios(weights: FloatArray, reference: FloatArray) -> FloatArray:
    """Weight over reference weight scaled up by records / kept, shape (records,).

    The scaling makes 1 the ratio of a file whose kept records share the weight of all in the
    proportion of their reference weights, and makes ratios comparable with ``max_weight_ratio``.
    0 where the weight is 0, ``inf`` where only the reference is.
    """
    kept = int(np.count_nonzero(weights))
    scale_up = reference.size / kept if kept else 1.0
    ratios = np.where(weights > 0, np.inf, 0.0)
    np.divide(weights, reference * scale_up, out=ratios, where=reference > 0)
    return ratios


def fingerprint(weights: FloatArray) -> str:
    """SHA-256 of the weights' bits (little-endian float64), to notice any change."""
    return hashlib.sha256(np.ascontiguousarray(weights, dtype="<f8").tobytes()).hexdigest()


@attrs.frozen
class Diagnostics:
    """What a set of weights does to a problem.

    ``loss`` is the mean of |relative error| over the targets, ``loss_capped`` the same with each error
    capped at 1, ``within_10_percent`` the share of targets whose error is at most 0.1; ``design_effect``
    is kept / ESS; ``top_share`` is the part of the total weight on the heaviest 1 % of the kept records.
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


def diagnose(problem: CalibrationProblem, weights: FloatArray) -> Diagnostics:
    """Score weights of shape (records,) from the problem's own matrix, independently of any solver."""
    return diagnostics_of(problem.relative_errors(weights), weights, problem.initial_weights)


def diagnostics_of(relative_errors: FloatArray, weights: FloatArray, reference: FloatArray) -> Diagnostics:
    """The same from the errors, shape (targets,), the weights and the reference weights, shape (records,)."""
    errors = np.abs(relative_errors)
    kept = int(np.count_nonzero(weights))
    ess = effective_sample_size(weights)
    total = float(weights.sum())
    top = max(1, kept // 100)
    return Diagnostics(
        loss=float(errors.mean()),
        loss_capped=float(np.minimum(errors, 1.0).mean()),
        within_10_percent=float((errors <= 0.1).mean()),
        worst_error=float(errors.max()),
        kept=kept,
        total_weight=total,
        ess=ess,
        design_effect=kept / ess if ess > 0 else float("nan"),
        max_ratio=float(weight_ratios(weights, reference).max()),
        top_share=float(np.sort(weights)[-top:].sum() / total) if total > 0 else float("nan"),
    )

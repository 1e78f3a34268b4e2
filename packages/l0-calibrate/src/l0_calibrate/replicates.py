"""Replicate weights, calibrated in the same way as the main weights and on the same records."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.calibrate import calibrate
from l0_calibrate.options import DEFAULT_SELECTOR
from l0_calibrate.problem.problem import attrs_copy
from l0_calibrate.problem.replicate_weights import called, checked_replicates, replicate_names, unlike_weights
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.solvers.base import Start
from l0_calibrate.time_shares import Shares
from l0_calibrate.watch import Watch, watch_of_domain
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]


def calibrate_replicates(
    result: CalibrationResult, replicate_weights: FloatArray | pd.DataFrame, *, watch: Watch | None = None
) -> CalibrationResult:
    """The result with its replicate weights: each replicate is fitted as the main weights were.

    A replicate has its own weights as the reference, with the same loss, bounds and spread, and, where there
    is a budget, on the records that the main run kept (a record with weight 0 in a replicate keeps 0 there).
    A sum of weights that is held is the replicate's own. Replicates equal to the initial weights give the
    main weights, to the tolerance of the fits. Of a time limit each gets an equal part of what is left.

    Parameters
    ----------
    replicate_weights
        Shape (records, replicates), finite, non-negative, some of each positive on the records kept. A DataFrame's
        columns name the replicates.
    watch
        Called with the events of each fit (see `Progress.domain`).

    Raises
    ------
    InputError
        Weights of another shape or that cannot be used, or a result of several domains (give the replicate
        weights to `l0_calibrate.domains.calibrate_domains`).
    """
    if result.by is not None:
        raise InputError(f"the domains of {result.by} have fits of their own: give the weights to calibrate_domains")
    problem, options = result.problem, result.options
    values = checked_replicates(problem, replicate_weights)
    mask, fitted = result.selection.mask, np.zeros_like(values)
    budgeted = options.budget(problem.n_records) is not None
    plain = attrs.evolve(
        options, keep=None, share=None, must_keep=None, never_keep=None, groups=None, dense_bound=False,
        selector=DEFAULT_SELECTOR, selector_settings={}, ess_at_least=None, spread=result.spread,
    )  # fmt: skip
    clock = Shares(options.time_limit, values.shape[1], result.timings.get("total", 0.0))
    for r in range(values.shape[1]):
        w0 = values[:, r]
        if not (mask & (w0 > 0)).any():
            raise InputError(
                f"{called(replicate_weights, r)} gives none of the {int(mask.sum()):,} records kept a weight"
            )
        ratios = np.divide(result.weights, w0, out=np.ones(w0.size), where=w0 > 0)
        warm = Start(ratios, None if result.dual is None else result.dual * problem.n_targets)
        how = attrs.evolve(plain, time_limit=clock.following())
        if budgeted:
            stays = mask & (w0 > 0)
            # Ratios are bounded against the weights scaled up by records / kept of the main run.
            part_kept = int(stays.sum()) / int(mask.sum())
            low, high = (
                None if ratio is None else ratio * part_kept
                for ratio in (options.min_weight_ratio, options.max_weight_ratio)
            )
            how = attrs.evolve(
                how, keep=int(stays.sum()), never_keep=~stays, min_weight_ratio=low, max_weight_ratio=high
            )
        part = attrs_copy(problem, initial_weights=w0)
        named = f"replicate {r + 1:,} of {values.shape[1]:,}"
        fitted[:, r] = calibrate(part, how, warm=warm, watch=watch_of_domain(watch, named)).weights
    names = replicate_names(replicate_weights)
    notes = (*result.notes, *unlike_weights(problem, values, names))
    return attrs.evolve(result, replicates=fitted, replicate_names=names, notes=notes)

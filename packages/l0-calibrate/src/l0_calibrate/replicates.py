"""Replicate weights, calibrated in the same way as the main weights and on the same records."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.calibrate import calibrate
from l0_calibrate.options import DEFAULT_SELECTOR
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.problem.labels import frozen_labels, places_of, refuse_other_order
from l0_calibrate.problem.problem import attrs_copy
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.solvers.base import Start
from l0_calibrate.time_shares import Shares
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]


def read_replicates(path: Path, problem: CalibrationProblem) -> pd.DataFrame:
    """Replicate weights of a file with ``record_id`` and one column a replicate, in the problem's order.

    Returns
    -------
    A column for each replicate, with its name.

    Raises
    ------
    InputError
        The file cannot be read, its records are not those of the problem, or a weight cannot be one.
    """
    from l0_calibrate.problem.files import read_table

    frame = read_table(path)
    if "record_id" not in frame.columns:
        raise InputError(f"{path} has no column record_id; its columns: {', '.join(map(str, frame.columns))}")
    columns = [c for c in frame.columns if c != "record_id"]
    if not columns:
        raise InputError(f"{path} has no column of replicate weights beside record_id")
    try:
        ids = frozen_labels(frame["record_id"], len(frame), "record id")
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault
    positions = places_of(problem.record_ids, ids, f"{path}", "replicate weights")
    try:
        values = checked_replicates(problem, frame[columns].to_numpy()[positions])
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault
    return pd.DataFrame(values, columns=[str(column) for column in columns], copy=False)


def calibrate_replicates(result: CalibrationResult, replicate_weights: FloatArray | pd.DataFrame) -> CalibrationResult:
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
                f"{_called(replicate_weights, r)} gives none of the {int(mask.sum()):,} records kept a weight"
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
        fitted[:, r] = calibrate(part, how, warm=warm).weights
    return attrs.evolve(result, replicates=fitted, replicate_names=replicate_names(replicate_weights))


def replicate_names(replicate_weights: FloatArray | pd.DataFrame) -> tuple[str, ...]:
    """The columns of a frame; else ``replicate_1``, ``replicate_2``, ..."""
    if isinstance(replicate_weights, pd.DataFrame):
        return tuple(str(column) for column in replicate_weights.columns)
    return tuple(f"replicate_{r + 1}" for r in range(np.shape(replicate_weights)[1]))


def _called(replicate_weights: FloatArray | pd.DataFrame, r: int) -> str:
    """A replicate by its number, and by its name where it has one."""
    name = f" ({replicate_weights.columns[r]!r})" if isinstance(replicate_weights, pd.DataFrame) else ""
    return f"replicate {r + 1}{name}"


def checked_replicates(problem: CalibrationProblem, replicate_weights: FloatArray | pd.DataFrame) -> FloatArray:
    """Replicate weights as read-only float64, shape (records, replicates); InputError that names a bad one."""
    refuse_other_order(replicate_weights, problem.record_ids, "replicate weights", "the problem's records")
    try:
        values = np.array(replicate_weights, dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise InputError(f"replicate weights must be numbers: {fault}") from fault
    if values.ndim != 2 or values.shape[0] != problem.n_records:
        raise InputError(f"replicate weights must have shape ({problem.n_records}, replicates), got {values.shape}")
    bad = np.argwhere(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        j, r = bad[0]
        more = f" (and {len(bad) - 1:,} more)" if len(bad) > 1 else ""
        raise InputError(
            f"{_called(replicate_weights, r)} of record {problem.record_ids[j]} is {values[j, r]}{more}; "
            "it must be finite and not negative"
        )
    values = np.asfortranarray(values)
    values.setflags(write=False)
    return values

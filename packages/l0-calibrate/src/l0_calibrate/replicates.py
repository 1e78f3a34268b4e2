"""Replicate weights, calibrated in the same way as the main weights and on the same records."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.calibrate import calibrate
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.result import CalibrationResult
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]


def read_replicates(path: Path, problem: CalibrationProblem) -> FloatArray:
    """Replicate weights of a file with ``record_id`` and one column a replicate, in the problem's order.

    Returns
    -------
    Shape (records, replicates).

    Raises
    ------
    InputError
        The file cannot be read, or its records are not those of the problem.
    """
    from l0_calibrate.problem.files import read_table

    frame = read_table(path)
    if "record_id" not in frame.columns:
        raise InputError(f"{path} has no column record_id; its columns: {', '.join(map(str, frame.columns))}")
    columns = [c for c in frame.columns if c != "record_id"]
    if not columns:
        raise InputError(f"{path} has no column of replicate weights beside record_id")
    ids = pd.Index(frame["record_id"])
    if ids.has_duplicates:
        raise InputError(f"{path}: record_id {ids[ids.duplicated()][0]!r} appears more than once")
    positions = ids.get_indexer(pd.Index(problem.record_ids))
    if (positions < 0).any() or len(ids) != problem.n_records:
        absent = problem.record_ids[int(np.flatnonzero(positions < 0)[0])] if (positions < 0).any() else None
        raise InputError(
            f"{path} has {len(ids)} records, the problem {problem.n_records}"
            + (f"; record {absent!r} is not in the file" if absent is not None else "")
        )
    values: FloatArray = frame[columns].to_numpy(dtype=np.float64)[positions]
    return values


def calibrate_replicates(result: CalibrationResult, replicate_weights: FloatArray) -> CalibrationResult:
    """The result with its replicate weights: each replicate is fitted as the main weights were.

    A replicate starts from its own weights as the reference, on the records that the main run kept
    (a record with weight 0 in a replicate keeps 0 there), with the same loss, bounds and spread.

    Parameters
    ----------
    replicate_weights
        Shape (records, replicates), non-negative.
    """
    problem, options = result.problem, result.options
    values = np.asarray(replicate_weights, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != problem.n_records:
        raise InputError(f"replicate weights must have shape ({problem.n_records}, replicates), got {values.shape}")
    kept = result.selection.indices
    scale_up = problem.n_records / kept.size
    fitted = np.zeros_like(values)
    dense = attrs.evolve(
        options, keep=None, share=None, must_keep=None, never_keep=None, ess_at_least=None, spread=result.spread
    )
    everything = np.arange(problem.n_targets)
    for r in range(values.shape[1]):
        part = problem.subset(everything, kept, initial_weights=values[kept, r] * scale_up)
        fitted[kept, r] = calibrate(part, dense).weights
    return attrs.evolve(result, replicates=fitted)

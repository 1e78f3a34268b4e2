"""A selection of another run used again: the records that it kept, found by id in a problem that may have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd

from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.problem.labels import Labels, frozen_labels
from l0_calibrate.selectors.groups import group_numbers, whole
from l0_core import InputError


def kept_ids(path: str | Path) -> Labels:
    """The record ids with a positive weight in a file with ``record_id`` and ``weight`` (.parquet or .csv)."""
    from l0_calibrate.result.files import weights_by_id

    ids, weights = weights_by_id(Path(path))
    kept: Labels = ids[weights > 0]
    if not kept.size:
        raise InputError(f"{path} keeps no record: no weight is positive")
    return kept


def reuse_selection(problem: CalibrationProblem, options: Options, ids: Any) -> tuple[Options, str]:
    """Options that keep the records of an earlier selection before any other.

    Where the budget has room for all that are found, they must be kept and the selector fills it up;
    where it has not, the selector chooses among them. With groups, the whole groups of those found.

    Parameters
    ----------
    ids
        Record ids of the earlier selection, such as `kept_ids` of its weights file.

    Returns
    -------
    The options, and a sentence about how many were found.

    Raises
    ------
    InputError
        No budget, none of the ids in the problem, or flags that contradict them.
    """
    options = options.on(problem)
    keep = options.budget(problem.n_records)
    if keep is None:
        raise InputError("a selection is used again under a budget: give keep or share")
    ids = frozen_labels(ids, len(ids), "record id")
    places = pd.Index(problem.record_ids).get_indexer(pd.Index(ids))
    found = places[places >= 0]
    if not found.size:
        raise InputError(f"none of the {ids.size:,} records used again is in the problem; are the ids of one kind?")
    mask = np.zeros(problem.n_records, dtype=bool)
    mask[found] = True
    usable = problem.initial_weights > 0
    if options.never_keep is not None:
        usable &= ~options.never_keep
    groups = group_numbers(problem, options)
    if groups is not None:
        usable = ~whole(groups, ~usable)
    mask &= usable
    sentence = f"{int(mask.sum()):,} of {ids.size:,} records of the earlier selection can be kept again"
    if groups is not None:
        mask = whole(groups, mask)
    must = mask if options.must_keep is None else mask | options.must_keep
    if must.sum() <= keep:
        return attrs.evolve(options, must_keep=must), sentence
    return attrs.evolve(options, never_keep=~must), f"{sentence}; the {keep:,} are chosen from them"

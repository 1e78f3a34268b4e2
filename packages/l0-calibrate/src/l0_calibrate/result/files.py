"""Writing a set of files whole or not at all, and reading weight files."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_core import InputError

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem


def _standing(folder: Path) -> Path:
    """The folder, or the nearest of its parents that exists."""
    folder = folder.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    return folder


def _scratch(folder: Path) -> Path:
    """A new hidden folder on the same file system as ``folder`` will be on; InputError where none can be made."""
    standing = _standing(folder)
    if not standing.is_dir():
        raise InputError(f"{folder} cannot be written: {standing} is not a folder; choose another output folder")
    scratch = standing / f".{folder.name}-{uuid.uuid4().hex[:12]}.partial"
    try:
        scratch.mkdir()
    except OSError as fault:
        raise InputError(
            f"{folder} cannot be written: {fault.strerror or fault}; choose another output folder"
        ) from fault
    return scratch


def check_writable(folder: str | Path) -> None:
    """InputError where files could not be put into the folder (it need not exist); leaves nothing behind.

    Meant to be called before long work. Permissions alone do not tell (read-only mounts, quotas), so a
    folder is made and taken away.
    """
    _scratch(Path(folder)).rmdir()


@contextmanager
def folder_transaction(folder: str | Path) -> Iterator[Path]:
    """A scratch folder whose files all move into ``folder`` when the block ends, and none where it fails.

    Files of the same name are replaced, everything else in ``folder`` is left alone. An error or an
    interrupt while the files move puts the replaced ones back.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(folder)
    scratch = _scratch(folder)
    try:
        yield scratch
        try:
            _publish(scratch, folder)
        except OSError as fault:
            raise InputError(f"{folder} cannot be written: {fault}; nothing was changed") from fault
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, folder: Path) -> None:
    if not os.path.lexists(folder):
        made = _make_parents(folder.absolute().parent)
        try:
            scratch.rename(folder)
        except BaseException:
            for parent in made:
                parent.rmdir()
            raise
        return
    old = scratch.with_name(scratch.name + ".old")
    moves = [path.relative_to(scratch) for path in sorted(scratch.rglob("*")) if not path.is_dir()]
    for name in moves:
        if (folder / name).is_dir():
            raise IsADirectoryError(f"{folder / name} is a folder where a file must go")
    made, back, placed = [], [], []
    try:
        for name in moves:
            made += _make_parents((folder / name).parent)
            if os.path.lexists(folder / name):
                (old / name).parent.mkdir(parents=True, exist_ok=True)
                back.append(name)
                os.replace(folder / name, old / name)
            placed.append(name)
            os.replace(scratch / name, folder / name)
    except BaseException:
        for name in placed:
            if not (scratch / name).exists():  # it had moved
                (folder / name).unlink(missing_ok=True)
        for name in back:
            if os.path.lexists(old / name):
                os.replace(old / name, folder / name)
        for parent in reversed(made):
            shutil.rmtree(parent, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _make_parents(folder: Path) -> list[Path]:
    """Make a folder and its parents; returns those that were made, the outermost last."""
    made = []
    for parent in (folder, *folder.parents):
        if parent.exists():
            break
        made.append(parent)
    folder.mkdir(parents=True, exist_ok=True)
    return made


def read_weights(path: str | Path, problem: CalibrationProblem) -> npt.NDArray[np.float64]:
    """The weights of a file with ``record_id`` and ``weight``, in the problem's order, shape (records,).

    Raises
    ------
    InputError
        The file cannot be read, a record is missing, there twice or unknown, or a weight is not a finite number.
    """
    from l0_calibrate.problem.checks import refuse_not_finite, vector
    from l0_calibrate.problem.files import read_table
    from l0_calibrate.problem.labels import frozen_labels, naming, near

    path = Path(path)
    frame = read_table(path)
    for column in ("record_id", "weight"):
        if column not in frame.columns:
            raise InputError(f"{path} has no column {column!r}; {near(column, frame.columns)}")
    try:
        ids = frozen_labels(frame["record_id"], len(frame), "record id")
        weights = vector(frame["weight"], len(frame), "weight", "row")
        refuse_not_finite(weights, ids, "the weight", "record")
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault
    if ids.dtype != problem.record_ids.dtype:
        kinds = ["whole numbers" if labels.dtype.kind == "i" else "text" for labels in (ids, problem.record_ids)]
        raise InputError(f"{path}: record ids are {kinds[0]}, those of the problem {kinds[1]}; write them alike")
    places = pd.Index(ids).get_indexer(pd.Index(problem.record_ids))
    absent = problem.record_ids[places < 0]
    if absent.size:
        raise InputError(
            f"{path} has no weight for {absent.size:,} records of the problem: {naming(absent)}; "
            "give records that were dropped a weight of 0"
        )
    if ids.size > places.size:
        unknown = ids[pd.Index(problem.record_ids).get_indexer(pd.Index(ids)) < 0]
        raise InputError(f"{path} has {unknown.size:,} records that the problem does not have: {naming(unknown)}")
    ordered: npt.NDArray[np.float64] = weights[places]
    return ordered

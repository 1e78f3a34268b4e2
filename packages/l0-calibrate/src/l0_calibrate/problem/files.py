"""Problems in files: a sparse matrix (.npz), targets and records (.csv or .parquet)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd

from l0_calibrate.problem.csv_forms import other_form, undecodable
from l0_calibrate.problem.labels import naming, near
from l0_calibrate.problem.npz import read_csr, write_csr
from l0_calibrate.problem.number_text import first_text
from l0_calibrate.problem.problem import CalibrationProblem
from l0_calibrate.problem.reading import read_csv, read_parquet
from l0_core import InputError


@attrs.frozen
class ProblemFiles:
    """The three files of a problem."""

    matrix: Path
    targets: Path
    records: Path


def read_table(path: str | Path) -> pd.DataFrame:
    """A table of a .parquet, .csv or .csv.gz file; a ``record_id`` column is whole numbers or text, as it is written.

    In CSV only an empty field is a missing value (``NA`` may be the name of a place), numbers are
    read to the last bit, and a column of whole numbers of which one has a leading zero is text: ``06037`` is a code.

    Raises
    ------
    InputError
        The file is missing, unreadable, cut off, or of another format; the text names it.
    """
    path = Path(path)
    parquet, text = (path.name.lower().endswith(ends) for ends in (".parquet", (".csv", ".csv.gz")))
    if not path.is_file():
        raise InputError(f"{path} " + ("is a folder, not a file" if path.is_dir() else "does not exist"))
    if not (parquet or text):
        raise InputError(f"{path}: tables are read from .parquet, .csv and .csv.gz files")
    try:
        other = other_form(path) if text else None
        if other is None:
            frame = read_parquet(path) if parquet else read_csv(path)
    except (OSError, ValueError, EOFError, zlib.error) as fault:
        kind = "parquet" if parquet else "csv"
        raise InputError(f"{path} cannot be read as {kind}: {(text and undecodable(path)) or fault}") from fault
    if other is not None:
        raise InputError(f"{path} cannot be read: {other}")
    if frame.columns.has_duplicates:
        raise InputError(f"{path} has the column {frame.columns[frame.columns.duplicated()][0]!r} twice")
    if text and "record_id" in frame.columns:
        frame["record_id"] = _whole_where_written_so(frame["record_id"])
    return frame


def with_record_id(table: pd.DataFrame, path: Path, record_id: str | None = None) -> pd.DataFrame:
    """A table that was read, with its column ``record_id``, which may be called as in the microdata.

    Raises
    ------
    InputError
        It has neither.
    """
    if "record_id" in table.columns:
        return table
    if record_id is not None and record_id in table.columns:
        return table.rename(columns={record_id: "record_id"})
    raise InputError(f"{path} has no column {record_id or 'record_id'!r}; {near('record_id', table.columns)}")


def _whole_where_written_so(ids: pd.Series) -> pd.Series:
    """int64 where every id is a whole number in its plain form; text otherwise (``007`` is not 7)."""
    text = ids.astype(object)
    if len(text) == 0 or text.isna().any() or not text.str.fullmatch(r"-?[1-9]\d{0,17}|0").all():
        return text
    return text.astype(np.int64)


def find_files(
    folder: str | Path | None, matrix: str | Path | None, targets: str | Path | None, records: str | Path | None
) -> ProblemFiles:
    """The files of a folder, or those named; InputError where one is missing or there are two to choose from."""
    if folder is None:
        if matrix is None or targets is None or records is None:
            raise InputError("give a folder, or matrix=, targets= and records=")
        return ProblemFiles(Path(matrix), Path(targets), Path(records))
    if matrix is not None or targets is not None or records is not None:
        raise InputError("give a folder or matrix=, targets= and records=, not both")
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}; a problem is a folder with matrix.npz, targets.csv and records.parquet")
    return ProblemFiles(
        _one_of(folder, ("matrix.npz",)),
        _one_of(folder, ("targets.csv", "targets.parquet")),
        _one_of(folder, ("records.parquet", "records.csv")),
    )


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) == 1:
        return there[0]
    if there:
        raise InputError(f"{folder} has {' and '.join(path.name for path in there)}: keep one, they may differ")
    have = naming(sorted(p.name for p in folder.iterdir()))
    raise InputError(f"{folder} has no {' or '.join(names)}; " + (f"it holds: {have}" if have else "it is empty"))


def _numbers(frame: pd.DataFrame, column: str, path: Path) -> Any:
    """A column as float64; missing values stay NaN, for the door to name."""
    values = frame[column]
    try:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        first = first_text(values) or f"row 0 is {values.iloc[0]!r}"
        raise InputError(f"{path}: column {column!r} must hold numbers; {first}") from None


def load_files(files: ProblemFiles) -> CalibrationProblem:
    """The problem of three files.

    ``targets`` needs the columns ``name`` and ``value`` (or ``target``); ``tolerance`` and ``weight`` are
    those of the targets, any other is kept in ``target_info``. ``records`` needs ``record_id`` and
    ``initial_weight``; the others are kept in ``record_info``.
    """
    targets, records = read_table(files.targets), read_table(files.records)
    value = [column for column in ("value", "target") if column in targets.columns]
    if len(value) != 1:
        have = "both 'value' and 'target'" if value else f"neither 'value' nor 'target'; {near('value', targets)}"
        raise InputError(f"{files.targets} must have one column of target values; it has {have}")
    _need(targets, ("name",), files.targets)
    _need(records, ("record_id", "initial_weight"), files.records)
    matrix = read_csr(files.matrix)
    if matrix.shape != (len(targets), len(records)):
        turned = "; it may be (records, targets)" if matrix.shape == (len(records), len(targets)) else ""
        raise InputError(
            f"{files.matrix} has shape {matrix.shape}, but {files.targets.name} has {len(targets)} rows and "
            f"{files.records.name} has {len(records)}: the matrix must be (targets, records){turned}"
        )
    own = {column: _numbers(targets, column, files.targets) for column in ("tolerance", "weight") if column in targets}
    values = _numbers(targets, value[0], files.targets)
    weights = _numbers(records, "initial_weight", files.records)
    try:
        return CalibrationProblem(
            matrix,
            values,
            initial_weights=weights,
            target_names=targets["name"],
            record_ids=records["record_id"],
            target_info=_rest(targets, ("name", value[0], *own)),
            record_info=_rest(records, ("record_id", "initial_weight")),
            loss_weights=own.get("weight"),
            tolerances=own.get("tolerance"),
        )
    except InputError as fault:
        raise InputError(f"{files.matrix.parent}: {fault}") from fault


def _need(frame: pd.DataFrame, columns: tuple[str, ...], path: Path) -> None:
    for column in columns:
        if column not in frame.columns:
            raise InputError(f"{path} has no column {column!r}; {near(column, frame.columns)}")


def _rest(frame: pd.DataFrame, taken: tuple[str, ...]) -> pd.DataFrame | None:
    rest = frame.drop(columns=list(taken))
    return rest if len(rest.columns) else None


def save_files(problem: CalibrationProblem, folder: Path) -> list[Path]:
    """Write a problem so that `load_files` gives it back bit by bit; the matrix can then be memory-mapped."""
    from l0_calibrate.folders import folder_transaction

    targets = pd.DataFrame({"name": problem.target_names, "value": problem.targets})
    if problem.tolerances.any():
        targets["tolerance"] = problem.tolerances
    if (problem.loss_weights != 1.0).any():
        targets["weight"] = problem.loss_weights
    records = pd.DataFrame({"record_id": problem.record_ids, "initial_weight": problem.initial_weights})
    with folder_transaction(folder) as scratch:
        name = _write_targets(_joined(targets, problem.target_info, "target_info"), scratch)
        for other in ("records.csv", "targets.parquet" if name == "targets.csv" else "targets.csv"):
            if (folder / other).exists():
                raise InputError(f"{folder} holds {other} of another problem; choose another folder or move it away")
        write_csr(scratch / "matrix.npz", problem.matrix)
        _joined(records, problem.record_info, "record_info").to_parquet(scratch / "records.parquet", index=False)
    return [folder / each for each in ("matrix.npz", name, "records.parquet")]


def _write_targets(targets: pd.DataFrame, folder: Path) -> str:
    """Write the table as text, or as Parquet where text is read back as something else (codes such as "36")."""
    path = folder / "targets.csv"
    targets.to_csv(path, index=False)
    columns = targets.columns[1:]  # names are labels, checked and kept as they are
    if read_csv(path)[columns].equals(targets[columns]):
        return path.name
    path.unlink()
    targets.to_parquet(folder / "targets.parquet", index=False)
    return "targets.parquet"


def _joined(frame: pd.DataFrame, info: pd.DataFrame | None, what: str) -> pd.DataFrame:
    if info is None:
        return frame
    reserved = {"name", "value", "target", "tolerance", "weight"} if what == "target_info" else set(frame.columns)
    clash = [column for column in info.columns if column in reserved]
    if clash:
        raise InputError(f"{what} has the column {clash[0]!r}, which the file needs for the problem itself; rename it")
    return pd.concat([frame, info], axis=1)

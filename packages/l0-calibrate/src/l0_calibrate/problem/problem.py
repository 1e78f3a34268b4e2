"""`CalibrationProblem`: targets, records and the matrix between them, checked once and then fixed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from l0_calibrate.problem.checks import (
    LARGEST_TARGET,
    balanced_weights,
    checked_info,
    checked_initial_weights,
    checked_loss_weights,
    checked_tolerances,
    refuse_entries_not_finite,
    refuse_not_finite,
    refuse_too_large,
    vector,
)
from l0_calibrate.problem.labels import Labels, frozen_labels, naming, near, own_labels, refuse_other_order
from l0_calibrate.problem.matrices import frozen_csr
from l0_calibrate.problem.tables import as_frame
from l0_core import InputError
from l0_core.relative_errors import error_scale

if TYPE_CHECKING:
    from l0_calibrate.problem.targets import Target
    from l0_calibrate.system import ScaledSystem

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@attrs.frozen(eq=False, init=False, repr=False)
class CalibrationProblem:
    """What is asked of the weights: ``matrix @ weights`` should meet ``targets``.

    Parameters
    ----------
    matrix
        Shape (targets, records): ndarray, DataFrame (its index names the targets, its columns the
        records), any SciPy sparse matrix, torch tensor. Entry (i, j) is what one unit of weight of
        record j adds to target i. float32 is kept.
    targets
        Shape (targets,). Zero and negative targets are ordinary.
    initial_weights
        Shape (records,), the design weights, not negative; ones where None. A record with weight 0
        cannot get any.
    target_names, record_ids
        Unique labels, whole numbers or text; by default those of a DataFrame, else ``target_0``, ...
        and 0, 1, ...
    target_info, record_info
        Tables with one row a target / a record, in the same order: geography, family, strata.
    loss_weights
        Shape (targets,), how much each target counts; scaled to mean 1.
    tolerances
        Relative error that costs nothing, shape (targets,) or one number for all.
    groups
        Labels of shape (targets,), or the name of a column of ``target_info``: every group of targets
        then counts the same, however many targets it has (see `balanced_weights` for multipliers).

    Raises
    ------
    InputError
        On anything that cannot be meant; the message names the row or the record.

    Notes
    -----
    The relative error of target i is ``(estimate_i - t_i) / max(|t_i|, 1)``. All arrays are read-only
    copies; arrays handed in read-only are shared.
    """

    matrix: sp.csr_array
    targets: FloatArray
    initial_weights: FloatArray
    target_names: Labels
    record_ids: Labels
    target_info: pd.DataFrame | None
    record_info: pd.DataFrame | None
    loss_weights: FloatArray
    tolerances: FloatArray
    _scaled: list[ScaledSystem] = attrs.field(factory=list, init=False)

    def __init__(
        self,
        matrix: Any,
        targets: Any,
        *,
        initial_weights: Any = None,
        target_names: Any = None,
        record_ids: Any = None,
        target_info: pd.DataFrame | None = None,
        record_info: pd.DataFrame | None = None,
        loss_weights: Any = None,
        tolerances: Any = None,
        groups: Any = None,
    ) -> None:
        matrix = as_frame(matrix)
        csr = frozen_csr(matrix)
        m, n = csr.shape
        rows, columns = _frame_labels(matrix)
        if rows is None and target_names is None and isinstance(targets, pd.Series):
            rows = own_labels(targets.index)
        names = _labels(target_names, rows, [f"target_{i}" for i in range(m)], m, "target name")
        ids = _labels(record_ids, columns, np.arange(n), n, "record id")
        if rows is not None or target_names is not None:
            for given, what in (
                (targets, "targets"),
                (target_info, "target_info"),
                (loss_weights, "loss_weights"),
                (tolerances, "tolerances"),
            ):
                refuse_other_order(given, names, what)
        if columns is not None or record_ids is not None:
            refuse_other_order(initial_weights, ids, "initial_weights")
            refuse_other_order(record_info, ids, "record_info")
        values = vector(targets, m, "targets", "target (row)")
        refuse_not_finite(values, names, "the value", "target")
        refuse_too_large(values, LARGEST_TARGET, names, "the value", "target")
        refuse_entries_not_finite(csr, names, ids)
        info = checked_info(target_info, m, "target_info")
        weights = checked_loss_weights(loss_weights, names)
        if groups is not None:
            weights = balanced_weights(_group_labels(groups, info, m), weights=weights)
        self.__attrs_init__(
            csr, values, checked_initial_weights(initial_weights, ids), names, ids, info,
            checked_info(record_info, n, "record_info"), weights, checked_tolerances(tolerances, names),
        )  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"CalibrationProblem({self.n_targets:,} targets x {self.n_records:,} records, "
            f"{self.matrix.nnz:,} non-zeros, {self.matrix.dtype})"
        )

    # ------------------------------------------------------------------ numbers

    @property
    def n_targets(self) -> int:
        """m."""
        return int(self.matrix.shape[0])

    @property
    def n_records(self) -> int:
        """n."""
        return int(self.matrix.shape[1])

    @property
    def scale(self) -> FloatArray:
        """What errors are relative to, ``max(|t|, 1)``, shape (targets,), in the units of the targets."""
        return error_scale(self.targets)

    def estimates(self, weights: Any) -> FloatArray:
        """``matrix @ weights`` in float64, shape (targets,), for weights of shape (records,)."""
        from l0_calibrate.problem.products import times  # compiled code takes long to import

        return times(self.matrix, vector(weights, self.n_records, "weights", "record (column)"))

    def relative_errors(self, weights: Any) -> FloatArray:
        """Signed, ``(estimate - t) / max(|t|, 1)``, shape (targets,)."""
        return (self.estimates(weights) - self.targets) / self.scale

    @property
    def system(self) -> ScaledSystem:
        """The problem in relative errors and ratios, as solvers see it; made at the first call."""
        return self.scaled(1)

    def scaled(self, threads: int) -> ScaledSystem:
        """`system`, the same for any number of threads: they count where it has not been made yet."""
        from l0_calibrate.memory import give_back_freed, give_back_mapped
        from l0_calibrate.system import build_system

        if not self._scaled:
            self._scaled.append(
                build_system(self.matrix, self.targets, self.initial_weights, threads, self.target_names)
            )
            give_back_mapped(self.matrix)
            give_back_freed()
        return self._scaled[0]

    @cached_property
    def unreachable(self) -> IntArray:
        """Positions of the targets that no record with a positive initial weight enters."""
        from l0_calibrate.problem.products import reached

        return np.flatnonzero(~reached(self.matrix, self.initial_weights > 0))

    @cached_property
    def far_off(self) -> IntArray:
        """Positions of the targets whose initial estimate, not 0, is 100 times off: their units may not match."""
        from l0_calibrate.problem.units import is_far_off

        estimates = self.estimates(self.initial_weights)
        return np.flatnonzero(is_far_off(self.targets, estimates) & (estimates != 0))

    def refuse_unreachable(self) -> None:
        """InputError where a target cannot be moved by any record (they are only reported otherwise)."""
        lost = self.unreachable
        if lost.size:
            raise InputError(
                f"no record with a positive initial weight enters {lost.size:,} of the targets: "
                f"{naming(self.target_names[lost])}; leave them out, or have them reported with unreachable='report'"
            )

    # ------------------------------------------------------------------ identity

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each input that shapes a result, as little-endian bytes, by name."""
        matrix = hashlib.sha256(repr((self.matrix.shape, str(self.matrix.dtype))).encode())
        for part, dtype in ((self.matrix.indptr, "<i8"), (self.matrix.indices, "<i8"), (self.matrix.data, None)):
            for start in range(0, part.size, 1 << 20):  # in pieces: the copies of a few MB
                piece = part[start : start + (1 << 20)]
                matrix.update(np.ascontiguousarray(piece, dtype or piece.dtype.newbyteorder("<")).tobytes())
        out = {"matrix": matrix.hexdigest()}
        for name in ("targets", "initial_weights", "loss_weights", "tolerances"):
            out[name] = hashlib.sha256(np.ascontiguousarray(getattr(self, name), "<f8").tobytes()).hexdigest()
        for name in ("target_names", "record_ids"):
            out[name] = hashlib.sha256("\x00".join(map(str, getattr(self, name))).encode()).hexdigest()
        return out

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all of `digests`: two problems with the same one are the same problem."""
        text = "\n".join(f"{name} {value}" for name, value in sorted(self.digests.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    # ------------------------------------------------------------------ variants

    def subset(self, rows: Any, columns: Any, *, initial_weights: Any = None) -> CalibrationProblem:
        """The problem of some targets and some records.

        Parameters
        ----------
        rows, columns
            Positions in the order wanted, or flags of shape (targets,) and (records,).
        initial_weights
            Shape (columns,), in the place of those records' own.
        """
        rows = _positions(rows, self.n_targets, "rows")
        columns = _positions(columns, self.n_records, "columns")
        w0 = self.initial_weights[columns] if initial_weights is None else initial_weights
        return CalibrationProblem(
            self.matrix[rows][:, columns],
            self.targets[rows],
            initial_weights=w0,
            target_names=self.target_names[rows],
            record_ids=self.record_ids[columns],
            target_info=None if self.target_info is None else self.target_info.iloc[rows].reset_index(drop=True),
            record_info=None if self.record_info is None else self.record_info.iloc[columns].reset_index(drop=True),
            loss_weights=self.loss_weights[rows],
            tolerances=self.tolerances[rows],
        )

    def with_tolerance(self, tolerance: Any) -> CalibrationProblem:
        """The same problem with other tolerances, shape (targets,) or one number for all."""
        return attrs_copy(self, tolerances=checked_tolerances(tolerance, self.target_names))

    # ------------------------------------------------------------------ files and microdata

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        matrix: str | Path | None = None,
        targets: str | Path | None = None,
        records: str | Path | None = None,
    ) -> CalibrationProblem:
        """Read a folder (matrix.npz, targets.csv or .parquet, records.parquet or .csv), or three files.

        Raises
        ------
        InputError
            A file that is missing, cut off, of another format, or with pickled objects (never unpickled).
        """
        from l0_calibrate.problem.files import find_files, load_files

        return load_files(find_files(path, matrix, targets, records))

    def save(self, folder: str | Path) -> list[Path]:
        """Write matrix.npz, targets.csv and records.parquet, whole or not at all; returns their paths.

        Targets are written as targets.parquet where a column would not come back from text as it was.
        """
        from l0_calibrate.problem.files import save_files

        return save_files(self, Path(folder))

    @classmethod
    def from_microdata(
        cls,
        frame: pd.DataFrame,
        targets: Sequence[Target] | pd.DataFrame,
        weight: str | None = "initial_weight",
        record_id: str | None = None,
        members: Mapping[str, pd.DataFrame] | None = None,
    ) -> CalibrationProblem:
        """Build the matrix from records with columns and targets that say what they sum or count.

        Parameters
        ----------
        frame
            One row a record.
        targets
            `Target` objects, or a table with their fields as columns.
        weight
            Column of the initial weights; None gives every record 1.
        record_id
            Column of the ids, or the index of that name; ``"record_id"`` where there is one, else an index of text,
            else the records are numbered.
        members
            Tables of what records consist of, by name (``{"person": persons}``), each with the column of the ids:
            targets with that ``entity`` add up their rows, and each row counts with the weight of its record.
        """
        from l0_calibrate.problem.microdata import problem_from_microdata

        return problem_from_microdata(frame, targets, weight, record_id, members)

    @classmethod
    def load_microdata(
        cls,
        microdata: str | Path,
        targets: str | Path,
        weight: str | None = "initial_weight",
        record_id: str | None = None,
        members: Mapping[str, str | Path | pd.DataFrame] | None = None,
    ) -> CalibrationProblem:
        """`from_microdata` of files (.parquet or .csv); members may be tables already."""
        from l0_calibrate.problem.files import read_table

        tables = {
            name: read_table(table) if isinstance(table, str | Path) else table
            for name, table in (members or {}).items()
        }
        return cls.from_microdata(read_table(Path(microdata)), read_table(Path(targets)), weight, record_id, tables)


def attrs_copy(problem: CalibrationProblem, **changes: Any) -> CalibrationProblem:
    """A problem with some checked parts replaced, the others shared; nothing is checked again."""
    copy = object.__new__(CalibrationProblem)
    parts = {field.name: getattr(problem, field.name) for field in attrs.fields(CalibrationProblem) if field.init}
    copy.__attrs_init__(**(parts | changes))
    return copy


def _frame_labels(matrix: Any) -> tuple[pd.Index | None, pd.Index | None]:
    if isinstance(matrix, pd.DataFrame):
        return own_labels(matrix.index), own_labels(matrix.columns)
    return None, None


def _labels(given: Any, carried: pd.Index | None, default: Any, count: int, what: str) -> Labels:
    """The labels given, or those that the matrix carries, or the default; never two that disagree."""
    if given is None:
        return frozen_labels(default if carried is None else carried, count, what)
    labels = frozen_labels(given, count, what)
    if carried is not None and not pd.Index(labels).equals(carried):
        raise InputError(f"the {what}s given are not those that the DataFrame carries; leave one of them out")
    return labels


def _positions(chosen: Any, count: int, what: str) -> IntArray:
    array = np.asarray(chosen)
    if array.dtype == bool:
        if array.shape != (count,):
            raise InputError(f"{what} as flags must have shape ({count},), got {array.shape}")
        return np.flatnonzero(array)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InputError(f"{what} must be at least one position, got shape {array.shape} of dtype {array.dtype}")
    if array.min() < 0 or array.max() >= count:
        raise InputError(f"{what} must lie in 0..{count - 1}, got {array.min()}..{array.max()}")
    return array.astype(np.int64)


def _group_labels(groups: Any, info: pd.DataFrame | None, count: int) -> Any:
    if isinstance(groups, str):
        if info is None or groups not in info.columns:
            raise InputError(f"target_info has no column {groups!r}; {near(groups, () if info is None else info)}")
        return info[groups]
    labels = groups if isinstance(groups, (pd.Series, pd.Index)) else np.asarray(groups)
    if len(labels) != count:
        raise InputError(f"groups must have one label for each of the {count} targets, got {len(labels)}")
    return labels

"""Pre-flight: what can be known about a problem before any weight is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.problem.consistency import consistency
from l0_calibrate.problem.contradictions import contradictions
from l0_calibrate.problem.copies import fingerprints
from l0_calibrate.problem.finding import Finding, by_gravity, grouped
from l0_calibrate.problem.labels import naming, shown
from l0_calibrate.problem.matrices import entries_of_columns, row_blocks
from l0_calibrate.problem.problem import CalibrationProblem
from l0_calibrate.problem.units import FAR_OFF, is_far_off
from l0_calibrate.problem.zeros import emptying
from l0_calibrate.system import bytes_of_entry
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

THIN = 5
"""A target with fewer records than this rests on single answers."""


def preflight(
    problem: CalibrationProblem, *, max_weight_ratio: float | None = None, min_weight_ratio: float | None = None
) -> list[Finding]:
    """Look a problem over: support, reach under the bounds, totals that disagree, copies, size.

    Parameters
    ----------
    max_weight_ratio, min_weight_ratio
        Bounds of weight over initial weight under which the reach of the targets is computed;
        0 and none where None.

    Returns
    -------
    The gravest first: ``"error"`` (cannot be met at all), ``"warning"`` (will cost or mislead), ``"info"``.
    Nothing is taken out of the problem.
    """
    lower = 0.0 if min_weight_ratio is None else float(min_weight_ratio)
    upper = np.inf if max_weight_ratio is None else float(max_weight_ratio)
    if not (0 <= lower < np.inf and lower <= upper and upper > 0):
        raise InputError(f"ratio bounds must be 0 <= min <= max and max > 0, got {lower:g} and {upper:g}")
    sums = _sums(problem)
    found = [
        *_support(problem, sums),
        *_reach(problem, sums, lower, upper),
        *_units(problem, sums),
        *contradictions(consistency(problem)),
        *_records(problem),
        _memory(problem, sums),
    ]
    return by_gravity(found)


@attrs.frozen(eq=False)
class _Sums:
    """Of each target, shape (targets,): entries times initial weights above and below zero, records behind it."""

    positive: FloatArray
    negative: FloatArray
    support: IntArray

    @property
    def initial(self) -> FloatArray:
        return self.positive + self.negative


def _sums(problem: CalibrationProblem) -> _Sums:
    w0 = problem.initial_weights
    m = problem.n_targets
    positive, negative, support = np.zeros(m), np.zeros(m), np.zeros(m, dtype=np.int64)
    for start, stop, block in row_blocks(problem.matrix):
        reference = w0[block.indices]
        with np.errstate(over="ignore"):
            parts = block.data * reference
        rows = np.repeat(np.arange(stop - start), np.diff(block.indptr))
        positive[start:stop] = np.bincount(rows, np.maximum(parts, 0.0), minlength=stop - start)
        negative[start:stop] = np.bincount(rows, np.minimum(parts, 0.0), minlength=stop - start)
        support[start:stop] = np.bincount(rows[reference > 0], minlength=stop - start)
    endless = np.flatnonzero(~np.isfinite(positive - negative))
    if endless.size:
        raise InputError(
            f"entries of target {shown(problem.target_names[endless[0]])} times the initial weights overflow: they are "
            "far out of range; rescale the row and its target, or look for codes that stand for missing values"
        )
    return _Sums(positive, negative, support)


def _support(problem: CalibrationProblem, sums: _Sums) -> Iterator[Finding]:
    names, lost = problem.target_names, sums.support == 0
    unmet = lost & (problem.targets != 0)
    yield from grouped(
        "no_support",
        "error",
        names[unmet],
        "no record with a positive initial weight enters {these}",
        "leave them out or merge them: no weights can meet them",
    )
    yield from grouped(
        "empty_zero_target",
        "info",
        names[lost & ~unmet],
        "no record enters {these}, whose value is 0: met by any weights",
        "nothing; they add nothing",
    )
    thin = (sums.support > 0) & (sums.support < THIN)
    yield from grouped(
        "thin_support",
        "warning",
        names[thin],
        "fewer than " + str(THIN) + " records stand behind {these}",
        "merge them with neighbours or give them a tolerance; single records will get extreme weights",
        [f"{count} record{'s' if count > 1 else ''}" for count in sums.support[thin]],
    )


def _reach(problem: CalibrationProblem, sums: _Sums, lower: float, upper: float) -> Iterator[Finding]:
    """Targets outside ``[lo P + hi N, hi P + lo N]``, P and N the positive and negative initial sums."""

    def scaled(bound: float, part: FloatArray) -> FloatArray:
        return np.where(part == 0, 0.0, bound * np.where(part == 0, 1.0, part))  # inf * 0 counts as 0

    least = scaled(lower, sums.positive) + scaled(upper, sums.negative)
    most = scaled(upper, sums.positive) + scaled(lower, sums.negative)
    slack = 1e-6 * problem.scale  # float32 entries: totals that meet the bound exactly are within reach
    outside = (sums.support > 0) & ((problem.targets < least - slack) | (problem.targets > most + slack))
    text = "without bounds" if lower == 0 and upper == np.inf else f"with ratios from {lower:g} to {upper:g}"
    yield from grouped(
        "out_of_reach",
        "warning",
        problem.target_names[outside],
        "{these} cannot be reached " + text,
        "raise max_weight_ratio, merge or drop them; an error is left that no weights within these ratios undo",
        [
            f"value {t:.6g}, reach {a:.6g} to {b:.6g}"
            for t, a, b in zip(problem.targets[outside], least[outside], most[outside], strict=True)
        ],
    )


def _units(problem: CalibrationProblem, sums: _Sums) -> Iterator[Finding]:
    size = np.abs(problem.targets)
    far = (sums.support > 0) & is_far_off(problem.targets, sums.initial)
    yield from grouped(
        "far_off",
        "warning",
        problem.target_names[far],
        f"the initial estimate is more than {FAR_OFF:g} times off " + "{these}",
        "check the units of the target and of its row",
        [
            f"value {t:.6g}, initial estimate {e:.6g}"
            for t, e in zip(problem.targets[far], sums.initial[far], strict=True)
        ],
    )
    emptied = emptying(problem)
    yield from grouped(
        "zero_target",
        "warning",
        problem.target_names[emptied],
        "{these}: the value is 0, which only records without weight meet; a unit above it counts as an error of 100 %",
        "leave them out if 0 stands for not known or not published",
        [
            f"{count:,} record{'s' if count > 1 else ''}, initial estimate {e:.6g}"
            for count, e in zip(sums.support[emptied], sums.initial[emptied], strict=True)
        ],
    )
    small = (size > 0) & (size < 1)
    yield from grouped(
        "below_one",
        "info",
        problem.target_names[small],
        "{these} are smaller than 1: their errors are measured against 1, not against the value",
        "use smaller units (rescale target and row) if the relative error matters",
    )
    unpriced = problem.loss_weights == 0
    yield from grouped(
        "not_counted",
        "info",
        problem.target_names[unpriced],
        "{these} have a loss weight of 0: reported, not fitted",
        "give them a weight if they should count",
    )


def _records(problem: CalibrationProblem) -> Iterator[Finding]:
    counts = entries_of_columns(problem.matrix)
    ids, n = problem.record_ids, problem.n_records
    yield from _some_records("untouched_records", ids[counts == 0], n, "enter no target: nothing decides their weight",
                             "they keep their initial weight in a dense fit and go first under a budget")  # fmt: skip
    yield from _some_records("zero_weight_records", ids[problem.initial_weights == 0], n,
                             "have an initial weight of 0 and cannot get any",
                             "give them a positive initial weight if they should be usable, else leave them out: "
                             "records / kept, the scale of a budget's ratios, counts them")  # fmt: skip
    _, first, group = np.unique(fingerprints(problem.matrix, by_rows=False), return_index=True, return_inverse=True)
    copies = (counts > 0) & (first[group] != np.arange(n))
    yield from _some_records("identical_records", ids[copies], n, "enter every target just as an earlier record does",
                             "nothing: only the sum of such weights is decided, the spread shares it out")  # fmt: skip


def _some_records(code: str, ids: Sequence[object], total: int, what: str, remedy: str) -> Iterator[Finding]:
    if len(ids):
        message = f"{len(ids):,} of {total:,} records {what}: {naming(ids)}"
        yield Finding(code, "info", tuple(map(str, ids)), message, remedy)


def _memory(problem: CalibrationProblem, sums: _Sums) -> Finding:
    matrix = problem.matrix
    held = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    scale = problem.scale
    entry = bytes_of_entry(problem.n_targets, matrix.nnz, sums.positive / scale, -sums.negative / scale)
    scaled = entry * matrix.nnz + 8 * (problem.n_records + 1)
    vectors = 8 * 12 * (problem.n_records + problem.n_targets)
    message = (
        f"about {_size(held + scaled + vectors)}: the matrix {_size(held)}, "
        f"the scaled system {_size(scaled)}, vectors of a solver {_size(vectors)}"
    )
    return Finding("memory", "info", (), message, "float32 and fewer targets take less, where it matters")


def _size(count: int) -> str:
    """So many bytes in the unit in which they are not 0."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"

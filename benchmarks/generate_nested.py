"""Realistic nested problems of any size: a nation, its states, their districts; tax records with income items.

Each record lives in one district, has a size class of income and a few of many income items. Every level publishes
totals of items (amount and count): the nation of many items by class, states of some by class, districts of few
without classes. Targets are sums under weights that differ from the initial ones by area, class and chance, with a
few per cent of noise, so that sources disagree as real ones do; some amounts are losses.

    python benchmarks/generate_nested.py 37e6 --out FOLDER [--seed 0]

writes matrix.npz (CSR float32, targets x records), targets.csv (name, value, level) and records.parquet
(record_id, state, district, initial_weight). About 110 non-zeros a record; 1e6 to 300e6 non-zeros.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import attrs
import numba
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CLASSES = 10
ITEMS = 40
ITEMS_OF_STATES = 16
ITEMS_OF_DISTRICTS = 12
RECORDS_OF_A_DISTRICT = 775
MOST_STATES = 51
ENTRIES_OF_A_RECORD = 110


@attrs.frozen(eq=False)
class NestedProblem:
    """``matrix`` CSR float32 (targets, records), ``targets``, ``initial_weights``; the level of each target; places."""

    matrix: sp.csr_array
    targets: FloatArray
    initial_weights: FloatArray
    levels: npt.NDArray[np.str_]
    states: IntArray
    districts: IntArray

    def save(self, folder: Path) -> None:
        """Write the three files; the matrix can be memory-mapped."""
        CalibrationProblem(
            self.matrix,
            self.targets,
            initial_weights=self.initial_weights,
            target_names=[f"{level}/{k}" for k, level in enumerate(self.levels)],
            target_info=pd.DataFrame({"level": self.levels}),
            record_info=pd.DataFrame({"state": self.states, "district": self.districts}),
        ).save(folder)


class _Records(NamedTuple):
    """Place, class and items of each record; ``item_ptr`` as in CSR."""

    state: IntArray
    district: IntArray
    income_class: IntArray
    item_ptr: IntArray
    items: IntArray
    amounts: FloatArray


def _records(count: int, of_a_district: int, rng: np.random.Generator) -> _Records:
    districts = max(count // of_a_district, 1)
    states = max(min(MOST_STATES, districts // 8), 1)
    size = rng.lognormal(0.0, 0.5, districts)
    district = np.sort(rng.choice(districts, count, p=size / size.sum()))
    # Large states and small ones: districts are shared out in proportion to a heavy-tailed size.
    share = np.cumsum(rng.lognormal(0.0, 0.9, states))
    state_of = np.searchsorted(share / share[-1], (np.arange(districts) + 0.5) / districts)
    income_class = np.minimum((rng.beta(1.3, 1.8, count) * CLASSES).astype(np.int64), CLASSES - 1)
    # The first items (people, wages) are common, the last rare; the rich have more of them.
    common = 1.0 / (1.0 + np.arange(ITEMS)) ** 0.36
    has = rng.random((count, ITEMS), dtype=np.float32) < common * (0.6 + 0.09 * income_class[:, None])
    has[:, 0] = True
    items = np.nonzero(has)[1]
    item_ptr = np.concatenate(([0], np.cumsum(has.sum(1))))
    level = np.repeat(np.exp(0.55 * income_class), np.diff(item_ptr))
    amounts = level * rng.lognormal(0.0, 1.0, items.size)
    losses = (items % 9 == 5) & (rng.random(items.size) < 0.25)
    amounts[losses] *= -1.0
    return _Records(state_of[district], district, income_class, item_ptr, items, amounts)


class _Rows(NamedTuple):
    """First row of each level, and rows of one area of it."""

    of_states: int
    of_districts: int
    per_state: int
    per_district: int


@numba.njit(cache=True)
def _count(records, out):
    for j in range(out.size - 1):
        count = 0
        for p in range(records.item_ptr[j], records.item_ptr[j + 1]):
            item = records.items[p]
            count += 4 + (4 if item < ITEMS_OF_STATES else 0) + (2 if item < ITEMS_OF_DISTRICTS else 0)
        out[j + 1] = count


@numba.njit(cache=True)
def _fill(records, rows, indptr, indices, values):
    """Amount and count of each item in the rows of its class and of all classes, at each level that publishes it."""
    for j in range(indptr.size - 1):
        at = indptr[j]
        k = records.income_class[j]
        for p in range(records.item_ptr[j], records.item_ptr[j + 1]):
            item = records.items[p]
            for kind in range(2):
                value = records.amounts[p] if kind == 0 else 1.0
                for group in (k, CLASSES):
                    row = (item * 2 + kind) * (CLASSES + 1) + group
                    indices[at], values[at] = row, value
                    at += 1
                    if item < ITEMS_OF_STATES:
                        indices[at] = rows.of_states + records.state[j] * rows.per_state + row
                        values[at] = value
                        at += 1
                if item < ITEMS_OF_DISTRICTS:
                    indices[at] = rows.of_districts + records.district[j] * rows.per_district + item * 2 + kind
                    values[at] = value
                    at += 1


def nested_problem(entries: float, seed: int = 0, of_a_district: int = RECORDS_OF_A_DISTRICT) -> NestedProblem:
    """A problem of about that many non-zeros; the fewer records a district has, the more targets there are."""
    rng = np.random.default_rng(seed)
    count = max(int(entries / ENTRIES_OF_A_RECORD), 1_000)
    records = _records(count, of_a_district, rng)
    of_states = ITEMS * 2 * (CLASSES + 1)
    per_state, per_district = ITEMS_OF_STATES * 2 * (CLASSES + 1), ITEMS_OF_DISTRICTS * 2
    states, districts = int(records.state.max()) + 1, int(records.district.max()) + 1
    rows = _Rows(of_states, of_states + states * per_state, per_state, per_district)
    total = rows.of_districts + districts * per_district
    indptr = np.zeros(count + 1, dtype=np.int64)
    _count(records, indptr)
    indptr = np.cumsum(indptr)
    indices = np.empty(int(indptr[-1]), dtype=np.int32 if indptr[-1] < 2**31 else np.int64)
    values = np.empty(indices.size, dtype=np.float32)
    _fill(records, rows, indptr, indices, values)
    matrix = sp.csc_array((values, indices, indptr.astype(indices.dtype)), shape=(total, count)).tocsr()
    used = np.flatnonzero(np.diff(matrix.indptr) > 0)
    matrix = matrix[used]
    weights = rng.lognormal(5.0, 0.6, count)
    drift = rng.lognormal(0, 0.15, districts)[records.district] * rng.lognormal(0, 0.15, CLASSES)[records.income_class]
    targets = matrix @ (weights * drift * rng.lognormal(0, 0.3, count)) * rng.lognormal(0, 0.03, used.size)
    names = np.repeat(["nation", "state", "district"], [of_states, states * per_state, districts * per_district])
    return NestedProblem(matrix, targets, weights, names[used], records.state, records.district)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", type=float, help="about how many non-zeros, such as 37e6")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    problem = nested_problem(arguments.entries, arguments.seed)
    problem.save(arguments.out)
    m, n = problem.matrix.shape
    print(f"{m:,} targets x {n:,} records, {problem.matrix.nnz:,} non-zeros in {arguments.out}")


if __name__ == "__main__":
    main()

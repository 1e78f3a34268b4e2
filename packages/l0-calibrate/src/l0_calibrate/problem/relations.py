"""Targets whose rows of the matrix are copies of another's, sums of others', or within another's."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, pairwise

import attrs
import numpy as np

from l0_calibrate.problem.copies import first_copies
from l0_calibrate.problem.excess import packed
from l0_calibrate.problem.nesting import FloatArray, Nesting
from l0_calibrate.problem.partitions import MOST_COUNTED, Partition, divide
from l0_calibrate.problem.problem import CalibrationProblem

AGREE = 1e-6
"""Relative difference up to which two totals are the same: that of values written with seven digits."""

FEW = 30
FEW_EACH = 5
"""Where fewer records than `FEW` enter a whole (or a part of an excess), or fewer than `FEW_EACH` for each part, what
holds of these records may not hold of others."""


@attrs.frozen(eq=False)
class Relation:
    """What the estimates of some targets do under any weights: the parts add up to the whole.

    Parameters
    ----------
    kind
        ``"sum"``, ``"copy"`` (one part, with the same row), or ``"excess"``: the parts add up to no more than the
        whole on any record, and their values do.
    whole, parts
        Positions of targets.
    difference
        Value of the parts together less that of the whole.
    least_error
        What the absolute relative errors of these targets add up to at the least.
    records
        Number of records that enter the whole.
    by_chance
        Whether so few records stand behind it that it may not hold of others (see `FEW`).
    tolerated
        Whether the tolerances of its targets make up for the difference.
    """

    kind: str
    whole: int
    parts: tuple[int, ...]
    difference: float
    least_error: float
    records: int
    by_chance: bool
    tolerated: bool

    @property
    def agrees(self) -> bool:
        """Whether the values do what the estimates do."""
        return self.least_error <= AGREE

    @property
    def targets(self) -> tuple[int, ...]:
        """The whole and the parts."""
        return (self.whole, *self.parts)

    def change(self, target: int) -> float:
        """What the value of one of its targets would have to change by for the values to agree."""
        return self.difference if target == self.whole else -self.difference


@attrs.frozen(eq=False)
class Relations:
    """Those found, the groups of targets with one row, and the targets at which the search was cut short."""

    found: list[Relation]
    copies: list[list[int]]
    unfinished: list[int]


def find_relations(problem: CalibrationProblem) -> Relations:
    """Copies, sums of rows, and rows within one row that exceed it; each holds on every record as entries are stored.

    Where several targets have one row, those whose names have most words in common stand for them in a sum, as parts
    and as the whole; for an excess, that with the least value among the parts, and with the largest for the whole.
    """
    first = first_copies(problem.matrix)
    groups: dict[int, list[int]] = defaultdict(list)
    for i in np.flatnonzero(np.diff(problem.matrix.indptr)).tolist():
        groups[int(first[i])].append(i)
    least = np.full(problem.n_targets, np.inf)
    np.minimum.at(least, first, problem.targets)
    search = _Search(problem, groups, Nesting.of(problem.matrix, np.array(sorted(groups), dtype=np.int64)), least)
    search.look_for_disjoint_rows()
    search.look_for_counts()
    found = [*search.copies(), *search.sums(), *search.excesses()]
    return Relations(found, [group for group in groups.values() if len(group) > 1], sorted(search.unfinished))


@attrs.frozen(eq=False)
class _Search:
    """The rows of a problem, by the first of the targets that have them, and what was found of them.

    ``least`` has, of each row, the least value of the targets that have it.
    """

    problem: CalibrationProblem
    groups: dict[int, list[int]]
    nesting: Nesting
    least: FloatArray
    partitions: dict[int, list[Partition]] = attrs.field(init=False, factory=lambda: defaultdict(list))
    exceeding: dict[int, tuple[int, ...]] = attrs.field(init=False, factory=dict)
    unfinished: set[int] = attrs.field(init=False, factory=set)

    def look_for_disjoint_rows(self) -> None:
        """Rows that share no record, and add up to a row or exceed its value."""
        for whole in self.nesting.distinct.tolist():
            self._look_within(whole)

    def look_for_counts(self) -> None:
        """Counts that share records, and add up to a count or exceed its value."""
        nesting = self.nesting
        nesting.rows.counts[:] = (nesting.largest >= 1) & (nesting.largest <= MOST_COUNTED)
        for whole in nesting.distinct.tolist():
            if nesting.rows.counts[whole] and nesting.largest[whole] > 1:
                self._look_within(whole)

    def _look_within(self, whole: int) -> None:
        known = self.partitions[whole]
        most = float(self.problem.targets[self.groups[whole]].max())
        with self.nesting.laid_out(whole) as nest:
            division = divide(self.nesting, nest, known)
            parts = packed(self.nesting, nest, self.least, most)
        known += division.found
        if not (division.finished and nest.complete):
            self.unfinished.add(whole)
        if parts and all(parts != partition.parts for partition in known):
            self.exceeding.setdefault(whole, parts)

    def copies(self) -> Iterator[Relation]:
        """Each of the targets with one row against the next larger one."""
        for group in self.groups.values():
            for pair in pairwise(sorted(group, key=lambda i: self.problem.targets[i])):
                yield self._relation("copy", min(pair), (max(pair),))

    def sums(self) -> Iterator[Relation]:
        """Sums of the targets that have the rows found; once for each set of parts."""
        words = {i: _words(self.problem.target_names[i]) for group in self.groups.values() for i in group}
        for partition in chain.from_iterable(self.partitions.values()):
            wholes: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for whole in self.groups[partition.whole]:
                wholes[tuple(_likest(self.groups[k], (whole,), words) for k in partition.parts)].append(whole)
            for parts, group in wholes.items():
                yield self._relation("sum", _likest(group, parts, words), parts)

    def excesses(self) -> Iterator[Relation]:
        """What exceeds a row by the least of the values of its rows, and the largest of its own."""
        values = self.problem.targets
        for row, rows in self.exceeding.items():
            whole = max(self.groups[row], key=lambda i: values[i])
            yield self._relation("excess", whole, tuple(min(self.groups[k], key=lambda i: values[i]) for k in rows))

    def _relation(self, kind: str, whole: int, parts: tuple[int, ...]) -> Relation:
        problem = self.problem
        difference = math.fsum((*problem.targets[list(parts)], -problem.targets[whole]))
        rows = [whole, *parts]
        scale = problem.scale[rows]
        least_error = abs(difference) / float(scale.max())
        tolerated = abs(difference) <= float(problem.tolerances[rows] @ scale)
        records = self.nesting.sizes[rows]
        fewest = int(records.min() if kind == "excess" else records[0])
        by_chance = fewest < FEW or int(records[0]) < FEW_EACH * len(parts)
        return Relation(kind, whole, parts, difference, least_error, int(records[0]), by_chance, tolerated)


def _words(name: object) -> frozenset[str]:
    return frozenset(re.split(r"[^0-9A-Za-z]+", str(name)))


def _likest(group: list[int], others: tuple[int, ...], words: dict[int, frozenset[str]]) -> int:
    """The target of a group whose name has most words in common with those of others."""
    return max(group, key=lambda i: sum(len(words[i] & words[other]) for other in others))

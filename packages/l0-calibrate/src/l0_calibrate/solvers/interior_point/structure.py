"""Areas found from the matrix: an elimination tree of blocks, nation above states above districts.

A record belongs to one area of each level, so rows of one area share records with one another and with
the rows of the levels above, and with nothing else. ``A D A'`` is then a block arrow, which is factored
block by block. No labels are needed: rows that meet many different rows are those of the upper levels,
and what remains falls apart by itself.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import Columns
from l0_calibrate.solvers.interior_point.labelled import labelled_tree
from l0_calibrate.solvers.interior_point.numbering import Node, Structure, block_cost, numbered
from l0_calibrate.solvers.interior_point.patterns import Pattern
from l0_calibrate.solvers.interior_point.splitting import BORDER, Split, Splitters, splits
from l0_calibrate.threads import Threads

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LEAST_ROWS = 48
"""Blocks below it are put together with others: small blocks cost calls, not arithmetic."""
_WORTH = 0.7
"""A split must save 30 % of the arithmetic, or the bookkeeping eats it."""
_TRIED = 3
"""Splits of the whole matrix that are followed down to their own splits before one is chosen."""
_DEPTH = 4
_GOOD = 0.05
"""Part of the arithmetic that a split may leave for rarer rows not to be tried as well."""
_HOPEFUL = 4.0
"""Splits that cost more than this many times the cheapest are not followed: theirs will not make up for it."""


def find_structure(
    columns: Columns,
    use_rows: BoolArray,
    use_columns: BoolArray,
    areas: IntArray | None = None,
    threads: int = 1,
) -> Structure:
    """The cheapest tree of blocks found for the rows and columns in use.

    Parameters
    ----------
    areas
        Shape (levels, columns), see `l0_calibrate.areas.Areas`: the blocks are then those of the areas, and only
        within the lowest of them are more looked for. Areas that save less than a split must are no help; then
        blocks are looked for as if there were none.
    threads
        The structure is the same for any number.
    """
    with Threads(threads) as workers:
        pattern = Pattern.of(columns, use_rows, use_columns, workers)
        splitters = Splitters.of(pattern, workers)
        if areas is not None:
            tree = _refined(splitters, labelled_tree(pattern, areas, LEAST_ROWS), 0)
            if tree.below and tree.cost(0) < _WORTH * block_cost(float(pattern.heft.sum()), 0):
                return numbered(pattern, tree, by_areas=True)
        return numbered(pattern, _grown(splitters, np.flatnonzero(pattern.heft), 0, _TRIED, _DEPTH))


def _refined(splitters: Splitters, tree: Node, above: int) -> Node:
    """A tree whose lowest blocks are split further where that pays, and whose parts are one block where that does."""
    if not tree.below:
        return _grown(splitters, tree.rows, above, 1, _DEPTH)
    deeper = above + tree.size
    tree.below = splitters.each(tree.below, lambda lane, part: _refined(lane, part, deeper))
    rows = np.sort(np.concatenate([tree.rows, *(part.all_rows() for part in tree.below)]))
    one = Node(rows, int(splitters.pattern.heft[rows].sum()), [])
    return tree if above == 0 or tree.cost(above) < _WORTH * one.cost(above) else one


def _grown(splitters: Splitters, rows: IntArray, above: int, tried: int, depth: int) -> Node:
    """The tree of some (first) rows: one block, or a border with trees below it, whichever is cheaper."""
    heft = splitters.pattern.heft
    best = Node(rows, int(heft[rows].sum()), [])
    whole = best.cost(above)
    # However rows are split, each of them takes the square of those above: few rows below many are best as they are.
    if depth == 0 or best.size < 2 * LEAST_ROWS or best.size * above**2 >= _WORTH * whole:
        return best
    candidates: list[tuple[float, Split]] = []
    for split in splits(splitters, rows):
        if candidates and split.solid < candidates[-1][1].solid and min(candidates, key=_cost)[0] < _GOOD * whole:
            break
        candidates.append((_split_cost(split, above), split))
    candidates.sort(key=_cost)
    least = _WORTH * whole
    counts: list[int] = []
    for cost, split in candidates:
        if len(counts) == tried or cost > min(whole, _HOPEFUL * candidates[0][0]):
            break
        if any(0.8 < split.sizes.size / count < 1.25 for count in counts):
            continue  # much the same as a cheaper one
        counts.append(split.sizes.size)
        groups = _grouped(rows, split)
        below = splitters.each(groups, partial(_grown_below, above + split.border, depth - 1))
        tree = Node(rows[split.areas == BORDER], split.border, below)
        cost = tree.cost(above)
        if cost < least:
            best, least = tree, cost
    return best


def _grown_below(above: int, depth: int, splitters: Splitters, rows: IntArray) -> Node:
    return _grown(splitters, rows, above, 1, depth)


def _cost(candidate: tuple[float, Split]) -> float:
    return candidate[0]


def _split_cost(split: Split, above: int) -> float:
    sizes = _merged_sizes(split.sizes)
    deeper = above + split.border
    return block_cost(split.border, above) + sum(block_cost(size, deeper) for size in sizes)


def _merged_sizes(sizes: IntArray) -> list[int]:
    """Sizes of the groups that `_grouped` makes."""
    out: list[int] = []
    for size in np.sort(sizes)[::-1]:
        if out and (size < LEAST_ROWS and out[-1] < LEAST_ROWS):
            out[-1] += int(size)
        else:
            out.append(int(size))
    return out


def _grouped(rows: IntArray, split: Split) -> list[IntArray]:
    """Rows of each area, areas of few rows put together."""
    order = np.argsort(-split.sizes, kind="stable")
    group_of = np.empty(split.sizes.size, dtype=np.int64)
    groups, last = -1, LEAST_ROWS
    for k in order:
        size = int(split.sizes[k])
        if size < LEAST_ROWS and last < LEAST_ROWS:
            last += size
        else:
            groups, last = groups + 1, size
        group_of[k] = groups
    inside = split.areas != BORDER
    labels = np.full(rows.size, -1)
    labels[inside] = group_of[split.areas[inside]]
    by_group = np.argsort(labels, kind="stable")
    edges = np.searchsorted(labels[by_group], np.arange(groups + 2))
    return [rows[by_group[edges[k] : edges[k + 1]]] for k in range(groups + 1)]

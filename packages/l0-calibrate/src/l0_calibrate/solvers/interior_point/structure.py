"""Areas found from the matrix: an elimination tree of blocks, nation above states above districts.

A record belongs to one area of each level, so rows of one area share records with one another and with
the rows of the levels above, and with nothing else. ``A D A'`` is then a block arrow, which is factored
block by block. No labels are needed: rows that meet many different rows are those of the upper levels,
and what remains falls apart by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.splitting import BORDER, Pattern, Split, splits
from l0_calibrate.system import Columns

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LEAST_ROWS = 48
"""Blocks below it are put together with others: small blocks cost calls, not arithmetic."""
_NODE_COST = 2e5
"""What a block costs beside its arithmetic, in multiplications."""
_WORTH = 0.7
"""A split must save 30 % of the arithmetic, or the bookkeeping eats it."""
_TRIED = 3
"""Splits of the whole matrix that are followed down to their own splits before one is chosen."""
_DEPTH = 4
_HOPEFUL = 4.0
"""Splits that cost more than this many times the cheapest are not followed: theirs will not make up for it."""


def block_cost(own: float, above: float) -> float:
    """Multiplications that factoring a block costs: Cholesky of its own rows, and their effect on those above."""
    return own**3 / 3.0 + own**2 * above + own * above**2 + _NODE_COST


@attrs.frozen(eq=False)
class Block:
    """One node of the tree.

    ``rows`` and ``columns`` are ranges in the new order, ``parent`` the number of the block above (-1 for
    the root), ``above`` those rows of the blocks above, ascending, in the new order, that its columns or
    those of the blocks below it touch.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    parent: int
    above: IntArray

    @property
    def own(self) -> int:
        """Number of the block's own rows."""
        return self.rows[1] - self.rows[0]


@attrs.frozen(eq=False)
class Structure:
    """An order of rows and columns, and the blocks in it, children before parents.

    ``row_order`` and ``column_order`` hold the old number of each new one; rows and columns left out
    (those that a fit has no use for) are in neither.
    """

    row_order: IntArray
    column_order: IntArray
    blocks: tuple[Block, ...]

    @property
    def cost(self) -> float:
        """Multiplications of one factorisation."""
        return sum(block_cost(b.own, b.above.size) for b in self.blocks)

    @property
    def factor_bytes(self) -> int:
        """Bytes of the factor, and of the largest blocks on their way up."""
        held = sum(b.own * (b.own + b.above.size) for b in self.blocks)
        moving = max((b.above.size**2 for b in self.blocks), default=0) * _DEPTH
        return 8 * (held + moving)

    @property
    def levels(self) -> int:
        """Depth of the tree."""
        depth = [0] * len(self.blocks)
        for k in reversed(range(len(self.blocks))):
            depth[k] = 1 + (depth[self.blocks[k].parent] if self.blocks[k].parent >= 0 else 0)
        return max(depth, default=0)


@attrs.define(eq=False)
class _Tree:
    """Rows of a block (old numbers) and the trees below it."""

    rows: IntArray
    below: list[_Tree]

    def cost(self, above: int) -> float:
        deeper = above + self.rows.size
        return block_cost(self.rows.size, above) + sum(tree.cost(deeper) for tree in self.below)


def find_structure(columns: Columns, use_rows: BoolArray, use_columns: BoolArray) -> Structure:
    """The cheapest tree of blocks found for the rows and columns in use."""
    pattern = Pattern.of(columns, use_rows, use_columns)
    rows = np.flatnonzero(use_rows)
    tree = _grown(pattern, rows, 0, _TRIED, _DEPTH)
    return _numbered(pattern, tree, use_columns)


def _grown(pattern: Pattern, rows: IntArray, above: int, tried: int, depth: int) -> _Tree:
    """The tree of some rows: one block, or a border with trees below it, whichever is cheaper."""
    best = _Tree(rows, [])
    whole = best.cost(above)
    if depth == 0 or rows.size < 2 * LEAST_ROWS:
        return best
    candidates = sorted(splits(pattern, rows), key=lambda split: _split_cost(split, above))
    least = _WORTH * whole
    counts: list[int] = []
    for split in candidates:
        cost = _split_cost(split, above)
        if len(counts) == tried or cost > min(whole, _HOPEFUL * _split_cost(candidates[0], above)):
            break
        if any(0.8 < split.sizes.size / count < 1.25 for count in counts):
            continue  # much the same as a cheaper one
        counts.append(split.sizes.size)
        groups = _grouped(rows, split)
        deeper = above + split.border
        below = [_grown(pattern, group, deeper, 1, depth - 1) for group in groups]
        tree = _Tree(rows[split.areas == BORDER], below)
        cost = tree.cost(above)
        if cost < least:
            best, least = tree, cost
    return best


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


def _numbered(pattern: Pattern, tree: _Tree, use_columns: BoolArray) -> Structure:
    """New numbers: blocks in post-order; each column in the lowest block that it touches, beside its like."""
    nodes = list(_post_order(tree, -1))
    position = {id(node): k for k, (node, _) in enumerate(nodes)}
    block_of_row = np.full(pattern.rows, -1, dtype=np.int64)
    for k, (node, _) in enumerate(nodes):
        block_of_row[node.rows] = k
    block_of_column, first, alike = pattern.lowest(block_of_row, len(nodes))
    used = np.flatnonzero(use_columns)
    # By first row before likeness: columns of one place meet the same part of a front while it is in the cache.
    column_order = used[np.lexsort((alike[used], first[used], block_of_column[used]))]
    column_edges = np.searchsorted(block_of_column[column_order], np.arange(len(nodes) + 1))
    row_edges = np.concatenate(([0], np.cumsum([node.rows.size for node, _ in nodes]))).astype(int)
    parents = [position[id(parent)] if isinstance(parent, _Tree) else -1 for _, parent in nodes]
    row_order = np.concatenate([node.rows for node, _ in nodes])
    place = np.full(pattern.rows, -1, dtype=np.int64)
    place[row_order] = np.arange(row_order.size)
    blocks: list[Block] = []
    touched: list[list[IntArray]] = [[] for _ in nodes]
    for k, parent in enumerate(parents):
        columns = (int(column_edges[k]), int(column_edges[k + 1]))
        rows = (int(row_edges[k]), int(row_edges[k + 1]))
        marked = pattern.marked(column_order[columns[0] : columns[1]], place)
        for part in touched[k]:
            marked[part] = True
        above = rows[1] + np.flatnonzero(marked[rows[1] :])
        touched[k].clear()
        if parent >= 0:
            touched[parent].append(above)
        blocks.append(Block(rows, columns, parent, above))
    return Structure(row_order, column_order, tuple(blocks))


def _post_order(tree: _Tree, parent: object) -> Iterator[tuple[_Tree, object]]:
    for child in tree.below:
        yield from _post_order(child, tree)
    yield tree, parent

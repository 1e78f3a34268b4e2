"""Blocks in an order of rows and columns: a tree of rows becomes the numbers that the factor works with."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.patterns import Int32Array, Lists, Pattern
from l0_gates.jit import jit

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_NODE_COST = 2e5
"""What a block costs beside its arithmetic, in multiplications."""


def block_cost(own: float, above: float) -> float:
    """Multiplications that factoring a block costs: Cholesky of its own rows, and their effect on those above."""
    return own**3 / 3.0 + own**2 * above + own * above**2 + _NODE_COST


@attrs.frozen(eq=False)
class Block:
    """One node of the tree.

    ``rows`` and ``columns`` are ranges in the new order, ``parent`` the number of the block above (-1 for the root),
    ``above`` those rows of the blocks above, ascending, in the new order, that its columns or those of the blocks
    below it touch.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    parent: int
    above: IntArray

    @property
    def own(self) -> int:
        """Number of the block's own rows."""
        return self.rows[1] - self.rows[0]

    @property
    def size(self) -> int:
        """Elements of its panel of the factor."""
        return self.own * (self.own + self.above.size)


@attrs.frozen(eq=False)
class Structure:
    """An order of rows and columns, and the blocks in it, children before parents.

    ``row_order`` and ``column_order`` hold the old number of each new one; rows and columns left out
    (those that a fit has no use for) are in neither. Columns with the same rows are beside one another.
    ``by_areas``: the blocks are those of areas that were given, not found.
    """

    row_order: IntArray
    column_order: IntArray
    blocks: tuple[Block, ...]
    by_areas: bool = False

    @property
    def cost(self) -> float:
        """Multiplications of one factorisation."""
        return sum(block_cost(b.own, b.above.size) for b in self.blocks)

    @property
    def factor_bytes(self) -> int:
        """Bytes of the factor, and of blocks on their way up."""
        held = sum(block.size for block in self.blocks)
        moving = max((b.above.size**2 for b in self.blocks), default=0) * self.levels
        return 8 * (held + moving)

    @property
    def levels(self) -> int:
        """Depth of the tree."""
        depth = [0] * len(self.blocks)
        for k in reversed(range(len(self.blocks))):
            depth[k] = 1 + (depth[self.blocks[k].parent] if self.blocks[k].parent >= 0 else 0)
        return max(depth, default=0)


@attrs.define(eq=False)
class Node:
    """First rows of a block (old numbers), how many rows they stand for, and the trees below it."""

    rows: IntArray
    size: int
    below: list[Node]

    def all_rows(self) -> IntArray:
        """First rows of the block and of the trees below it."""
        return np.concatenate([self.rows, *(node.all_rows() for node in self.below)])

    def cost(self, above: int) -> float:
        """Multiplications of the tree where so many rows lie above it, taken to be touched throughout."""
        deeper = above + self.size
        return block_cost(self.size, above) + sum(node.cost(deeper) for node in self.below)


def numbered(pattern: Pattern, tree: Node, by_areas: bool = False) -> Structure:
    """New numbers: blocks in post-order; each column in the lowest block that it touches, beside its like."""
    nodes = list(_post_order(tree, -1))
    position = {id(node): k for k, (node, _) in enumerate(nodes)}
    rows_of = [pattern.expanded(node.rows) for node, _ in nodes]
    row_order = np.concatenate(rows_of)
    row_edges = np.concatenate(([0], np.cumsum([rows.size for rows in rows_of]))).astype(int)
    place = np.full(pattern.rows, -1, dtype=np.int64)
    place[row_order] = np.arange(row_order.size)
    block_of_row = np.full(pattern.rows, -1, dtype=np.int64)
    block_of_row[row_order] = np.repeat(np.arange(len(nodes)), np.diff(row_edges))
    block_of, first = np.full(pattern.count, len(nodes) - 1, dtype=np.int64), np.zeros(pattern.count, dtype=np.int64)
    _lowest(pattern.by_patterns, block_of_row, block_of, first)
    # By first row: columns of one place meet the same part of a front while it is in the cache.
    order = np.lexsort((first, block_of))
    rank = np.empty(pattern.count, dtype=np.int64)
    rank[order] = np.arange(order.size)
    column_edges = np.zeros(order.size + 1, dtype=np.int64)
    _count_columns(pattern.of_column, rank, column_edges)
    column_edges = np.cumsum(column_edges)
    column_order = np.empty(int(column_edges[-1]), dtype=np.int64)
    _sort_columns(pattern.of_column, rank, column_edges[:-1].copy(), column_order)
    block_edges = np.searchsorted(block_of[order], np.arange(len(nodes) + 1))
    blocks: list[Block] = []
    touched: list[list[IntArray]] = [[] for _ in nodes]
    for k, (_, parent) in enumerate(nodes):
        start, stop = int(block_edges[k]), int(block_edges[k + 1])
        rows = (int(row_edges[k]), int(row_edges[k + 1]))
        marked = np.zeros(row_order.size, dtype=bool)
        _mark(pattern.by_patterns, order[start:stop], place, marked)
        marked = marked[place[pattern.like[row_order]]]  # ... and the rows that those marked stand for
        for part in touched[k]:
            marked[part] = True
        above = rows[1] + np.flatnonzero(marked[rows[1] :])
        touched[k].clear()
        above_number = position[id(parent)] if isinstance(parent, Node) else -1
        if above_number >= 0:
            touched[above_number].append(above)
        columns = (int(column_edges[start]), int(column_edges[stop]))
        blocks.append(Block(rows, columns, above_number, above))
    return Structure(row_order, column_order, tuple(blocks), by_areas)


def _post_order(tree: Node, parent: object) -> Iterator[tuple[Node, object]]:
    for child in tree.below:
        yield from _post_order(child, tree)
    yield tree, parent


@jit
def _count_columns(of_column: Int32Array, rank: IntArray, counts: IntArray) -> None:
    for k in of_column:
        if k >= 0:
            counts[rank[k] + 1] += 1


@jit
def _sort_columns(of_column: Int32Array, rank: IntArray, fill: IntArray, out: IntArray) -> None:
    """Columns by the rank of their patterns, equal ones in their order."""
    for j in range(of_column.size):
        if of_column[j] >= 0:
            at = rank[of_column[j]]
            out[fill[at]] = j
            fill[at] += 1


@jit
def _lowest(by_patterns: Lists, block_of_row: IntArray, block_of: IntArray, first: IntArray) -> None:
    """The first block (children come before parents) among the rows of each pattern, and the first row in it."""
    for j in range(block_of.size):
        start, stop = by_patterns.edges[j], by_patterns.edges[j + 1]
        for p in range(start, stop):
            block_of[j] = min(block_of[j], block_of_row[by_patterns.members[p]])
        for p in range(start, stop):
            if block_of_row[by_patterns.members[p]] == block_of[j]:
                first[j] = by_patterns.members[p]
                break


@jit
def _mark(by_patterns: Lists, patterns: IntArray, place: IntArray, out: BoolArray) -> None:
    for j in patterns:
        for p in range(by_patterns.edges[j], by_patterns.edges[j + 1]):
            out[place[by_patterns.members[p]]] = True

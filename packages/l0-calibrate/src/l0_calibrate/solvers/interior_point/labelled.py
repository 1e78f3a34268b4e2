"""The tree of blocks that labels of areas give: each target in the deepest area that has all its records."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.numbering import Node
from l0_calibrate.solvers.interior_point.patterns import Int32Array, Lists, Pattern
from l0_gates.jit import jit

IntArray = npt.NDArray[np.int64]

_NONE, _SEVERAL = -1, -2


def labelled_tree(pattern: Pattern, areas: IntArray, least_rows: int) -> Node:
    """Blocks by areas of shape (levels, columns), each within one of the level above it.

    A row of records in several areas of a level lies above that level, so no labels, however poor, make the tree
    wrong. An area without rows of its own is left out, its parts stand in its place; areas side by side
    of fewer rows than ``least_rows`` share a block, and so do rows without records.
    """
    levels = areas.shape[0]
    deepest = np.full(pattern.rows, _NONE, dtype=np.int64)  # the area of each row, on its level
    depth = np.zeros(pattern.rows, dtype=np.int64)
    above: list[dict[int, int]] = []
    for level in range(levels):
        of_pattern = np.full(pattern.count, _NONE, dtype=np.int64)
        _join_columns(pattern.of_column, areas[level], of_pattern)
        of_row = np.full(pattern.rows, _NONE, dtype=np.int64)
        _join_patterns(pattern.by_patterns, of_pattern, of_row)
        inside = of_row >= 0
        deepest[inside], depth[inside] = of_row[inside], level + 1
        parents = areas[level - 1] if level else np.zeros_like(areas[0])
        numbers, first = np.unique(areas[level], return_index=True)
        above.append(dict(zip(numbers.tolist(), parents[first].tolist(), strict=True)))
    empty = np.diff(pattern.by_rows.edges) == 0
    rows_of: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero((pattern.heft > 0) & ~empty).tolist():
        rows_of[int(depth[row]), int(deepest[row]) if depth[row] else 0].append(row)
    below: dict[tuple[int, int], list[Node]] = defaultdict(list)
    for level in range(levels, 0, -1):
        for number, parent in above[level - 1].items():
            rows, parts = rows_of.get((level, number), []), _together(below.pop((level, number), []), least_rows)
            place = below[level - 1, parent if level > 1 else 0]
            if rows:
                place.append(_node(pattern, rows, parts))
            else:
                place.extend(parts)
    below[0, 0] += [_node(pattern, [row], []) for row in np.flatnonzero((pattern.heft > 0) & empty).tolist()]
    return _node(pattern, rows_of.get((0, 0), []), _together(below[0, 0], least_rows))


def _node(pattern: Pattern, rows: list[int], below: list[Node]) -> Node:
    chosen = np.array(rows, dtype=np.int64)
    return Node(chosen, int(pattern.heft[chosen].sum()), below)


def _together(nodes: list[Node], least_rows: int) -> list[Node]:
    """Areas without parts and of few rows put together, in their order."""
    out: list[Node] = []
    filling: Node | None = None
    for node in nodes:
        if node.below or node.size >= least_rows:
            out.append(node)
        elif filling is None or filling.size >= least_rows:
            filling = node
            out.append(filling)
        else:
            filling.rows = np.sort(np.concatenate((filling.rows, node.rows)))
            filling.size += node.size
    return out


@jit
def _join_columns(of_column: Int32Array, areas: IntArray, of_pattern: IntArray) -> None:
    """The one area that the columns of each pattern are in."""
    for j in range(of_column.size):
        k = of_column[j]
        if k >= 0 and of_pattern[k] != areas[j]:
            of_pattern[k] = areas[j] if of_pattern[k] == _NONE else _SEVERAL


@jit
def _join_patterns(by_patterns: Lists, of_pattern: IntArray, of_row: IntArray) -> None:
    """The one area that the patterns of each row are in."""
    for k in range(of_pattern.size):
        for p in range(by_patterns.edges[k], by_patterns.edges[k + 1]):
            row = by_patterns.members[p]
            if of_row[row] != of_pattern[k]:
                of_row[row] = of_pattern[k] if of_row[row] == _NONE else _SEVERAL

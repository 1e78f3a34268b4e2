r"""Where the iteration begins: a rough optimum of the smooth barrier problem, by coordinate descent.

With a barrier ``mu`` on all slacks, the price of a row becomes smooth:
``h_mu'(r) = y`` where ``r = z + q y + p - s``, ``p = mu / (c - y)``, ``s = mu / (c + y)`` and
``z = d^2 y / (mu + sqrt(mu^2 + d^2 y^2))``; for ``c |r|`` that is ``y = c^2 r / (mu + sqrt(mu^2 + c^2 r^2))``.
Each pass majorises it by a quadratic of curvature ``y / r`` and moves every ratio once to the exact
minimum of its quadratic and its own barrier. Parts of the columns are moved side by side: a row that several parts
touch counts in each as if it were as many times as steep, and so their moves together stay within what it allows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays, Bundles
from l0_calibrate.bundles.kernels import extent, most_lines
from l0_calibrate.solvers.interior_point.products import BundleMap
from l0_calibrate.solvers.interior_point.program import Program
from l0_calibrate.solvers.mass import project_mass
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]

FIRST_BARRIER, LAST_BARRIER = 0.3, 0.003
COLD_PASSES = 24
WARM_PASSES = 5
WARM_BARRIER = 0.01
_ROUGH = 1e-3
"""Relative accuracy of one ratio in one pass: the next pass moves it further than that."""
_PARTS = 4
"""Parts of the columns that are moved side by side, whatever the threads, so that results do not depend on these; more
slow the passes down, for each holds back where rows are shared."""
_WORTH_PARTS = 200_000
"""Values from which on there are parts."""
_HALVINGS = 60
"""Of an interval of duals: to the last bits of a double."""


class Opened(NamedTuple):
    """A point well inside: ratios above their lower bounds, residuals ``A u - b``, and the barrier it is near."""

    above: FloatArray
    residuals: FloatArray
    barrier: float


def opened(program: Program, columns: BundleMap, warm: FloatArray | None) -> Opened:
    """Run the passes; ``warm`` are ratios to begin from, None for ratios of 1."""
    first, passes, share = (FIRST_BARRIER, COLD_PASSES, 0.1) if warm is None else (WARM_BARRIER, WARM_PASSES, 0.01)
    start = cautious(program, columns, warm, share)
    above, residuals = start.above, start.residuals
    steep = np.ones(program.b.size, dtype=bool)
    steep[program.capped] = False
    box = _Box(program.lower, program.width, program.spread, program.centre)
    # Where residuals are large, so are the slacks that pay for them, and so must the barrier be.
    barriers = np.geomspace(first, LAST_BARRIER, passes) * max(1.0, float(np.abs(residuals).mean()))
    parts = columns.bundles.parts(_PARTS if columns.bundles.size >= _WORTH_PARTS else 1)
    shared = _shared(columns.bundles, parts)
    for barrier in barriers:
        curvature = _majoriser(program, residuals, float(barrier), steep)
        _pass(columns, parts, curvature * shared, curvature * residuals, above, box, float(barrier))
        residuals = columns.matvec(program.lower + above) - program.b
    above = _with_mass(program, above)
    return Opened(above, columns.matvec(program.lower + above) - program.b, float(barriers[-1]))


def cautious(program: Program, columns: BundleMap, warm: FloatArray | None = None, share: float = 0.1) -> Opened:
    """The start without a pass: ratios of 1 (or the warm ones) moved inside, a barrier of the size of the residuals."""
    u = np.ones(program.lower.size) if warm is None else warm
    above = _with_mass(program, _inside(u - program.lower, program.width, share))
    residuals = columns.matvec(program.lower + above) - program.b
    return Opened(above, residuals, max(1.0, float(np.abs(residuals).mean())))


def _with_mass(program: Program, above: FloatArray) -> FloatArray:
    """The point moved to the program's mass, still inside; as it is where that leaves no room."""
    if program.mass is None:
        return above
    inner = 1e-3 * np.minimum(program.width, 1.0)
    lower, upper = program.lower + inner, program.lower + program.width - inner
    closed = project_mass(program.lower + above, program.mass.reference, program.mass.total, lower, upper)
    return above if closed is None else closed - program.lower


def _inside(above: FloatArray, width: FloatArray, share: float) -> FloatArray:
    """Keep away from both bounds by a share of the way between them (of 1 where there is no upper one)."""
    margin = share * np.minimum(width, 1.0)
    return np.clip(above, margin, np.where(np.isfinite(width), width - margin, np.inf))


def _majoriser(program: Program, residuals: FloatArray, barrier: float, steep: npt.NDArray[np.bool_]) -> FloatArray:
    """Curvature of the quadratic that touches the smooth price of each row at its residual and lies above it."""
    c2 = program.cap**2
    inverse = program.curvature + (barrier + np.sqrt(barrier**2 + c2 * residuals**2)) / c2
    inverse[steep] = np.maximum(program.curvature[steep], barrier)
    return 1.0 / inverse


class _Box(NamedTuple):
    lower: FloatArray
    width: FloatArray
    spread: FloatArray
    centre: float


def _shared(bundles: Bundles, parts: list[tuple[int, int]]) -> FloatArray:
    """How many parts touch each row, at least 1."""
    shared = np.zeros(bundles.height)
    for first, last in parts:
        edges = bundles.arrays.row_edges
        touched = np.zeros(shared.size, dtype=bool)
        touched[bundles.arrays.rows[edges[first] : edges[last]]] = True
        shared += touched
    return np.maximum(shared, 1.0)


def _pass(
    columns: BundleMap,
    parts: list[tuple[int, int]],
    curvature: FloatArray,
    slopes: FloatArray,
    above: FloatArray,
    box: _Box,
    barrier: float,
) -> None:
    """Move each ratio once, the parts side by side."""
    columns.workers.all(
        len(parts),
        lambda k: _descend(*parts[k], columns.bundles.arrays, curvature, slopes.copy(), above, box, barrier),
    )


@fast_jit
def _descend(
    first: int,
    last: int,
    bundles: BundleArrays,
    curvature: FloatArray,
    slopes: FloatArray,
    above: FloatArray,
    box: _Box,
    barrier: float,
) -> None:
    """One pass over the ratios of some bundles; ``slopes`` (curvature times residual) and ``above`` are kept current.

    A change moves the slopes of all rows of a line together, so within a bundle only those of the lines are kept.
    """
    lower, width, spread, centre = box
    most = most_lines(first, last, bundles)
    slope, curve, moved = np.empty(most), np.empty(most), np.empty(most)
    for b in range(first, last):
        lines = np.uint64(bundles.lines[b])
        rows = (np.uint64(bundles.row_edges[b]), np.uint64(bundles.row_edges[b + 1]))
        slope[:lines] = 0.0
        curve[:lines] = 0.0
        moved[:lines] = 0.0
        for k in range(*rows):
            line, row, multiple = bundles.line[k], bundles.rows[k], np.float64(bundles.multiple[k])
            slope[line] += multiple * slopes[row]
            curve[line] += multiple * multiple * curvature[row]
        for r in range(bundles.run_edges[b], bundles.run_edges[b + 1]):
            edge, length, count, start = extent(bundles, r)
            column = np.uint64(bundles.columns[r])
            for c in range(count):
                j = column + c
                g = spread[j] * (lower[j] + above[j] - centre)
                h = spread[j]
                for k in range(length):
                    a, line = np.float64(bundles.values[start + k]), bundles.touched[edge + k]
                    g += a * slope[line]
                    h += a * a * curve[line]
                x = _lowest(g - h * above[j], h, barrier, width[j])
                change = x - above[j]
                if h > 0.0 and abs(change) < np.inf and x > 0.0:
                    above[j] = x
                    for k in range(length):
                        a, line = np.float64(bundles.values[start + k]), bundles.touched[edge + k]
                        slope[line] += curve[line] * change * a
                        moved[line] += change * a
                start += length
        for k in range(*rows):
            row = bundles.rows[k]
            slopes[row] += curvature[row] * bundles.multiple[k] * moved[bundles.line[k]]


@fast_jit
def _lowest(tilt: float, h: float, barrier: float, width: float) -> float:
    """The minimum of ``tilt x + h/2 x^2 - barrier (log x + log(width - x))``, x the height above the lower bound."""
    if h <= 0.0:
        return 0.0
    root = np.sqrt(tilt * tilt + 4.0 * h * barrier)
    x = 2.0 * barrier / (tilt + root) if tilt > 0.0 else (root - tilt) / (2.0 * h)
    if width < np.inf:
        low = 0.0
        high = width
        x = min(x, 0.5 * high)
        for _ in range(12):
            room = _room_below(width, x)
            value = tilt + h * x - barrier / x + barrier / room
            if value > 0.0:
                high = x
            else:
                low = x
            slope = h + barrier / (x * x) + barrier / (room * room)
            following = x - value / slope
            before = x
            x = following if low < following < high else 0.5 * (low + high)
            if abs(x - before) <= _ROUGH * x:
                break
    return float(x)


@fast_jit
def _room_below(width: float, x: float) -> float:
    """From x up to the upper bound, never quite nothing."""
    room: float = max(width - x, 1e-12 * width)
    return room


class RowPoint(NamedTuple):
    """Duals and slacks of rows on the central path of a barrier: shapes (m,), and (zoned rows,) for ``zone``."""

    y: FloatArray
    over: FloatArray
    under: FloatArray
    zone: FloatArray


def central_rows(program: Program, residuals: FloatArray, barrier: float) -> RowPoint:
    """Solve ``r = z(y) + q y + p(y) - s(y)`` for each row."""
    capped = np.zeros(residuals.size, dtype=bool)
    capped[program.capped] = True
    c, q, d = program.cap, program.curvature, program.zone

    def zone(y: FloatArray) -> FloatArray:
        return np.asarray(d**2 * y / (barrier + np.sqrt(barrier**2 + (d * y) ** 2)))

    bent = (q > 0) | (d > 0)
    y = np.zeros(residuals.size)
    if bent.any():
        reach = np.where(capped, c, np.abs(residuals) / np.where(q > 0, q, 1.0))
        low, high = -reach, reach.copy()
        for _ in range(_HALVINGS):
            y = 0.5 * (low + high)
            with np.errstate(divide="ignore", over="ignore"):  # 0 room: an infinite pull inwards
                pull = np.where(capped, 2.0 * barrier * y / np.maximum(c**2 - y**2, 1e-300), 0.0)
            more = zone(y) + q * y + pull < residuals
            low, high = np.where(more, y, low), np.where(more, high, y)
        y[~bent] = 0.0
    rest = residuals - zone(y) - q * y
    # p from 2 c p^2 - 2 (c r + mu) p + r mu = 0, the difference of roots avoided for r < 0.
    reached = np.sqrt((c * rest) ** 2 + barrier**2)
    over = _larger_root(c, c * rest, barrier, reached)
    under = _larger_root(c, -c * rest, barrier, reached)
    y = np.where(capped, np.where(rest > 0, c - barrier / over, barrier / under - c), y)
    steep = ~capped & (q > 0)
    y[steep] = ((residuals - zone(y)) / np.where(q > 0, q, 1.0))[steep]
    y[~capped & (q == 0)] = 0.0
    return RowPoint(y, over, under, zone(y)[program.zoned])


def _larger_root(c: FloatArray, scaled: FloatArray, barrier: float, reached: FloatArray) -> FloatArray:
    """``(scaled + mu + sqrt(scaled^2 + mu^2)) / (2 c)``, to full precision where ``scaled`` is far below 0."""
    direct = scaled + barrier + reached
    turned = np.where(scaled < 0, barrier + barrier**2 / np.where(scaled < 0, reached - scaled, 1.0), direct)
    return np.asarray(turned / (2.0 * c))

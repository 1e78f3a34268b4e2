"""A path of budgets beside its largest budget alone and beside each budget on its own: seconds, loss, sample size.

Goal: the path costs little more than its largest budget. All on one thread in one process, after a run that compiles;
the path and its largest budget in turns, the medians of a few.

    python benchmarks/frontier_cost.py PROBLEM_DIR --keep 8000 6000 4000 3000 2000 1000 [--out FILE.json]

The third problem of the page is that of ``python benchmarks/generate_nested.py 10e6 --out 10e6``, with ``--keep 24000
18000 12000 9000 6000``; for `us_state_soi_large` it is ``--keep 28000 21000 14000 10000 7000``.
The shorter paths of the page are ``--keep 4000 2000 1000`` and ``--keep 12000 9000 6000``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.frontier import calibrate_path
from l0_calibrate.options import Options
from l0_calibrate.result.result import CalibrationResult
from provenance import hand_out, provenance


def numbers(result: CalibrationResult) -> dict[str, Any]:
    return {
        "keep": result.kept, "seconds": result.timings["total"], "loss": result.loss, "ess": result.ess,
        "max_ratio": result.max_ratio, "gap": result.gap,
    }  # fmt: skip


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    return work(), time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--keep", type=int, nargs="+", default=[8_000, 6_000, 4_000, 3_000, 2_000, 1_000])
    parser.add_argument("--bound", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    problem = CalibrationProblem.load(arguments.problem)
    counts = sorted(arguments.keep, reverse=True)
    options = Options(max_weight_ratio=arguments.bound, threads=arguments.threads)

    def alone(keep: int) -> CalibrationResult:
        return calibrate(problem, max_weight_ratio=arguments.bound, keep=keep, threads=arguments.threads)

    alone(counts[0])
    paths, largest = [], []
    for _ in range(arguments.repeats):
        path, seconds = timed(lambda: calibrate_path(problem, counts, options))
        paths.append(seconds)
        first, seconds = timed(lambda: alone(counts[0]))
        largest.append(seconds)
    others = [timed(lambda keep=keep: alone(keep)) for keep in counts[1:]]
    each = statistics.median(largest) + sum(seconds for _, seconds in others)
    report = {
        "problem": arguments.problem.name, "targets": problem.n_targets, "records": problem.n_records,
        "path_seconds": statistics.median(paths), "largest_alone_seconds": statistics.median(largest),
        "each_alone_seconds": each, "path_to_largest": statistics.median(paths) / statistics.median(largest),
        "all_path_seconds": paths, "all_largest_alone_seconds": largest,
        "path": [numbers(r) for r in path], "alone": [numbers(r) for r in (first, *(r for r, _ in others))],
        "threads": arguments.threads, **provenance(),
    }  # fmt: skip
    hand_out(report, arguments.out)


if __name__ == "__main__":
    main()

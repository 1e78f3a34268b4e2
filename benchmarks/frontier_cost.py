"""A path of budgets beside its largest budget alone and beside each budget on its own: seconds, loss, sample size.

Goal: the path costs little more than its largest budget. All on one thread in one process, after a run that compiles.

    python benchmarks/frontier_cost.py PROBLEM_DIR --keep 8000 6000 4000 3000 2000 1000 [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.frontier import calibrate_path
from l0_calibrate.options import Options
from l0_calibrate.result.result import CalibrationResult
from provenance import provenance


def numbers(result: CalibrationResult) -> dict[str, Any]:
    return {
        "keep": result.kept, "seconds": result.timings["total"], "loss": result.loss, "ess": result.ess,
        "max_ratio": result.max_ratio, "gap": result.gap,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--keep", type=int, nargs="+", default=[8_000, 6_000, 4_000, 3_000, 2_000, 1_000])
    parser.add_argument("--bound", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    problem = CalibrationProblem.load(arguments.problem)
    options = Options(max_weight_ratio=arguments.bound, threads=arguments.threads)
    calibrate(problem, max_weight_ratio=arguments.bound, keep=max(arguments.keep), threads=arguments.threads)
    begin = time.perf_counter()
    path = calibrate_path(problem, arguments.keep, options)
    seconds = time.perf_counter() - begin
    alone = [
        calibrate(problem, max_weight_ratio=arguments.bound, keep=keep, threads=arguments.threads)
        for keep in sorted(arguments.keep, reverse=True)
    ]
    largest = alone[0].timings["total"]
    report = {
        "problem": arguments.problem.name, "path_seconds": seconds, "largest_alone_seconds": largest,
        "each_alone_seconds": sum(result.timings["total"] for result in alone),
        "path_to_largest": seconds / largest, "path": [numbers(r) for r in path], "alone": [numbers(r) for r in alone],
        "threads": arguments.threads, **provenance(),
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

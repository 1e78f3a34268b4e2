"""Two threads against one, and the memory a dense fit takes beside its matrix; each run in a process of its own.

The problem's ratios are bounded by 10 and the gap is certified to 1 %. Peak memory is that of the process beyond an
interpreter with everything imported and compiled, as a multiple of the matrix (8 bytes a non-zero). Runs with one
thread and with more alternate, and so do as many runs on one thread each, side by side: by how much these hinder each
other (they share memory and caches) no division of the work can make good. Medians count. Goals: two
threads at least 1.6 times as fast, memory at most 4 times the matrix.

    python benchmarks/threads_and_memory.py PROBLEM_DIR [--solver primal_dual] [--repeats 3] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from growth import memory, memory_when_ready
from l0_calibrate import CalibrationProblem, calibrate
from provenance import hand_out, provenance


def one_run(folder: Path, solver: str, threads: int) -> dict[str, Any]:
    options: dict[str, Any] = {"max_weight_ratio": 10, "tol": 0.01, "spread": 0.0, "solver": solver, "threads": threads}
    interpreter = memory_when_ready(options, 1e5)
    begin = time.perf_counter()
    problem = CalibrationProblem.load(folder)
    loading = time.perf_counter() - begin
    result = calibrate(problem, **options)
    return {
        "threads": threads, "seconds_to_load": loading, "seconds": result.timings["total"], "loss": result.loss,
        "gap": result.gap, "status": result.status, "matrix_bytes": 8 * problem.matrix.nnz,
        "memory_per_matrix": (memory("VmHWM") - interpreter) / (8 * problem.matrix.nnz),
    }  # fmt: skip


def side_by_side(command: list[str], count: int) -> list[dict[str, Any]]:
    """What so many processes report that run at the same time."""
    begun = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    said = [process.communicate()[0] for process in begun]
    if any(process.returncode for process in begun):
        raise SystemExit("a run failed")
    return [json.loads(out.splitlines()[-1]) for out in said]


def median_seconds(runs: list[dict[str, Any]]) -> float:
    return statistics.median(run["seconds"] for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--solver", default="primal_dual")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(arguments.problem, arguments.solver, arguments.one)))
        return
    command = [sys.executable, __file__, str(arguments.problem), "--solver", arguments.solver, "--one"]
    runs: dict[int, list[dict[str, Any]]] = {1: [], arguments.threads: []}
    beside: list[dict[str, Any]] = []
    for _ in range(arguments.repeats):
        for threads, done in runs.items():
            done.extend(side_by_side([*command, str(threads)], 1))
        beside.extend(side_by_side([*command, "1"], arguments.threads))
    seconds = {threads: median_seconds(done) for threads, done in runs.items()}
    report = {
        "problem": arguments.problem.name, "solver": arguments.solver,
        "runs": [run for done in runs.values() for run in done],
        "times_faster": seconds[1] / seconds[arguments.threads],
        "side_by_side": [run["seconds"] for run in beside],
        "times_slower_side_by_side": median_seconds(beside) / seconds[1],
        "memory_per_matrix": max(run["memory_per_matrix"] for done in runs.values() for run in done),
        **provenance(),
    }  # fmt: skip
    hand_out(report, arguments.out)


if __name__ == "__main__":
    main()

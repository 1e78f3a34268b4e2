"""The squared and Huber's loss by each of our solvers: time to a dense fit with a certified gap of 1 % and 0.1 %.

    python benchmarks/compare_smooth_losses.py [PROBLEM_DIR ...] [--bound 10] [--out FILE.json]

The bundled small problem comes first. Metric: wall seconds of the solve on one thread (the least of three runs, of one
where a run takes more than ten seconds), compiled and with the scaled problem at hand, with the default spread of
dense fits. A solver that is not done in `--limit` seconds is reported with the gap that it reached.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from l0_calibrate import CalibrationProblem
from l0_calibrate.demo import load_demo
from l0_calibrate.losses import Loss
from l0_calibrate.losses.huber import HuberLoss
from l0_calibrate.losses.squared import SquaredLoss
from l0_calibrate.solvers import Machine, Stop, Task
from l0_calibrate.solvers.base import Solver
from l0_calibrate.solvers.coordinate_descent import CoordinateDescentSolver
from l0_calibrate.solvers.interior_point import InteriorPointSolver
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from provenance import provenance

LOSSES: dict[str, Loss] = {"squared": SquaredLoss(), "huber": HuberLoss()}
SOLVERS: dict[str, type[Solver]] = {
    "coordinate_descent": CoordinateDescentSolver,
    "interior_point": InteriorPointSolver,
    "primal_dual": PrimalDualSolver,
}
GAPS = (1e-2, 1e-3)
SPREAD = 3e-5
REPEATS, LONG = 3, 10.0


def task_of(problem: CalibrationProblem, loss: Loss, bound: float) -> Task:
    """The dense fit that `calibrate` makes of a problem, with ratios up to a bound."""
    system = problem.system
    m, n = system.targets, system.records
    spread = np.full(n, SPREAD * m / n)
    return Task(system, loss.price(problem), None, np.zeros(n), np.full(n, bound), spread, 1.0)


def timed(kind: type[Solver], task: Task, gap: float, limit: float) -> dict[str, Any]:
    """Seconds and what was reached, of the fastest run; a solver keeps what it knows of a problem to itself."""
    best: dict[str, Any] = {}
    for _ in range(REPEATS):
        began = time.perf_counter()
        solution = kind().solve(task, Stop(tolerance=gap, seconds=limit), machine=Machine(threads=1))
        seconds = time.perf_counter() - began
        if not best or seconds < best["seconds"]:
            best = {
                "seconds": seconds, "gap": solution.gap, "status": solution.status, "iterations": solution.iterations,
                "objective": solution.objective / task.system.targets,
            }  # fmt: skip
        if seconds > LONG:
            break
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path, nargs="*")
    parser.add_argument("--bound", type=float, default=10.0)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each solver")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    demo = load_demo()
    for loss in LOSSES.values():
        for kind in SOLVERS.values():
            kind().solve(task_of(demo, loss, asked.bound), Stop(tolerance=1e-2))  # compile
    results = []
    for name, problem in [("us_national_small", demo), *((p.name, CalibrationProblem.load(p)) for p in asked.problems)]:
        for loss_name, loss in LOSSES.items():
            task = task_of(problem, loss, asked.bound)
            for gap in GAPS:
                for solver, kind in SOLVERS.items():
                    found = timed(kind, task, gap, asked.limit)
                    results.append({"problem": name, "loss": loss_name, "solver": solver, "tolerance": gap, **found})
                    print(json.dumps(results[-1]), flush=True)
    if asked.out:
        report = {"bound": asked.bound, "spread": SPREAD, "results": results, **provenance()}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

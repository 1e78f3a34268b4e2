"""Iterations of the primal-dual method on a GPU beside two cores: the same task and algorithm, one after the other.

The problem of the size of the largest published case is that of ``python benchmarks/generate_nested.py 37e6 --out
37e6``. Metric: an iteration takes the difference of two fits of different lengths, without a certificate, over the
iterations between them; the median of a few. Goal: at least 10 times as many in the same time. ``--backend torch``
rehearses it without a GPU.

    python benchmarks/gpu_iteration.py PROBLEM_DIR [--backend torch-cuda] [--threads 2] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from l0_calibrate import CalibrationProblem
from l0_calibrate.losses import RowPrice
from l0_calibrate.solvers import Machine, Stop, Task
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_core import get_backend
from provenance import hand_out, provenance


def seconds_of_an_iteration(task: Task, machine: Machine, lengths: tuple[int, int], repeats: int) -> float:
    """The median over repetitions, after a short fit that compiles and warms up."""

    def seconds(iterations: int) -> float:
        stop = Stop(tolerance=0.0, iterations=iterations, certify=False)
        began = time.perf_counter()
        solution = PrimalDualSolver().solve(task, stop, machine=machine)
        taken = time.perf_counter() - began
        if solution.iterations != iterations:
            raise SystemExit(f"a fit of {iterations} iterations ended after {solution.iterations}")
        return taken

    short, long = lengths
    seconds(short)
    return statistics.median((seconds(long) - seconds(short)) / (long - short) for _ in range(repeats))


def device_name(backend: str) -> str:
    if backend != "torch-cuda":
        return "none: a rehearsal on the processor"
    import torch

    name: str = torch.cuda.get_device_name()
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--backend", default="torch-cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, nargs=2, default=[100, 400], metavar=("SHORT", "LONG"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bound", type=float, default=5.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    get_backend(arguments.backend)  # without a GPU this is where it ends
    problem = CalibrationProblem.load(arguments.problem)
    system, n = problem.system, problem.n_records
    price = RowPrice.absolute_of(problem)
    task = Task(system, price, None, np.zeros(n), np.full(n, arguments.bound), np.zeros(n), 1.0)
    lengths = (arguments.iterations[0], arguments.iterations[1])
    cores = seconds_of_an_iteration(task, Machine(threads=arguments.threads), lengths, arguments.repeats)
    device = seconds_of_an_iteration(task, Machine(backend=arguments.backend), lengths, arguments.repeats)
    report: dict[str, Any] = {
        "problem": arguments.problem.name, "shape": [problem.n_targets, n], "non_zeros": int(problem.matrix.nnz),
        "backend": arguments.backend, "device": device_name(arguments.backend), "threads": arguments.threads,
        "seconds_on_cores": cores, "seconds_on_device": device, "times_faster": cores / device,
        **provenance("torch", "l0-torch"),
    }  # fmt: skip
    hand_out(report, arguments.out)


if __name__ == "__main__":
    main()

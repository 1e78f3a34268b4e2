"""Totals that contradict each other, found from the matrix alone: how many there are, and what looking costs.

    python benchmarks/contradicting_totals.py [PROBLEM_DIR ...] [--out FILE.json]

The bundled small problem comes first, a generated one (`generate_nested.py`, 3 M non-zeros) last. Metrics: wall seconds
of `consistency` (the least of three runs, compiled), its peak memory over that of the matrix (as tracemalloc counts
both), the numbers of sums and of contradictions by kind, and the bound that they put on the loss.
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

from generate_nested import nested_problem
from l0_calibrate import CalibrationProblem
from l0_calibrate.demo import load_demo
from l0_calibrate.problem import consistency
from l0_calibrate.problem.contradictions import SLIGHT
from provenance import provenance

REPEATS = 3
GENERATED = 3e6


def measured(problem: CalibrationProblem) -> dict[str, Any]:
    """What is found in a problem, and what it costs."""
    found = consistency(problem)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        consistency(problem)
        seconds.append(time.perf_counter() - began)
    tracemalloc.start()
    consistency(problem)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    matrix = problem.matrix
    large = [entry for entry in found.disagreements if entry.least_error > SLIGHT]
    return {
        "targets": problem.n_targets, "records": problem.n_records, "nonzeros": int(matrix.nnz),
        "seconds": min(seconds),
        "memory_over_matrix": peak / (matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes),
        "relations": found.sums,
        "contradictions": dict(Counter("few" if entry.by_chance else entry.kind for entry in large)),
        "slight": len(found.disagreements) - len(large),
        "loss_at_least": found.loss_at_least,
        "unfinished": len(found.unfinished),
    }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    problems = {"us_national_small": load_demo()}
    problems |= {folder.name: CalibrationProblem.load(folder) for folder in arguments.problems}
    nested = nested_problem(GENERATED)
    problems["generated"] = CalibrationProblem(nested.matrix, nested.targets, initial_weights=nested.initial_weights)
    runs = {name: measured(problem) for name, problem in problems.items()}
    text = json.dumps({**provenance(), "runs": runs}, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How time and memory grow with a problem: generated nested problems of increasing size, one process for each run.

Each solver runs to a certified 1 % with ratios up to 10; peak memory is that of its process beyond an interpreter
with everything imported, beside the bytes of the matrix (8 a non-zero). The exponents are slopes of
log-time and log-memory against log-non-zeros, by least squares. Goal: at most 1.1.

    python benchmarks/growth.py [--sizes 1e6 3e6 10e6 37e6] [--threads 1] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from generate_nested import nested_problem
from l0_calibrate import CalibrationProblem, calibrate
from provenance import provenance

RUNS: dict[str, dict[str, Any]] = {
    "primal_dual": {"solver": "primal_dual"},
    "interior_point": {"solver": "interior_point"},
    "prune and refit": {"share": 0.17, "max_weight_ratio": 5},
}


def memory(field: str) -> int:
    """Bytes by the kernel's account of this process (Linux): ``VmRSS`` now, ``VmHWM`` the most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def forget_peak() -> None:
    # Compiling the kernels takes more memory than a small problem; it must not hide what the problem takes.
    Path("/proc/self/clear_refs").write_text("5")


def memory_when_ready(options: dict[str, Any], nonzeros: float) -> int:
    """Bytes once a small problem has been loaded and fitted: all is imported, readers of files too, and compiled.

    The peak is counted from here.
    """
    with tempfile.TemporaryDirectory() as place:
        nested_problem(nonzeros).save(Path(place))
        calibrate(CalibrationProblem.load(place), **options)
    gc.collect()
    forget_peak()
    return memory("VmRSS")


def one_run(folder: Path, name: str, threads: int) -> dict[str, Any]:
    options = {"max_weight_ratio": 10, "tol": 0.01, "threads": threads, **RUNS[name]}
    interpreter = memory_when_ready(options, 1e5)
    problem = CalibrationProblem.load(folder)
    begin = time.perf_counter()
    result = calibrate(problem, **options)
    return {
        "run": name, "targets": problem.n_targets, "records": problem.n_records, "nonzeros": problem.matrix.nnz,
        "seconds": time.perf_counter() - begin, "peak_beyond_interpreter": memory("VmHWM") - interpreter,
        "matrix_bytes": 8 * problem.matrix.nnz, "status": result.status, "loss": result.loss, "gap": result.gap,
        "ess": result.ess,
    }  # fmt: skip


def in_its_own_process(folder: Path, name: str, threads: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"run": name, "failed": done.stderr.strip().splitlines()[-1]}
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def exponents(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    out = {}
    for name in RUNS:
        done = [r for r in results if r["run"] == name and "seconds" in r]
        if len(done) >= 2:
            size = np.log([r["nonzeros"] for r in done])
            out[name] = {
                "time": float(np.polyfit(size, np.log([r["seconds"] for r in done]), 1)[0]),
                "memory": float(np.polyfit(size, np.log([r["peak_beyond_interpreter"] for r in done]), 1)[0]),
            }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e6, 3e6, 10e6, 37e6])
    parser.add_argument("--runs", nargs="+", choices=sorted(RUNS), default=list(RUNS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(arguments.folder, arguments.one, arguments.threads)))
        return
    results = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as place:
            nested_problem(size).save(Path(place))
            for name in arguments.runs:
                results.append(in_its_own_process(Path(place), name, arguments.threads))
                print(json.dumps(results[-1]), flush=True)
    report = {
        "exponents": exponents(results), "results": results, "threads": arguments.threads,
        **provenance(),
    }  # fmt: skip
    print(json.dumps(report["exponents"], indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

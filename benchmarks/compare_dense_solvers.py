"""Time to a dense fit at its optimum: ours, HiGHS interior point, OR-tools PDLP and Clarabel, one run.

The peers solve the same linear programme on the same scaled matrix, in a Python of their own:

    python -m venv PEERS && PEERS/bin/pip install highspy ortools clarabel numpy scipy
    python benchmarks/compare_dense_solvers.py PROBLEM_DIR --peer-python PEERS/bin/python [--bound 10] [--out FILE.json]

Metric: wall seconds of the solve on one thread (ours on two as well), without reading and compiling. Ours stop at a
certified gap of 1 % and of 0.1 %, PDLP at its relative gap of 1 %, HiGHS and Clarabel at their tolerance of 1e-3. A
peer that fails or is not done within its limit is reported as it is, and the ratio to it as a lower bound.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from l0_calibrate import CalibrationProblem
from l0_calibrate.losses import RowPrice
from l0_calibrate.solvers import Machine, Stop, Task
from l0_calibrate.solvers.base import Solver
from l0_calibrate.solvers.interior_point import InteriorPointSolver
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from provenance import of_peer, provenance

COMMON = """
import json, sys, time, importlib.metadata
import numpy as np, scipy.sparse as sp
data = np.load(sys.argv[1])
m, n = (int(x) for x in data["shape"])
a = sp.csc_array((data["values"].astype(float), data["indices"], data["indptr"]), shape=(m, n))
b, bound = data["b"], float(data["bound"])
# min sum(p + q), A u - p + q = b, 0 <= u <= bound, p, q >= 0
full = sp.hstack((a, -sp.eye_array(m), sp.eye_array(m))).tocsc()
cost = np.concatenate((np.zeros(n), np.ones(2 * m)))
upper = np.concatenate((np.full(n, bound), np.full(2 * m, np.inf)))
def report(name, began, u, status):
    seconds = time.perf_counter() - began
    u = np.clip(u[:n], 0, bound)
    loss = float(np.abs(a @ u - b).mean())
    version = importlib.metadata.version(name)
    print(json.dumps({"seconds": seconds, "loss": loss, "status": str(status), "version": version}))
"""

HIGHS = (
    COMMON
    + """
import highspy
h = highspy.Highs()
h.setOptionValue("output_flag", False)
for name, value in (("solver", "ipm"), ("run_crossover", "off"), ("ipm_optimality_tolerance", 1e-3), ("threads", 1)):
    h.setOptionValue(name, value)
lp = highspy.HighsLp()
lp.num_col_, lp.num_row_ = n + 2 * m, m
lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.zeros(n + 2 * m), np.minimum(upper, highspy.kHighsInf)
lp.row_lower_ = lp.row_upper_ = b
lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = full.indptr, full.indices, full.data
h.passModel(lp)
began = time.perf_counter()
h.run()
report("highspy", began, np.array(h.getSolution().col_value), h.modelStatusToString(h.getModelStatus()))
"""
)

PDLP = (
    COMMON
    + """
from ortools.pdlp import solve_log_pb2, solvers_pb2
from ortools.pdlp.python import pdlp
qp = pdlp.QuadraticProgram()
qp.resize_and_initialize(n + 2 * m, m)
qp.objective_vector, qp.constraint_matrix = cost, full
qp.constraint_lower_bounds = qp.constraint_upper_bounds = b
qp.variable_lower_bounds, qp.variable_upper_bounds = np.zeros(n + 2 * m), upper
params = solvers_pb2.PrimalDualHybridGradientParams()
criteria = params.termination_criteria.detailed_optimality_criteria
criteria.eps_optimal_objective_gap_relative = 1e-2
criteria.eps_optimal_objective_gap_absolute = 0.0
criteria.eps_optimal_primal_residual_relative = criteria.eps_optimal_dual_residual_relative = 1e-4
criteria.eps_optimal_primal_residual_absolute = criteria.eps_optimal_dual_residual_absolute = 1e-4
params.num_threads = 1
began = time.perf_counter()
result = pdlp.primal_dual_hybrid_gradient(qp, params)
status = solve_log_pb2.TerminationReason.Name(result.solve_log.termination_reason)
report("ortools", began, np.array(result.primal_solution), status)
"""
)

CLARABEL = (
    COMMON
    + """
import clarabel
box = np.isfinite(upper)
wide = n + 2 * m
eye = sp.eye_array(wide).tocsc()
rows = sp.vstack((full, -eye, eye.tocsr()[np.flatnonzero(box)])).tocsc()
right = np.concatenate((b, np.zeros(wide), upper[box]))
cones = [clarabel.ZeroConeT(m), clarabel.NonnegativeConeT(wide + int(box.sum()))]
settings = clarabel.DefaultSettings()
settings.verbose, settings.max_threads = False, 1
settings.tol_gap_rel, settings.tol_gap_abs, settings.tol_feas = 1e-3, 1e-3, 1e-6
began = time.perf_counter()
solver = clarabel.DefaultSolver(sp.csc_matrix((wide, wide)), cost, sp.csc_matrix(rows), right, cones, settings)
found = solver.solve()
report("clarabel", began, np.array(found.x), found.status)
"""
)

PEERS = {"highs_ipm": HIGHS, "ortools_pdlp": PDLP, "clarabel": CLARABEL}
OURS: tuple[tuple[str, type[Solver], float], ...] = (
    ("l0_primal_dual", PrimalDualSolver, 1e-2),
    ("l0_interior_point", InteriorPointSolver, 1e-2),
    ("l0_interior_point", InteriorPointSolver, 1e-3),
)
PER_MILLE = {"highs_ipm", "clarabel"}
"""Peers that stop at 1e-3: their time to 1 % is not known, and is at most this."""


def peer(python: Path, code: str, file: Path, limit: float) -> dict[str, Any]:
    """What a peer reports, or how it failed."""
    try:
        done = subprocess.run(
            [str(python), "-c", code, str(file)],
            env=of_peer(),
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {limit:.0f} s", "at_least": limit}
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def ours(solver: Solver, task: Task, tolerance: float, threads: int) -> dict[str, Any]:
    task = attrs.evolve(task, system=attrs.evolve(task.system))  # what is made once for a problem is made anew
    began = time.perf_counter()
    solution = solver.solve(task, Stop(tolerance=tolerance), machine=Machine(threads=threads))
    seconds = time.perf_counter() - began
    loss = float(np.abs(solution.residuals).mean())
    return {
        "seconds": seconds, "loss": loss, "gap": solution.gap, "status": solution.status, "threads": threads,
        "tolerance": tolerance,
    }  # fmt: skip


def ratios(runs: dict[str, Any]) -> dict[str, float]:
    """How many times our best time each peer takes, to the like tolerance; at least that where it was cut off."""
    out = {}
    for name in PEERS:
        found = runs.get(name, {})
        taken = found.get("seconds", found.get("at_least"))
        if taken is None:
            continue
        for goal in (1e-2, 1e-3) if name in PER_MILLE else (1e-2,):
            for threads in (1, 2):
                alike = [
                    r["seconds"] for r in runs.values() if (r.get("threads"), r.get("tolerance")) == (threads, goal)
                ]
                cut = "" if "seconds" in found else ", at least"
                out[f"{name} to ours at {goal:g} on {threads}{cut}"] = taken / min(alike)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--bound", type=float, default=float("inf"))
    parser.add_argument("--peers", nargs="*", choices=sorted(PEERS), default=list(PEERS))
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for each peer")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    system = CalibrationProblem.load(asked.problem).system
    m, n = system.targets, system.records
    task = Task(system, RowPrice.absolute(np.ones(m)), None, np.zeros(n), np.full(n, asked.bound), np.zeros(n), 1.0)
    few = np.arange(min(200, n))
    part = Task(system, task.price, few, task.lower[few], task.upper[few], task.spread[few], 1.0)
    runs: dict[str, Any] = {}
    for name, kind, tolerance in OURS:
        kind().solve(part, Stop(iterations=3))  # compile
        for threads in (1, 2):
            runs[f"{name}_{tolerance:g}_{threads}"] = ours(kind(), task, tolerance, threads)
    c = system.columns
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "problem.npz"
        np.savez(
            file, shape=[m, n], values=c.values, indices=c.indices.astype(np.int32), indptr=c.indptr.astype(np.int32),
            b=system.b, bound=asked.bound,
        )  # fmt: skip
        for name in asked.peers:
            runs[name] = peer(asked.peer_python, PEERS[name], file, asked.limit)
    for name, found in runs.items():
        print(f"{name:26} {found}")
    compared = ratios(runs)
    for name, found in runs.items():
        like = f"{name} to ours at {1e-3 if name in PER_MILLE else 1e-2:g} on 1"
        if like in compared:
            found["times_ours"] = compared[like]
    print(json.dumps(compared, indent=2))
    report = {
        "problem": asked.problem.name,
        "shape": [m, n],
        "nonzeros": c.nnz,
        "bound": None if np.isinf(asked.bound) else asked.bound,
        "runs": runs,
        "ratios": compared,
        **provenance(),
    }
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""An exact budget beside l0-python's way to one: a search over lambda for the count, then a refit with its own weights.

l0-python 0.6.2 gives no count, only a penalty lambda. As its users do, lambda is searched by bisection on the
log scale until the count is within `NEAR` of K, at most `--lambdas` fits of `--epochs` epochs; then its weights are
refitted without gates on the records that were kept. Ours asks for K records with the default options. Both run on one
thread, one after the other in the same run; the peer in a Python of its own (`--peer-python`). Goal: loss at most 2/3
of its loss, effective sample size at least 4 times, at least 80 times faster.

    python benchmarks/compare_exact_budgets.py PROBLEM_DIR --peer-python PEER/bin/python [--keep 4000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from l0_calibrate import CalibrationProblem, calibrate
from provenance import of_peer, provenance

NEAR = 0.05

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import importlib.metadata
import numpy as np, scipy.sparse as sp, torch
from l0.calibration import SparseCalibrationWeights
torch.set_num_threads(1)
job = json.loads(sys.argv[1])
data = np.load(job["vectors"])
matrix = sp.csr_matrix((data["data"], data["indices"], data["indptr"]), shape=tuple(data["shape"]))
targets, initial = data["targets"], data["weights"]

def score(weights):
    errors = np.abs(matrix @ weights - targets) / np.maximum(np.abs(targets), 1)
    return {"loss": float(errors.mean()), "ess": float(weights.sum() ** 2 / (weights @ weights)),
            "kept": int((weights > 0).sum())}

def fitted(columns, start, gates, lambda_l0):
    model = SparseCalibrationWeights(columns.shape[1], init_weights=start, use_gates=gates, seed=0)
    model.fit(columns, targets, lambda_l0=lambda_l0, lr=job["lr"], epochs=job["epochs"], loss_type="relative")
    with torch.no_grad():
        return model.get_weights(deterministic=True).numpy().astype(float)

begin = time.perf_counter()
low, high, runs, best = job["low"], job["high"], [], None
while len(runs) < job["lambdas"]:
    middle = float(np.sqrt(low * high))
    weights = fitted(matrix, initial, True, middle)
    runs.append({"lambda": middle, "seconds": time.perf_counter() - begin, **score(weights)})
    print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    kept = runs[-1]["kept"]
    if best is None or abs(kept - job["keep"]) < abs(int((best > 0).sum()) - job["keep"]):
        best = weights
    if abs(kept - job["keep"]) <= job["near"] * job["keep"]:
        break
    low, high = (middle, high) if kept > job["keep"] else (low, middle)
kept = np.flatnonzero(best > 0)
gated = score(best)
refit = np.zeros_like(best)
refit[kept] = fitted(matrix[:, kept].tocsr(), best[kept], False, 0.0)
print(json.dumps({"version": importlib.metadata.version("l0-python"), "torch": torch.__version__, "runs": runs,
                  "gated": gated, "refit": score(refit), "seconds": time.perf_counter() - begin}))
"""


def ours(problem: CalibrationProblem, keep: int, repeats: int) -> dict[str, Any]:
    """The median of the repetitions, after one for the compiler."""
    options: dict[str, Any] = {"keep": keep, "max_weight_ratio": 5}
    calibrate(problem, **options)
    seconds = []
    for _ in range(repeats):
        fresh = CalibrationProblem(problem.matrix, problem.targets, initial_weights=problem.initial_weights)
        begin = time.perf_counter()
        result = calibrate(fresh, **options)
        seconds.append(time.perf_counter() - begin)
    return {
        "loss": result.loss, "ess": result.ess, "max_ratio": result.max_ratio, "kept": result.kept,
        "seconds": float(np.median(seconds)),
    }  # fmt: skip


def theirs(python: str, problem: CalibrationProblem, job: dict[str, Any]) -> dict[str, Any]:
    """The peer in a process of its own; its loss is computed as ours is."""
    with tempfile.TemporaryDirectory() as place:
        vectors = Path(place) / "vectors.npz"
        matrix = problem.matrix
        np.savez(
            vectors, data=matrix.data, indices=matrix.indices, indptr=matrix.indptr, shape=np.array(matrix.shape),
            targets=problem.targets, weights=problem.initial_weights,
        )  # fmt: skip
        command = [python, "-c", PEER, json.dumps(job | {"vectors": str(vectors)})]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=of_peer())
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--peer-python", required=True, help="of an environment with l0-python 0.6.2")
    parser.add_argument("--keep", type=int, default=4_000)
    parser.add_argument("--lambdas", type=int, default=7, help="most fits of the search")
    parser.add_argument("--epochs", type=int, default=700, help="of each fit of the peer")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--between", type=float, nargs=2, default=(1e-4, 1e-1), help="ends of the search over lambda")
    parser.add_argument("--repeats", type=int, default=3, help="of ours")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "exact_budget_l0_python.json")
    arguments = parser.parse_args()
    problem = CalibrationProblem.load(arguments.problem)
    job = {
        "keep": arguments.keep, "near": NEAR, "lambdas": arguments.lambdas, "epochs": arguments.epochs,
        "lr": arguments.lr, "low": arguments.between[0], "high": arguments.between[1],
    }  # fmt: skip
    mine = ours(problem, arguments.keep, arguments.repeats)
    peer = theirs(arguments.peer_python, problem, job)
    report = {
        "problem": arguments.problem.name, "search": job, "ours": mine, "l0_python": peer,
        "ratios": {
            "loss": mine["loss"] / peer["refit"]["loss"], "ess": mine["ess"] / peer["refit"]["ess"],
            "times_faster": peer["seconds"] / mine["seconds"],
        },
        "threads": 1, **provenance(),
    }  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

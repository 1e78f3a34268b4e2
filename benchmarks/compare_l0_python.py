"""The drop-in beside what it replaces: l0-python 0.6.2 and microcalibrate 0.19.1, side by side in one run.

The peers run in Pythons of their own (l0-python's import name is that of our umbrella; l0-python and microcalibrate
may share one). Every measurement is a fresh process with one thread; ours and the peer's alternate, the median of the
repetitions counts. Metrics and thresholds:

- ``SparseCalibrationWeights.fit``, seconds an epoch with unchanged arguments: at least 10 times faster, and without
  gates log-weights within 1e-4 of the peer's after all epochs (both in float32). With gates the noise is each package's
  own: over several seeds, counts and losses must agree within their spread, and so must every record's log-weight and
  ``log_alpha``: differences of means over their standard errors follow Student's law (its standard deviation and its
  share beyond 3 stand beside what was found).
- ``Calibration.calibrate()`` dense, from a frame of dense columns (as there) and of sparse ones: seconds (at least
  5 times faster); peak resident memory above that of the imports (at most a quarter with sparse columns), and above
  that of the caller's own frame (at most a quarter); and the loss reached, so that speed is not bought with quality.

    python benchmarks/compare_l0_python.py PROBLEM_DIR --peer-python PEER/bin/python \\
        --microcalibrate-python MC/bin/python
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import scipy.stats

from provenance import of_peer, provenance

PROBLEM = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, scipy.sparse as sp, torch
from l0.calibration import SparseCalibrationWeights
torch.set_num_threads(1)
job = json.loads(sys.argv[1])
data = np.load(job["vectors"])
matrix = sp.csr_matrix((data["data"], data["indices"], data["indptr"]), shape=tuple(data["shape"]))
"""

WEIGHTS_WORKER = (
    PROBLEM
    + """def model():
    return SparseCalibrationWeights(matrix.shape[1], init_weights=data["weights"], seed=1, use_gates=job["gates"])
fit = dict(lambda_l0=1e-3, lr=0.05, loss_type="relative", target_groups=data["groups"])
model().fit(matrix, data["targets"], epochs=2, **fit)
fitted = model()
begin = time.perf_counter()
fitted.fit(matrix, data["targets"], epochs=job["epochs"], **fit)
seconds = (time.perf_counter() - begin) / job["epochs"]
np.save(job["out"], fitted.log_weight.detach().numpy())
weights = fitted.get_weights(deterministic=True).detach().numpy().astype(float)
errors = np.abs(matrix @ weights - data["targets"]) / (data["targets"] + 1)
print(json.dumps({"seconds": seconds, "loss": float(errors.mean()), "kept": int((weights > 0).sum())}))
"""
)

CALIBRATION_WORKER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd, torch
job = json.loads(sys.argv[1])
if job["package"] == "microcalibrate":
    from microcalibrate import Calibration
else:
    from l0_calibrate.microcalibrate import Calibration
    import l0_calibrate.microcalibrate.training, l0_calibrate.torch_faces
torch.set_num_threads(1)
data = np.load(job["vectors"])
def memory(what):
    lines = open("/proc/self/status").read().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(what))
before = memory("VmRSS")
if job["frame"] == "sparse":
    import scipy.sparse as sp
    rows = sp.csr_matrix((data["data"], data["indices"], data["indptr"]), shape=tuple(data["shape"]))
    frame = pd.DataFrame.sparse.from_spmatrix(rows.T.tocsc())
else:
    frame = pd.DataFrame(np.load(job["dense"]))
with_frame = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak is counted from here
begin = time.perf_counter()
calibration = Calibration(
    data["weights"], data["targets"], estimate_matrix=frame, epochs=job["epochs"], learning_rate=0.05, noise_level=0.0
)
calibration.calibrate()
seconds = time.perf_counter() - begin
after = memory("VmHWM")
np.save(job["out"], np.asarray(calibration.weights, dtype=float))
print(json.dumps({"seconds": seconds, "peak_mb": after - before, "beyond_the_frame_mb": after - with_frame}))
"""


SEEDS_WORKER = (
    PROBLEM
    + """log_weight, log_alpha, kept, losses = [], [], [], []
for seed in range(job["seeds"]):
    torch.manual_seed(seed)  # the peer draws its noise from here
    model = SparseCalibrationWeights(matrix.shape[1], init_weights=data["weights"], seed=seed)
    model.fit(
        matrix, data["targets"], lambda_l0=1e-3, lr=0.05, epochs=job["epochs"], loss_type="relative",
        target_groups=data["groups"],
    )
    weights = model.get_weights(deterministic=True).detach().numpy().astype(float)
    losses.append(float((np.abs(matrix @ weights - data["targets"]) / (data["targets"] + 1)).mean()))
    kept.append(int((weights > 0).sum()))
    log_weight.append(model.log_weight.detach().numpy().copy())
    log_alpha.append(model.log_alpha.detach().numpy().copy())
np.savez(job["out"], log_weight=np.array(log_weight), log_alpha=np.array(log_alpha))
print(json.dumps({"kept": kept, "loss": losses}))
"""
)


def prepare(folder: Path, place: Path) -> tuple[Path, Path, sp.csr_matrix, np.ndarray]:
    """The problem in files that any Python with NumPy reads; targets that are not negative, where scales agree."""
    matrix = sp.csr_matrix(sp.load_npz(folder / "matrix.npz")).astype(np.float32)
    frame = pd.read_csv(folder / "targets.csv")
    positive = frame["value"].to_numpy() >= 0
    matrix, targets = sp.csr_matrix(matrix[positive]), frame["value"].to_numpy()[positive]
    vectors, dense = place / "vectors.npz", place / "dense.npy"
    np.savez(
        vectors,
        data=matrix.data,
        indices=matrix.indices,
        indptr=matrix.indptr,
        shape=matrix.shape,
        targets=targets,
        weights=pd.read_parquet(folder / "records.parquet")["initial_weight"].to_numpy(),
        groups=pd.factorize(frame["variable"][positive])[0],
    )
    np.save(dense, np.ascontiguousarray(matrix.T.toarray()))
    return vectors, dense, matrix, targets


def run(python: str, worker: str, job: dict[str, Any]) -> dict[str, Any]:
    # Of ours too: a path must not decide whose `l0` it is.
    done = subprocess.run(
        [python, "-c", worker, json.dumps(job)], env=of_peer(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def medians(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: statistics.median([each[key] for each in results]) for key in results[0]}


def compare_weights(python: str, vectors: Path, place: Path, epochs: int, repeats: int) -> dict[str, Any]:
    report = {}
    for gates in (False, True):
        found: dict[str, list[dict[str, Any]]] = {"ours": [], "l0_python": []}
        for _ in range(repeats):
            for name, interpreter in (("ours", sys.executable), ("l0_python", python)):
                job = {"vectors": str(vectors), "gates": gates, "epochs": epochs, "out": str(place / f"{name}.npy")}
                found[name].append(run(interpreter, WEIGHTS_WORKER, job))
        ours, theirs = medians(found["ours"]), medians(found["l0_python"])
        entry = {"ours": ours, "l0_python": theirs, "times_faster": theirs["seconds"] / ours["seconds"]}
        if not gates:
            gap = np.abs(np.load(place / "ours.npy") - np.load(place / "l0_python.npy"))
            entry["largest_difference_of_log_weights"] = float(gap.max())
        report["with_gates" if gates else "without_gates"] = entry
    return report


def gap_and_error(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences of means and their standard errors; of shape (seeds, ...), the same number of seeds each."""
    error = np.sqrt((ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / len(ours))
    return ours.mean(axis=0) - theirs.mean(axis=0), error


def compare_distributions(python: str, vectors: Path, place: Path, epochs: int, seeds: int) -> dict[str, Any]:
    """Whether the noise of the gates moves parameters alike: seeds 0, 1, ... of both."""
    found, states = {}, {}
    for name, interpreter in (("ours", sys.executable), ("l0_python", python)):
        out = place / f"seeds_{name}.npz"
        job = {"vectors": str(vectors), "epochs": epochs, "seeds": seeds, "out": str(out)}
        found[name] = run(interpreter, SEEDS_WORKER, job)
        states[name] = np.load(out)
    report: dict[str, Any] = {"seeds": seeds}
    for what in ("kept", "loss"):
        ours, theirs = (np.array(found[name][what], dtype=float) for name in ("ours", "l0_python"))
        gap, error = gap_and_error(ours, theirs)
        report[what] = {
            "ours": {"mean": ours.mean(), "sd": ours.std(ddof=1)},
            "l0_python": {"mean": theirs.mean(), "sd": theirs.std(ddof=1)},
            "standardised_difference": float(gap / error) if error else None,
        }
    law = scipy.stats.t(2 * seeds - 2)
    report["expected_of_records"] = {"sd": float(law.std()), "beyond_3": float(2 * law.sf(3.0))}
    for what in ("log_weight", "log_alpha"):
        gap, error = gap_and_error(states["ours"][what], states["l0_python"][what])
        moved = error > 1e-4  # what noise does not move beyond float32 rounding, such as a weight without a target
        scores = gap[moved] / error[moved]
        beyond = float((np.abs(scores) > 3.0).mean())
        report[what] = {"records": scores.size, "sd": float(scores.std()), "beyond_3": beyond}
    return report


def compare_calibration(
    python: str,
    files: tuple[Path, Path],
    problem: tuple[sp.csr_matrix, np.ndarray],
    place: Path,
    epochs: int,
    repeats: int,
) -> dict[str, Any]:
    matrix, targets = problem
    cases = {
        "microcalibrate": (python, "microcalibrate", "dense"),
        "ours": (sys.executable, "ours", "dense"),
        "ours_sparse_frame": (sys.executable, "ours", "sparse"),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, (interpreter, package, frame) in cases.items():
            job = {"vectors": str(files[0]), "dense": str(files[1]), "package": package, "frame": frame}
            job |= {"epochs": epochs, "out": str(place / f"{name}.npy")}
            entry = run(interpreter, CALIBRATION_WORKER, job)
            errors = np.abs(matrix @ np.load(place / f"{name}.npy") - targets) / (targets + 1)
            found[name].append(entry | {"loss": float(errors.mean())})
    report: dict[str, Any] = {name: medians(entries) for name, entries in found.items()}
    peer = report["microcalibrate"]
    for name in ("ours", "ours_sparse_frame"):
        report[name]["times_faster"] = peer["seconds"] / report[name]["seconds"]
        report[name]["share_of_memory"] = report[name]["peak_mb"] / peer["peak_mb"]
        beyond = max(peer["beyond_the_frame_mb"], 1.0)
        report[name]["share_of_memory_beyond_the_frame"] = report[name]["beyond_the_frame_mb"] / beyond
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--peer-python", required=True, help="of an environment with l0-python 0.6.2")
    parser.add_argument("--microcalibrate-python", required=True, help="of an environment with microcalibrate 0.19.1")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "l0_python.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        vectors, dense, matrix, targets = prepare(arguments.problem, place)
        report = {
            "problem": arguments.problem.name,
            "shape": list(matrix.shape),
            "nonzeros": int(matrix.nnz),
            "epochs": arguments.epochs,
            "repeats": arguments.repeats,
            **provenance("l0-python"),
            "threads": 1,
            "sparse_calibration_weights": compare_weights(
                arguments.peer_python, vectors, place, arguments.epochs, arguments.repeats
            ),
            "distribution_with_gates": compare_distributions(
                arguments.peer_python, vectors, place, arguments.epochs, arguments.seeds
            ),
            "calibration_dense": compare_calibration(
                arguments.microcalibrate_python,
                (vectors, dense),
                (matrix, targets),
                place,
                arguments.epochs,
                arguments.repeats,
            ),
        }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

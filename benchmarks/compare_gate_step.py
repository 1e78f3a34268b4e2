"""One step of Hard Concrete training, beside an epoch of l0-python's SparseCalibrationWeights on the same matrix.

The peer runs in a Python of its own (its import name is that of our umbrella), one after the other in this run,
with one thread each, or on the same GPU (``--device cuda``). Metric: median of three repetitions of the mean time of a
step. Threshold: at least 12 x faster on the processor.

    python benchmarks/compare_gate_step.py PROBLEM_DIR --peer-python PEER/bin/python [--device cuda]
        [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from l0_core import get_backend
from l0_gates.hard_concrete import GateProblem, TrainingSettings, train_gates
from provenance import of_peer, provenance

PEER = """
import json, sys, time
import numpy as np, scipy.sparse as sp, torch
torch.set_num_threads(1)
from l0.calibration import SparseCalibrationWeights
folder, steps = sys.argv[1], int(sys.argv[2])
device = sys.argv[4]
matrix, vectors = sp.load_npz(folder + "/matrix.npz").tocsr(), np.load(sys.argv[3])
targets = vectors["targets"]
model = SparseCalibrationWeights(matrix.shape[1], init_weights=vectors["weights"], device=device)
keep = dict(lambda_l0=1e-6, loss_type="relative", verbose=False)
model.fit(matrix, targets, epochs=2, **keep)
times = []
for _ in range(3):
    begin = time.perf_counter()
    model.fit(matrix, targets, epochs=steps, **keep)
    times.append((time.perf_counter() - begin) / steps)
import importlib.metadata
print(json.dumps({"seconds": sorted(times)[1], "version": importlib.metadata.version("l0-python")}))
"""


def vectors(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    targets = pd.read_csv(folder / "targets.csv")["value"].to_numpy()
    return targets, pd.read_parquet(folder / "records.parquet")["initial_weight"].to_numpy()


def peer_run(python: Path, folder: Path, steps: int, device: str) -> subprocess.CompletedProcess[str]:
    targets, weights = vectors(folder)
    with tempfile.TemporaryDirectory() as place:
        # The peer's environment need not read the files of the problem.
        file = Path(place) / "vectors.npz"
        np.savez(file, targets=targets, weights=weights)
        command = [str(python), "-c", PEER, str(folder), str(steps), str(file), device]
        return subprocess.run(command, env=of_peer(), capture_output=True, text=True, check=False)


def problem(folder: Path) -> GateProblem:
    matrix = sp.csr_array(sp.load_npz(folder / "matrix.npz"))
    targets, weights = vectors(folder)
    scale = np.maximum(np.abs(targets), 1.0)
    scaled = sp.csr_array(sp.diags_array(1.0 / scale) @ matrix @ sp.diags_array(weights))
    return GateProblem(scaled, targets / scale, np.ones(matrix.shape[1]))


def synchronised(device: str) -> Callable[[], None]:
    """What waits until the device has done what it was told."""
    if device == "cpu":
        return lambda: None
    import torch

    return torch.cuda.synchronize


def ours(gates: str, setting: GateProblem, steps: int, device: str) -> float:
    keep, backend = setting.matrix.shape[1] // 10, get_backend("numpy" if device == "cpu" else "torch-cuda")
    wait = synchronised(device)

    def record(seen: list[float]) -> None:
        wait()
        seen.append(time.perf_counter())

    train_gates(setting, keep, backend=backend, settings=TrainingSettings(steps=2, gates=gates))
    times = []
    for _ in range(3):
        seen: list[float] = []
        train_gates(
            setting,
            keep,
            backend=backend,
            settings=TrainingSettings(steps=steps + 1, gates=gates),
            observer=lambda _, seen=seen: record(seen),
        )
        times.append((seen[-1] - seen[0]) / steps)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    setting = problem(arguments.problem)
    results: dict[str, object] = {
        "problem": arguments.problem.name,
        "shape": list(setting.matrix.shape),
        "non_zeros": int(setting.matrix.nnz),
        "device": arguments.device,
        **provenance(),
    }
    for gates in ("stochastic", "median"):
        results[f"{gates} gates, seconds"] = ours(gates, setting, arguments.steps, arguments.device)
    if arguments.peer_python:
        answer = peer_run(arguments.peer_python, arguments.problem, arguments.steps, arguments.device)
        if answer.returncode:
            results["l0-python failed"] = answer.stderr.strip().splitlines()[-1]
        else:
            peer = json.loads(answer.stdout.splitlines()[-1])
            results["l0-python, seconds"], results["l0-python version"] = peer["seconds"], peer["version"]
            results["times faster"] = peer["seconds"] / float(str(results["stochastic gates, seconds"]))
    print(json.dumps(results, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

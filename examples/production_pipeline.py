"""A production-shaped calibration: first as users of l0-python write it, unchanged, then in our own five lines.

    python examples/production_pipeline.py [PROBLEM_DIR] [--out DIR]

The folder holds ``matrix.npz``, ``targets.csv`` and ``records.parquet``; by default it is the bundled problem of 5,000
records and 167 national totals. The first part asks for a count of records by a price that somebody once found for
it, in slices of epochs with a log line, a checkpoint after each slice, and a run that is cut off and goes on. The
second part asks for the count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from l0.calibration import SparseCalibrationWeights

# About how many of 5,000 records each price leaves after 600 epochs at these settings.
PRESETS = {"about 150": 3e-3, "about 550": 3e-4, "about 1700": 3e-5}
EPOCHS, SLICE = 600, 100


def read(folder: Path) -> tuple[sp.csr_matrix, pd.DataFrame, pd.DataFrame]:
    matrix = sp.csr_matrix(sp.load_npz(folder / "matrix.npz"))
    return matrix, pd.read_csv(folder / "targets.csv"), pd.read_parquet(folder / "records.parquet")


# ------------------------------------------------------------------ as users of l0-python write it


def fit_with_l0_python(folder: Path, out: Path, preset: str, stop_after: int = EPOCHS) -> np.ndarray | None:
    """Weights, or None where the run was cut off after ``stop_after`` epochs; call again to go on."""
    matrix, targets, records = read(folder)
    y = targets["value"].to_numpy()
    groups, variables = pd.factorize(targets["variable"])
    # The counts of returns are published with the least error: they count for more.
    multipliers = {g: 2.0 if variable == "returns" else 1.0 for g, variable in enumerate(variables)}

    model = SparseCalibrationWeights(
        n_features=matrix.shape[1],
        beta=0.35,
        gamma=-0.1,
        zeta=1.1,
        init_keep_prob=0.999,
        init_weights=records["initial_weight"].to_numpy(),
        log_weight_jitter_sd=0.05,
        log_alpha_jitter_sd=0.01,
        seed=42,
    )
    checkpoint = out / f"{preset.replace(' ', '_')}.pt"
    done = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model_state"])
        done = saved["epochs_done"]
        print(f"  going on after {done} epochs")
    while done < min(EPOCHS, stop_after):
        model.fit(
            M=matrix,
            y=y,
            lambda_l0=PRESETS[preset],
            lambda_l2=1e-16,
            lr=0.15,
            epochs=SLICE,
            loss_type="relative",
            target_groups=groups,
            group_multipliers=multipliers,
        )
        done += SLICE
        estimates = model.predict(matrix).numpy()
        errors = np.abs(estimates - y) / np.maximum(np.abs(y), 1.0)
        by_variable = pd.Series(errors).groupby(targets["variable"]).mean().sort_values(ascending=False)
        active = model.get_active_weights()["count"]
        worst = ", ".join(f"{name} {value:.1%}" for name, value in by_variable.head(3).items())
        print(f"  epoch {done}: kept {active}, mean |relative error| {errors.mean():.2%}, worst variables: {worst}")
        torch.save({"model_state": model.state_dict(), "epochs_done": done}, checkpoint)
    if done < EPOCHS:
        return None
    weights = model.get_weights(deterministic=True).detach().numpy()
    frame = pd.DataFrame({"record_id": records["record_id"], "weight": weights})
    frame[frame["weight"] > 0].to_parquet(out / "weights_l0_python.parquet", index=False)
    return weights


# ------------------------------------------------------------------ in our own five lines


def fit_with_l0(folder: Path, out: Path, keep: int) -> np.ndarray:
    from l0_calibrate import CalibrationProblem, calibrate

    problem = CalibrationProblem.load(folder)
    result = calibrate(problem, keep=keep, max_weight_ratio=25, seed=42)
    result.save(out)  # weights.parquet with record ids, targets.parquet, result.json
    return np.asarray(result.weights)


def describe(label: str, weights: np.ndarray, folder: Path, seconds: float) -> dict[str, float]:
    matrix, targets, _ = read(folder)
    y = targets["value"].to_numpy()
    w = weights.astype(np.float64)
    loss = float((np.abs(matrix @ w - y) / np.maximum(np.abs(y), 1.0)).mean())
    facts = {"kept": int(np.count_nonzero(w)), "loss": loss, "ess": float(w.sum() ** 2 / (w @ w)), "seconds": seconds}
    print(f"{label}: kept {facts['kept']}, mean |relative error| {loss:.2%}, ESS {facts['ess']:.0f}, {seconds:.1f} s")
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bundled = Path(str(files("l0_calibrate.demo"))) / "us_national_small"
    parser.add_argument("problem", nargs="?", type=Path, default=bundled)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--preset", choices=list(PRESETS), default="about 550")
    arguments = parser.parse_args()
    out = arguments.out or Path(tempfile.mkdtemp(prefix="l0-production-"))
    out.mkdir(parents=True, exist_ok=True)

    print("as users of l0-python write it, cut off half-way")
    begin = time.perf_counter()
    assert fit_with_l0_python(arguments.problem, out, arguments.preset, stop_after=EPOCHS // 2) is None
    theirs = fit_with_l0_python(arguments.problem, out, arguments.preset)
    assert theirs is not None
    facts = {"l0_python": describe("gated weights", theirs, arguments.problem, time.perf_counter() - begin)}

    print("in our own five lines, at the same count")
    begin = time.perf_counter()
    ours = fit_with_l0(arguments.problem, out / "l0", int(np.count_nonzero(theirs)))
    facts["l0"] = describe("select, then refit", ours, arguments.problem, time.perf_counter() - begin)
    (out / "facts.json").write_text(json.dumps(facts, indent=2))
    print(f"written to {out}")


if __name__ == "__main__":
    main()

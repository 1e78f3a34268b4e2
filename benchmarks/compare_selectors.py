"""Records chosen by trained gates, by the engine and by chance: the same counts, the same bounds, the same refit.

Every selector keeps exactly K records of a problem, then the engine fits the weights on them (`calibrate`). Metrics:
the mean |relative error|, the objective (with the price on unequal weights), the effective sample size, the largest
weight ratio, seconds of the selection and of the refit. One thread; the median over seeds, and the range of the loss.

    python benchmarks/compare_selectors.py PROBLEM_DIR --keep 300 500 1000 [--ratio 5] [--seeds 3] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from l0_calibrate import CalibrationProblem, calibrate
from provenance import provenance

SELECTORS: dict[str, dict[str, Any]] = {
    "hard_concrete, median gates": {"selector": "hard_concrete"},
    "hard_concrete, 4,000 steps": {"selector": "hard_concrete", "selector_settings": {"steps": 4_000}},
    "hard_concrete, stochastic gates": {"selector": "hard_concrete", "selector_settings": {"gates": "stochastic"}},
    "hard_concrete, Gaussian law": {"selector": "hard_concrete", "selector_settings": {"distribution": "gaussian"}},
    "hard_concrete, straight-through": {
        "selector": "hard_concrete",
        "selector_settings": {"distribution": "straight_through"},
    },
    "hard_concrete, exact top-k gates": {"selector": "hard_concrete", "selector_settings": {"gates": "top_k"}},
    "prune": {"selector": "prune"},
    "exchange": {"selector": "exchange"},
    "random": {"selector": "random"},
    "sampford design": {"selector": "sampford"},
}


def one_run(problem: CalibrationProblem, keep: int, ratio: float, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    result = calibrate(problem, keep=keep, max_weight_ratio=ratio, seed=seed, **options)
    assert result.kept == keep
    return {
        "loss": result.loss,
        "objective": result.objective,
        "ess": result.ess,
        "max_ratio": result.max_ratio,
        "select_seconds": result.timings["select"],
        "refit_seconds": result.timings["refit"],
        "status": result.status,
    }


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [name for name, value in runs[0].items() if isinstance(value, float)]
    row: dict[str, Any] = {name: statistics.median(run[name] for run in runs) for name in numbers}
    losses = [run["loss"] for run in runs]
    return row | {"loss_range": [min(losses), max(losses)], "status": sorted({run["status"] for run in runs})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--keep", type=int, nargs="+", required=True)
    parser.add_argument("--ratio", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="names of selectors; all by default")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    problem = CalibrationProblem.load(arguments.problem)
    # Kernels are compiled and the scaled matrix is made before the clock runs.
    for options in SELECTORS.values():
        one_run(problem, problem.n_records - 1, arguments.ratio, 0, options | _short(options))
    rows: list[dict[str, Any]] = []
    for keep in arguments.keep:
        for name, options in SELECTORS.items():
            if arguments.only and name not in arguments.only:
                continue
            runs = [one_run(problem, keep, arguments.ratio, seed, options) for seed in range(arguments.seeds)]
            rows.append({"keep": keep, "selector": name, **medians(runs)})
            print(json.dumps(rows[-1]), flush=True)
    results = {
        "problem": arguments.problem.name,
        "shape": [problem.n_targets, problem.n_records],
        "max_weight_ratio": arguments.ratio,
        "seeds": arguments.seeds,
        "threads": 1,
        **provenance(),
        "rows": rows,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def _short(options: dict[str, Any]) -> dict[str, Any]:
    """Settings that make a run of a selector as short as can be."""
    if options["selector"] == "hard_concrete":
        return {"selector_settings": options.get("selector_settings", {}) | {"steps": 2}}
    return {"selector_settings": {"rounds": 0}} if options["selector"] == "exchange" else {}


if __name__ == "__main__":
    main()

"""Which features explain a response: exact recovery of the true support, beside abess and scikit-learn's Lasso.

Problem: rows drawn from a normal law with correlation rho^|i-j|, k true coefficients of size 1 with random signs,
spread over the columns; the noise is set by the signal-to-noise ratio. Everyone is asked for exactly k features
(Lasso: the first point of its path with k non-zeros, then the k largest). Metric: share of runs in which the support
is the true one, the mean share of true features found, and the median time of a fit.
What should hold: at each setting our exact recovery is at least the best peer's, less 5 % of the runs.

    python benchmarks/compare_support_recovery.py [--runs 20] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from l0_gates.descent import Regression, best_subset
from provenance import provenance

Fit = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def ours(matrix: np.ndarray, response: np.ndarray, k: int) -> np.ndarray:
    return best_subset(Regression(matrix, response, l2=1e-6, mean=True, intercept=True), k).support


def abess(matrix: np.ndarray, response: np.ndarray, k: int) -> np.ndarray:
    from abess import LinearRegression

    return np.flatnonzero(LinearRegression(support_size=k).fit(matrix, response).coef_)


def lasso(matrix: np.ndarray, response: np.ndarray, k: int) -> np.ndarray:
    from sklearn.linear_model import lars_path

    standard = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    _, _, path = lars_path(standard, response - response.mean(), method="lasso")
    sizes = (path != 0).sum(axis=0)
    at = int(np.argmax(sizes >= k)) if (sizes >= k).any() else -1
    return np.sort(np.argsort(-np.abs(path[:, at]), kind="stable")[:k])


def problem(rng: np.random.Generator, rows: int, columns: int, k: int, rho: float, snr: float):
    matrix = rng.standard_normal((rows, columns))
    for j in range(1, columns):
        matrix[:, j] = rho * matrix[:, j - 1] + np.sqrt(1.0 - rho**2) * matrix[:, j]
    support = np.linspace(0, columns - 1, k).astype(int)
    signal = matrix[:, support] @ rng.choice([-1.0, 1.0], size=k)
    return matrix, signal + np.sqrt(signal.var() / snr) * rng.standard_normal(rows), support


SETTINGS = [
    {"rows": 200, "columns": 1000, "k": 10, "rho": 0.0, "snr": 5.0},
    {"rows": 200, "columns": 1000, "k": 10, "rho": 0.5, "snr": 5.0},
    {"rows": 200, "columns": 1000, "k": 10, "rho": 0.9, "snr": 5.0},
    {"rows": 120, "columns": 1000, "k": 10, "rho": 0.5, "snr": 5.0},
    {"rows": 500, "columns": 2000, "k": 25, "rho": 0.7, "snr": 3.0},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    fits: dict[str, Fit] = {"l0-gates": ours}
    for name, module, fit in (("abess", "abess", abess), ("lasso (scikit-learn)", "sklearn", lasso)):
        if importlib.util.find_spec(module):
            fits[name] = fit
        else:
            print(f"{name}: not installed, left out")
    ours(*problem(np.random.default_rng(0), 40, 30, 3, 0.0, 5.0)[:2], 3)  # compile before the clock starts
    results = []
    for setting in SETTINGS:
        print(", ".join(f"{name} {value}" for name, value in setting.items()))
        for name, fit in fits.items():
            exact, found, seconds = [], [], []
            for run in range(arguments.runs):
                matrix, response, support = problem(np.random.default_rng(run), **setting)
                begin = time.perf_counter()
                chosen = fit(matrix, response, setting["k"])
                seconds.append(time.perf_counter() - begin)
                exact.append(np.array_equal(chosen, support))
                found.append(np.isin(support, chosen).mean())
            row = {"exact": np.mean(exact), "found": np.mean(found), "seconds": np.median(seconds)}
            results.append({"setting": setting, "by": name, **{key: round(float(v), 4) for key, v in row.items()}})
            print(f"  {name:22s} exact {row['exact']:.2f}  found {row['found']:.3f}  {row['seconds'] * 1e3:8.1f} ms")
    if arguments.out:
        report = {"runs": arguments.runs, **provenance("abess", "scikit-learn"), "results": results}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

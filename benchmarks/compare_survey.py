"""Classical calibration of survey weights beside samplics: raking and linear (GREG), and logit, which it has not.

    python -m venv PEERS && PEERS/bin/pip install samplics pandas
    python benchmarks/compare_survey.py --peer-python PEERS/bin/python [--records 10000 100000] [--out FILE.json]

Generated: lognormal design weights; age (8 groups), region (12), education (5) and sex (2), which depend on one
another, and an income. Raking meets the totals of all groups of the four; linear and logit calibration the same
without redundant groups, and the total of income. Totals are those of a population whose groups are up to 15 % larger
or smaller. Metric: wall seconds on one thread, the least of three calls (of one where a call takes more than ten
seconds). Ours begin with the labels, so that making the matrix counts; samplics' linear calibration is given its
matrix ready. samplics rakes to its default tolerance of 1e-4 and to 1e-10; ours always goes to rounding. `missed` is
the largest relative miss of a total, `apart` the largest relative difference of a weight from ours. What fails or is
not done within `--limit` seconds is reported as it is.
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
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate import survey_calibrate
from provenance import of_peer, provenance

FloatArray = npt.NDArray[np.float64]
LEVELS = {"age": 8, "region": 12, "education": 5, "sex": 2}
BOUNDS = (0.3, 3.0)
"""Of the g-weights of logit calibration."""
REPEATS, LONG = 3, 10.0

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import importlib.metadata
import numpy as np
from samplics.weighting import SampleWeight
data = np.load(sys.argv[1])
method, tolerance, repeats, long = sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
design, names = data["design"], [str(name) for name in data["names"]]
if method == "raking":
    margins = {name: data[name] for name in names}
    control = {name: dict(enumerate(data["total_" + name].tolist())) for name in names}
    def call():
        return SampleWeight().rake(design, margins, control, tol=tolerance, ctrl_tol=tolerance, max_iter=1000)
else:
    matrix, control = data["matrix"], dict(enumerate(data["totals"].tolist()))
    def call():
        return SampleWeight().calibrate(design, matrix, control)
best = float("inf")
for _ in range(repeats):
    began = time.perf_counter()
    weights = call()
    seconds = time.perf_counter() - began
    best = min(best, seconds)
    if seconds > long:
        break
np.save(sys.argv[6], weights)
print(json.dumps({"seconds": best, "version": importlib.metadata.version("samplics")}))
"""


def population(records: int, seed: int = 0) -> tuple[FloatArray, dict[str, npt.NDArray[np.int64]], FloatArray]:
    """Design weights, the labels of each margin, and incomes."""
    g = np.random.default_rng(seed)
    design = g.lognormal(4.0, 0.6, records)
    trait = g.normal(size=records)
    labels = {
        name: np.clip(
            ((trait * 0.4 + g.normal(size=records)) * levels / 5 + levels / 2).astype(np.int64), 0, levels - 1
        )
        for name, levels in LEVELS.items()
    }
    return design, labels, g.lognormal(10.0 + 0.3 * trait, 0.8)


def design_matrix(labels: dict[str, npt.NDArray[np.int64]], income: FloatArray | None) -> sp.csr_array:
    """Flags of the groups, all of them without an income; with one, the first of each later margin is left out."""
    parts, before = [], 0
    records = np.arange(len(next(iter(labels.values()))))
    for name, codes in labels.items():
        first = 1 if income is not None and before else 0
        inside = codes >= first
        shape = (records.size, LEVELS[name] - first)
        flags = np.ones(int(inside.sum()))
        parts.append(sp.csr_array((flags, (records[inside], codes[inside] - first)), shape=shape))
        before += shape[1]
    if income is not None:
        parts.append(sp.csr_array(income[:, None]))
    return sp.csr_array(sp.hstack(parts, format="csr"))


def totals_of(
    labels: dict[str, npt.NDArray[np.int64]], income: FloatArray, design: FloatArray, all_groups: bool
) -> FloatArray:
    """Totals of a population whose groups, and incomes within them, are larger or smaller than in the sample."""
    g = np.random.default_rng(1)
    factor = np.ones(design.size)
    for name, levels in LEVELS.items():
        factor *= g.uniform(0.85, 1.15, levels)[labels[name]]
    matrix = design_matrix(labels, None if all_groups else income)
    return np.asarray(matrix.T @ (design * factor))


def timed(call: Any) -> tuple[float, FloatArray]:
    """The least time of some calls, and what they return."""
    best, found = float("inf"), np.zeros(0)
    for _ in range(REPEATS):
        began = time.perf_counter()
        found = call()
        seconds = time.perf_counter() - began
        best = min(best, seconds)
        if seconds > LONG:
            break
    return best, found


def missed(weights: FloatArray, matrix: sp.csr_array, totals: FloatArray) -> float:
    """The largest relative miss of a total."""
    return float(np.abs(matrix.T @ weights / totals - 1.0).max())


def peer(python: Path, file: Path, how: tuple[str, float], limit: float) -> tuple[dict[str, Any], FloatArray | None]:
    """What samplics reports and its weights, or how it failed."""
    out = file.with_name("weights.npy")
    out.unlink(missing_ok=True)
    command = [str(python), "-c", PEER, str(file), how[0], str(how[1]), str(REPEATS), str(LONG), str(out)]
    try:
        done = subprocess.run(command, env=of_peer(), capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {limit:.0f} s"}, None
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}, None
    return json.loads(done.stdout.strip().splitlines()[-1]), np.load(out)


def compared(records: int, python: Path, limit: float) -> list[dict[str, Any]]:
    """Each method at one size, ours and theirs."""
    design, labels, income = population(records)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for method in ("raking", "linear", "logit"):
            groups_only = method == "raking"
            totals = totals_of(labels, income, design, groups_only)
            matrix = design_matrix(labels, None if groups_only else income)

            def ours(method: str = method, totals: FloatArray = totals, groups_only: bool = groups_only) -> FloatArray:
                made = design_matrix(labels, None if groups_only else income)
                bounds = BOUNDS if method == "logit" else None
                return survey_calibrate(design, made, totals, method=method, bounds=bounds)  # type: ignore[arg-type]

            seconds, weights = timed(ours)
            common = {"records": records, "constraints": matrix.shape[1], "method": method}
            rows.append({**common, "by": "l0-calibrate", "seconds": seconds, "missed": missed(weights, matrix, totals)})
            file = Path(place) / "sample.npz"
            if method == "raking":
                edges = np.cumsum([0, *LEVELS.values()])
                sums = {f"total_{n}": totals[edges[k] : edges[k + 1]] for k, n in enumerate(LEVELS)}
                np.savez(file, design=design, names=list(LEVELS), **labels, **sums)  # type: ignore[arg-type]
            elif method == "linear":
                np.savez(file, design=design, names=list(LEVELS), matrix=matrix.toarray(), totals=totals)
            else:
                rows.append({**common, "by": "samplics", "failed": "has no logit calibration"})
                continue
            for tolerance in (1e-4, 1e-10) if method == "raking" else (0.0,):
                found, theirs = peer(python, file, (method, tolerance), limit)
                by = f"samplics, tolerance {tolerance:g}" if tolerance else "samplics"
                row = {**common, "by": by, **found}
                if theirs is not None:
                    row["missed"] = missed(theirs, matrix, totals)
                    row["apart"] = float(np.abs(theirs / weights - 1.0).max())
                    row["times_ours"] = found["seconds"] / seconds
                rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each peer")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    results = []
    for records in asked.records:
        rows = compared(records, asked.peer_python, asked.limit)
        for row in rows:
            print(json.dumps(row), flush=True)
        results += rows
    if asked.out:
        version = next((row["version"] for row in results if "version" in row), None)
        report = {"results": results, "samplics": version, **provenance()}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""The example plugin, installed as anyone would install it and used in processes that know nothing of this tree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "l0-plugin-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*command, "--target", str(target), str(EXAMPLE)])
    return target


def run(command: list[str], path: Path | None = None) -> str:
    """The output of the command, with the folder on the module path."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH"))))
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_tutorial_runs_and_prints_what_it_says(installed):
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join(text for kind, text in blocks if kind == "python")
    expected = "".join(text for kind, text in blocks if kind == "text")
    assert expected
    assert run([sys.executable, "-c", code], installed) == expected


def test_it_is_listed_only_where_it_is_installed(installed):
    code = (
        "import l0_core, sys\n"
        "print([(p.kind, p.name, p.version) for p in l0_core.plugins() if p.package == 'l0-plugin-example'])\n"
        "print(sorted(m for m in sys.modules if m.startswith('l0_plugin_example.')))"
    )
    listed, loaded = run([sys.executable, "-c", code], installed).splitlines()
    assert listed == str(
        [
            ("distribution", "logistic", "0.1.0"),
            ("gate", "contribution", "0.1.0"),
            ("loss", "standard_error", "0.1.0"),
            ("penalty", "undecided", "0.1.0"),
            ("selector", "heaviest", "0.1.0"),
            ("solver", "linear_program", "0.1.0"),
        ]
    )
    assert loaded == "['l0_plugin_example.plugin']"
    assert run([sys.executable, "-c", code]).splitlines() == ["[]", "[]"]


CALIBRATE = """
import sys
import numpy as np
from l0_calibrate import calibrate
from l0_calibrate.demo import load_demo

problem = load_demo()
result = calibrate(problem, keep=300, max_weight_ratio=5, selector="contribution")
scale = np.maximum(np.abs(problem.targets), 1.0)
scores = (abs(problem.matrix).T @ (1.0 / scale)) * problem.initial_weights
assert set(result.selection.indices) == set(np.argsort(-scores)[:300]), "not the records of the plugin's rule"
assert result.kept == 300
learnt = calibrate(
    problem, keep=300, selector="hard_concrete", selector_settings={"distribution": "logistic", "steps": 50}
)
print(result.kept, learnt.kept, "l0_plugin_example.distribution" in sys.modules)
"""


def test_its_gate_and_its_distribution_work_in_the_calibrator(installed):
    """By their names alone, in packages that know nothing of it."""
    assert run([sys.executable, "-c", CALIBRATE], installed).split() == ["300", "300", "True"]


CALIBRATION = """
import numpy as np
from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.demo import load_demo
from l0_core import InputError

problem = load_demo()
exact = calibrate(problem, solver="linear_program", spread=0, max_weight_ratio=5)
ours = calibrate(problem, solver="interior_point", spread=0, max_weight_ratio=5, tol=1e-6)
assert exact.status == "optimal" and exact.gap < 1e-5, exact
assert exact.bound <= ours.objective and ours.bound <= exact.objective
must = problem.initial_weights == problem.initial_weights.min()
kept = calibrate(problem, keep=300, selector="heaviest", must_keep=must, solver="linear_program", spread=0)
order = np.argsort(-problem.initial_weights, kind="stable")[: 300 - must.sum()]
assert set(kept.selection.indices) == {*order, *np.flatnonzero(must)}
for fields in ({}, {"spread": 0, "conserve_mass": True}, {"spread": 0, "loss": "huber"}):
    try:
        calibrate(problem, solver="linear_program", **fields)
    except InputError as error:
        assert "cannot take this problem" in str(error)
    else:
        raise AssertionError(fields)
info = problem.target_info.assign(standard_error=0.2 * np.abs(problem.targets))
lenient = CalibrationProblem(
    problem.matrix, problem.targets, initial_weights=problem.initial_weights, target_info=info
)
found = calibrate(lenient, loss="standard_error", spread=0, max_weight_ratio=5, tol=1e-4)
beyond = np.maximum(np.abs(lenient.relative_errors(found.weights)) - 0.2, 0).mean()
assert abs(found.objective - beyond) < 1e-9 and beyond < exact.loss - 0.005, (found.objective, beyond)
print("done")
"""


def test_its_loss_selector_and_solver_work_in_the_calibrator(installed):
    assert run([sys.executable, "-c", CALIBRATION], installed).split() == ["done"]


def test_its_gate_works_on_the_command_line_and_is_listed_there(installed, tmp_path):
    from l0_calibrate.demo import load_demo

    load_demo().save(tmp_path / "problem")
    main = [sys.executable, "-c", "from l0_calibrate.cli import main; main()"]
    options = ["--keep", "250", "--selector", "contribution", "--out", str(tmp_path / "run"), "--json"]
    summary = json.loads(run([*main, "fit", str(tmp_path / "problem"), *options], installed))
    assert (summary["kept"], summary["options"]["selector"]) == (250, "contribution")
    rows = json.loads(run([*main, "plugins", "--json"], installed))
    ours = {(row["kind"], row["name"], row["state"]) for row in rows if row["package"] == "l0-plugin-example"}
    names = {
        "distribution": "logistic", "gate": "contribution", "loss": "standard_error", "penalty": "undecided",
        "selector": "heaviest", "solver": "linear_program",
    }  # fmt: skip
    assert ours == {(kind, name, "ok") for kind, name in names.items()}
    table = run([*main, "plugins"], installed)
    assert "contribution" in table
    assert "undecided" in table


def test_it_keeps_the_contracts(installed):
    output = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")], installed)
    assert re.search(r"\b\d{2,} passed", output), output
    assert "l0_plugin_example" not in sys.modules

"""The umbrella: every promised name, where it is promised, at no cost until it is used."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import l0

MODULES = {
    "distributions": {"HardConcrete"},
    "hard_concrete": {"HardConcrete"},
    "gates": {"FeatureGate", "HardConcrete", "HybridGate", "L0Gate", "SampleGate"},
    "layers": {"HardConcrete", "L0Conv2d", "L0DepthwiseConv2d", "L0Linear", "SparseMLP", "prune_model"},
    "penalties": {
        "PenaltyTracker",
        "TemperatureScheduler",
        "compute_l0_penalty",
        "compute_l0l2_penalty",
        "compute_l2_penalty",
        "get_active_parameter_count",
        "get_sparsity_stats",
        "update_temperatures",
    },
    "temperature": {"TemperatureScheduler", "update_temperatures"},
    "calibration": {"SparseCalibrationWeights"},
    "sparse": {"SparseL0Linear"},
}
NAMES = set().union(*MODULES.values())


def test_all_is_the_promise():
    assert set(l0.__all__) == NAMES
    assert set(dir(l0)) >= NAMES | set(MODULES)
    assert {name for name in dir(l0) if not name.startswith("_")} == NAMES | set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_its_names_and_they_are_those_of_the_top(module):
    there = importlib.import_module(f"l0.{module}")
    assert set(there.__all__) == MODULES[module]
    assert {name for name in dir(there) if not name.startswith("_")} == MODULES[module]
    for name in MODULES[module]:
        assert getattr(there, name) is getattr(l0, name)
        assert getattr(there, name).__doc__


def test_unknown_names_read_as_in_any_module():
    with pytest.raises(AttributeError, match="module 'l0' has no attribute 'HardConcret'"):
        _ = l0.HardConcret
    with pytest.raises(ImportError):
        from l0.gates import Nothing  # noqa: F401


def test_star_import():
    namespace: dict[str, object] = {}
    exec("from l0 import *", namespace)
    assert set(namespace) >= NAMES
    assert "__version__" not in namespace


def test_the_version_is_that_of_the_distribution_and_above_the_old_one():
    assert l0.__version__ == importlib.metadata.version("l0-python")
    assert tuple(int(part) for part in l0.__version__.split(".")[:3]) > (0, 6, 2)


def test_importing_costs_nothing_until_a_name_is_used():
    code = (
        "import sys, l0, l0.gates, l0.calibration\n"
        "heavy = {'torch', 'numpy', 'scipy', 'numba', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "dir(l0); l0.__version__\n"
        "assert not heavy & set(sys.modules)\n"
        "l0.HardConcrete\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_nothing_is_implemented_in_the_umbrella():
    for path in Path(l0.__file__).parent.glob("*.py"):
        if path.name == "_lazy.py":
            continue
        kinds = {type(node) for node in ast.walk(ast.parse(path.read_text()))}
        assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.Lambda}, path.name


MADE = {
    "HardConcrete": lambda: l0.HardConcrete(4),
    "L0Linear": lambda: l0.L0Linear(3, 2),
    "L0Conv2d": lambda: l0.L0Conv2d(1, 2, 3),
    "L0DepthwiseConv2d": lambda: l0.L0DepthwiseConv2d(2, 3),
    "SparseMLP": lambda: l0.SparseMLP(5, 4, 2),
    "SparseL0Linear": lambda: l0.SparseL0Linear(3),
    "SparseCalibrationWeights": lambda: l0.SparseCalibrationWeights(3),
    "L0Gate": lambda: l0.L0Gate(3),
    "SampleGate": lambda: l0.SampleGate(5, 2),
    "FeatureGate": lambda: l0.FeatureGate(5, 2),
    "HybridGate": lambda: l0.HybridGate(8),
    "TemperatureScheduler": lambda: l0.TemperatureScheduler(),
    "PenaltyTracker": lambda: l0.PenaltyTracker(),
}


@pytest.mark.parametrize("name", MADE)
def test_objects_and_classes_pickle(name):
    made = MADE[name]()
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is getattr(l0, name)
    assert pickle.loads(pickle.dumps(getattr(l0, name))) is getattr(l0, name)
    if isinstance(made, torch.nn.Module):
        for (key, one), (other_key, other) in zip(made.state_dict().items(), again.state_dict().items(), strict=True):
            assert key == other_key
            assert torch.equal(one, other)


CHECKED = """
import l0
from l0 import HardConcrete, SparseCalibrationWeights, prune_model
from l0.calibration import SparseCalibrationWeights as Again
import l0_calibrate

reveal_type(l0.HardConcrete(4))
reveal_type(SparseCalibrationWeights(3))
reveal_type(l0.compute_l0_penalty)
reveal_type(l0.gates.SampleGate(4, 2))
reveal_type(l0_calibrate.Calibration([1.0], [1.0]).estimate())
Again(3, seed=1).fit([[1.0]], [1.0], lambda_l0=1e-3).predict([[1.0]])
l0.HardConcret
l0.gates.SampleGat
l0.HardConcrete(4, temprature=0.5)
"""
REVEALED = [
    "l0_torch.hard_concrete.HardConcrete",
    "SparseCalibrationWeights",
    "def (model:",
    "l0_torch.gates.SampleGate",
    "Any",
]
WRONG = ['no attribute "HardConcret"', 'no attribute "SampleGat"', 'Unexpected keyword argument "temprature"']
CONFIGURATION = (
    "[mypy-torch.*,numpy.*,scipy.*,pandas.*,numba.*]\nfollow_imports = skip\nignore_missing_imports = true\n"
)


def test_type_checkers_see_the_names_and_no_others(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(CHECKED)
    (tmp_path / "mypy.ini").write_text("[mypy]\nfollow_imports = silent\n" + CONFIGURATION)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = [line.split("Revealed type is ")[1] for line in done.stdout.splitlines() if "Revealed" in line]
    assert len(found) == len(REVEALED), done.stdout
    assert all(wanted in line for line, wanted in zip(found, REVEALED, strict=True)), found
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == len(WRONG), done.stdout
    assert all(wanted in line for line, wanted in zip(errors, WRONG, strict=True)), errors

"""The names at the top of the package: what they are, what they cost, and which of them `calibrate` points to."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest

import l0_calibrate
from l0_calibrate import CalibrationProblem, Options, calibrate, elsewhere
from l0_calibrate.cli.choices import Around, Wanted
from l0_core import InputError

WANTED = {
    "CalibrationProblem", "CalibrationResult", "Checkpoint", "Options", "Progress", "Target", "balance_targets",
    "calibrate", "calibrate_domains", "calibrate_path", "calibrate_replicates", "calibrate_survey", "choose_targets",
    "diagnose", "exactness", "kept_ids", "path_frame", "preflight", "reuse_selection", "survey_calibrate",
}  # fmt: skip


def test_every_public_name_is_that_of_its_home_and_listed():
    assert set(l0_calibrate.__all__) >= WANTED
    assert {*l0_calibrate._HOME_OF, "__version__"} == set(l0_calibrate.__all__) <= set(dir(l0_calibrate))
    for name, home in l0_calibrate._HOME_OF.items():
        there = importlib.import_module(f"l0_calibrate.{home}")
        assert getattr(l0_calibrate, name) is getattr(there, name)


def test_type_checkers_are_shown_the_same_names():
    tree = ast.parse(Path(l0_calibrate.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    shown = {alias.name: node.module for node in block.body for alias in node.names}
    assert shown == {name: f"l0_calibrate.{home}" for name, home in l0_calibrate._HOME_OF.items()}


def test_the_package_costs_nothing_and_no_name_is_hidden_by_a_module():
    code = (
        "import importlib, sys, types, l0_calibrate\n"
        "dir(l0_calibrate)\n"
        "heavy = {'numpy', 'scipy', 'pandas', 'numba', 'attrs', 'torch', 'l0_core'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "for home in l0_calibrate._HOMES:\n"
        "    importlib.import_module('l0_calibrate.' + home)\n"
        "found = {name: getattr(l0_calibrate, name) for name in l0_calibrate.__all__}\n"
        "modules = {name for name, value in found.items() if isinstance(value, types.ModuleType)}\n"
        "assert modules == {'metrics'}, modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def _at_the_top(node):
    """What a name, or an attribute of one, stands for among the public names."""
    if isinstance(node, ast.Attribute):
        return getattr(_at_the_top(node.value), node.attr)
    assert node.id in l0_calibrate.__all__
    return getattr(l0_calibrate, node.id)


@pytest.mark.parametrize("option", elsewhere.CALLS)
def test_calibrate_names_the_call_that_does_what_was_asked_for(option):
    call = elsewhere.CALLS[option]
    text = re.escape(f"unknown option {option} (l0_calibrate has {call} for that); there are: areas, ")
    with pytest.raises(InputError, match=text):
        calibrate(CalibrationProblem(np.eye(2), [1.0, 1.0]), **{option: 1})
    for node in ast.walk(ast.parse(call)):
        if isinstance(node, ast.Call):
            function = _at_the_top(node.func)
            parameters = [name for name in inspect.signature(function).parameters if name != "self"]
            assert [argument.id for argument in node.args] == parameters[: len(node.args)]
            assert {keyword.arg for keyword in node.keywords} <= set(parameters)


def test_every_option_of_the_command_line_that_calibrate_lacks_is_named():
    of_command = {field.name for kind in (Around, Wanted) for field in attrs.fields(kind)}
    taken = {*inspect.signature(calibrate).parameters, *attrs.fields_dict(Options)}
    assert of_command - taken <= set(elsewhere.CALLS)
    assert not taken & set(elsewhere.CALLS)


@pytest.mark.parametrize("counts", [[2, 1], (2,), np.array([2, 1]), range(1, 3), {1, 2}])
def test_several_counts_are_told_their_function(counts):
    with pytest.raises(InputError, match=r"keep must be a whole number .* \(l0_calibrate has calibrate_path\("):
        calibrate(CalibrationProblem(np.eye(2), [1.0, 1.0]), keep=counts)
    with pytest.raises(InputError, match=r"got '2'$"):
        Options(keep="2")

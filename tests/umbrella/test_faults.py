"""Right where the originals are wrong: every check of `faults.py` passes here; run on the originals they fail."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import l0
from l0_calibrate import Calibration

_spec = importlib.util.spec_from_file_location("faults", Path(__file__).with_name("faults.py"))
faults = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faults)


@pytest.mark.filterwarnings("ignore::l0_core.UntrainedWarning")
@pytest.mark.parametrize("name", faults.L0_CHECKS)
def test_of_l0_python(name):
    faults.L0_CHECKS[name](l0)


@pytest.mark.parametrize("name", faults.FACE_CHECKS)
def test_of_microcalibrate(name):
    faults.FACE_CHECKS[name](Calibration)

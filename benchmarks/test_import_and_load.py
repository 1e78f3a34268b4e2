"""Import times of the packages and the time to load a problem from its files (pytest-benchmark).

    pytest benchmarks/test_import_and_load.py --benchmark-json=benchmarks/results/import_and_load.json

An import is a fresh interpreter that runs one statement and stops; compare a package with the row of what it stands
on (``numpy`` for l0_core, the scientific stack for l0_calibrate) to see what it costs itself. The first fit is a fresh
interpreter too, with nothing compiled yet; the next one finds its kernels on disk. Loading is of a
generated problem of 1.2 M non-zeros, from the folder that ``CalibrationProblem.save`` wrote, with all the checks of
the door.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem

TARGETS, RECORDS, PER_RECORD = 2_000, 40_000, 30


STATEMENTS = {
    "nothing": "pass",
    "numpy": "import numpy",
    "l0_core": "import l0_core",
    "scientific stack": "import numpy, pandas, scipy.sparse, numba",
    "l0_gates": "from l0_gates import SampleStrategy",
    "l0_calibrate": "from l0_calibrate import CalibrationProblem, calibrate",
    "l0": "import l0",
    "torch": "import torch",
    "l0 with torch": "from l0 import HardConcrete",
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_import(benchmark: Any, what: str) -> None:
    command = [sys.executable, "-c", STATEMENTS[what]]
    benchmark.pedantic(lambda: subprocess.run(command, check=True), rounds=7, warmup_rounds=1)


FIT = """
from l0_calibrate import calibrate
from l0_calibrate.demo import load_demo
calibrate(load_demo(), keep=300, max_weight_ratio=5)
"""


def _fit(cache: Path) -> None:
    subprocess.run([sys.executable, "-c", FIT], check=True, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)})


def test_first_fit_on_a_machine(benchmark: Any, tmp_path: Path) -> None:
    benchmark.pedantic(_fit, args=(tmp_path,), rounds=1)


def test_next_fit(benchmark: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = tmp_path_factory.mktemp("compiled")
    benchmark.pedantic(_fit, args=(cache,), rounds=3, warmup_rounds=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    columns = np.repeat(np.arange(RECORDS), PER_RECORD)
    rows = random.integers(0, TARGETS, columns.size)
    matrix = sp.csr_array((random.gamma(1.0, 1.0, columns.size), (rows, columns)), shape=(TARGETS, RECORDS))
    folder = tmp_path_factory.mktemp("problem")
    CalibrationProblem(matrix, matrix @ np.ones(RECORDS)).save(folder)
    return folder


def test_load(benchmark: Any, folder: Path) -> None:
    problem = benchmark.pedantic(lambda: CalibrationProblem.load(folder), rounds=5, warmup_rounds=1)
    assert problem.n_targets == TARGETS


def test_load_and_scale(benchmark: Any, folder: Path) -> None:
    system = benchmark.pedantic(lambda: CalibrationProblem.load(folder).system, rounds=5, warmup_rounds=1)
    assert system.records == RECORDS

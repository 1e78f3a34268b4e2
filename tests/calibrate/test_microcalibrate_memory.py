"""What the face needs beside the caller's own table: 40,000 records and 2,268 targets, of which 0.7 GB would be dense."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from l0_calibrate import Calibration
from l0_calibrate.microcalibrate.matrices import record_columns

RECORDS, TARGETS, NUMBERS = 40_000, 2_268, 1_200_000
SPARSE_MB = 12 * NUMBERS / 1e6
"""Of the matrix as it is kept: 8 bytes of value and 4 of position."""


def table(dtype=np.float64):
    """Some 529 records in each column, of which no two are the same."""
    rng = np.random.default_rng(0)
    each = NUMBERS // TARGETS
    steps = rng.integers(1, RECORDS // each, size=(TARGETS, each))
    indices = steps.cumsum(axis=1).astype(np.int32).ravel() - 1
    indptr = np.arange(0, TARGETS * each + 1, each, dtype=np.int32)
    return sp.csc_array((rng.random(indices.size).astype(dtype), indices, indptr), shape=(RECORDS, TARGETS))


def peak_mb(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def one_block():
    return pd.DataFrame(table(np.float32).toarray())


def column_by_column():
    whole = one_block()
    return pd.concat([whole.iloc[:, k : k + 100].copy() for k in range(0, TARGETS, 100)], axis=1)  # many blocks


def of_two_kinds():
    whole = one_block()
    whole[TARGETS - 1] = whole[TARGETS - 1].astype(np.float64)
    return whole


def row_by_row():
    return np.ascontiguousarray(one_block().to_numpy())


@pytest.mark.parametrize("make", [one_block, column_by_column, of_two_kinds, row_by_row])
def test_a_dense_table_is_never_copied_whole(make):
    frame = make()
    found = record_columns(frame)
    assert found.nnz == table().nnz
    # The matrix a few times over while its pieces are put together; the table itself is 363 MB.
    assert peak_mb(lambda: record_columns(frame)) < 4 * SPARSE_MB


def test_a_fit_stays_small():
    frame = pd.DataFrame.sparse.from_spmatrix(table())

    def fit():
        Calibration(np.ones(RECORDS), np.ones(TARGETS), estimate_matrix=frame, epochs=2).calibrate()

    fit()  # compiled code is loaded once
    assert peak_mb(fit) < 5 * SPARSE_MB


WORKER = """
import sys, numba, numpy as np, pandas as pd, scipy.sparse as sp, torch
from l0_calibrate import Calibration

def megabytes(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

imported = megabytes("VmRSS")
matrix = sp.load_npz(sys.argv[1])
frame = pd.DataFrame.sparse.from_spmatrix(matrix)
goals = matrix.T @ np.full(matrix.shape[0], 3.0)
fit = Calibration(np.ones(matrix.shape[0]), goals, estimate_matrix=frame, epochs=5, regularize_with_l0=True)
fit.calibrate()
print(megabytes("VmHWM") - imported)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_the_whole_process_stays_well_below_a_dense_copy(tmp_path):
    path = tmp_path / "matrix.npz"
    sp.save_npz(path, table())
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    assert float(done.stdout) < 200  # beside torch, pandas and numba, imported; a dense copy would take 363 or 726

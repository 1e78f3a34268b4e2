"""Memory that nobody uses goes back to the system."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from l0_calibrate.memory import _trim, give_back_freed
from l0_calibrate.problem.files import read_table

MB = 2**20


def resident() -> int:
    """Bytes of the process that are in memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@pytest.mark.parametrize("name", ["records.parquet", "records.csv"])
def test_a_table_is_read_past_the_allocator_that_keeps_memory(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"record_id": np.arange(100_000), "amount": np.linspace(0.0, 1.0, 100_000)})
    path = tmp_path / name
    if name.endswith("csv"):
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    keeps, does_not = pa.default_memory_pool(), pa.system_memory_pool()
    if keeps.backend_name == does_not.backend_name:
        pytest.skip("Arrow was told to use the C library's")
    before, other = keeps.total_bytes_allocated(), does_not.total_bytes_allocated()
    pd.testing.assert_frame_equal(read_table(path), frame)
    by_the_other = does_not.total_bytes_allocated() - other
    assert by_the_other >= MB
    # pandas has text converted by it
    assert keeps.total_bytes_allocated() - before < 0.2 * by_the_other


@pytest.mark.skipif(sys.platform != "linux" or _trim() is None, reason="the GNU C library alone can be told")
def test_what_was_freed_below_what_is_in_use_goes_back() -> None:
    pieces = [np.ones(2**13) for _ in range(1_000)]  # 64 KB each: none is mapped on its own
    last = pieces[-1]
    before = resident()
    del pieces
    held = resident()
    give_back_freed()
    freed = before - resident()
    assert freed > 50 * MB
    assert held > before - 10 * MB, "the C library has given it back by itself: this test shows nothing"
    assert last.sum() == 2**13

"""The worked example reaches the point that it states, beside magnitude pruning at the same size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits_pruning.py"


@pytest.mark.slow
def test_the_stated_point_is_reached_and_magnitude_pruning_is_not_better():
    pytest.importorskip("sklearn")
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # threads would add in another order
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, env=one_thread, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    points = re.findall(
        r"^(gates|magnitude, in \w+ cuts?): ([\d,]+) weights, test accuracy ([\d.]+)", done.stdout, re.M
    )
    found = {name: (int(count.replace(",", "")), float(accuracy)) for name, count, accuracy in points}
    assert len(found) == 3
    assert all(count <= 1_000 for count, _ in found.values())
    reached = found.pop("gates")[1]
    assert reached >= 0.965
    assert all(accuracy <= reached for _, accuracy in found.values())
    before, after = (int(n.replace(",", "")) for n in re.search(r"bytes +([\d,]+) -> +([\d,]+)", done.stdout).groups())
    assert after < before / 10
    assert re.search(r"milliseconds +[\d.]+ -> +[\d.]+", done.stdout)

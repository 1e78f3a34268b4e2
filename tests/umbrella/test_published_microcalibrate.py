"""The published microcalibrate runs on top of our packages, as the example shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "published_microcalibrate.py"


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A folder with microcalibrate 0.19.1 and nothing else that this environment has."""
    folder = tmp_path_factory.mktemp("microcalibrate")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*command, "microcalibrate==0.19.1", "tqdm"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(
            f"no package index answers: {done.stderr.strip().splitlines()[-1] if done.stderr else 'pip failed'}"
        )
    return folder


@pytest.mark.network
def test_dense_and_gated_calibrations_run_unchanged(installed):
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"(.+): kept (\d+) of 400, mean error ([\d.]+)%, (\d+)% within 10%", done.stdout)
    assert [line[0] for line in lines] == ["dense", "with its own gates", "with our gates"]
    dense, theirs, ours = [(int(kept), float(error)) for _, kept, error, _ in lines]
    assert dense[0] == 400
    assert dense[1] < 3.0
    for kept, error in (theirs, ours):
        assert 0 < kept < 400
        assert error < 10.0

"""Contract tests of classes that are broken on purpose, in a process of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def failures_of(source: str, folder: Path, chosen: Iterable[str] = ("",)) -> set[tuple[str, str]]:
    """(class, test) of what fails of the tests in a module's source; ``chosen`` are node ids within it."""
    path = folder / "test_broken.py"
    path.write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"]
    nodes = [f"{path}{node}" for node in chosen]
    result = subprocess.run([*command, *nodes], capture_output=True, text=True, cwd=folder, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    return set(re.findall(r"^(?:FAILED|ERROR) \S+?::(\w+)::(\w+)", result.stdout, re.MULTILINE))

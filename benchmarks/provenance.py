"""Where a result comes from: what every script writes beside its figures."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

OURS = ("l0-calibrate", "l0-gates", "l0-core", "numpy", "scipy", "numba")


def provenance(*others: str) -> dict[str, Any]:
    """``versions`` of the installed among our distributions and others named, ``python`` and ``machine``."""
    versions = {}
    for name in (*OURS, *others):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def hand_out(report: dict[str, Any], file: Path | None) -> None:
    """Print a report, and write it to a file where one is wanted."""
    text = json.dumps(report, indent=2)
    print(text)
    if file is not None:
        file.write_text(text + "\n")


def of_peer() -> dict[str, str]:
    """The environment of a peer's process: one thread, and no path on which it would find ours for its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | threads

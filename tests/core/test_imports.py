"""What an import of the core loads, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("scipy", "torch", "pandas", "numba", "sklearn", "jinja2", "pytest", "hypothesis")


def loaded_by(code: str) -> set[str]:
    """Top-level modules of a fresh process that has run the code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_importing_the_core_loads_nothing_heavy():
    loaded = loaded_by("import l0_core")
    assert "l0_core" in loaded
    assert not loaded.intersection(HEAVY)
    # The plugins of other packages wait until a name is asked for.
    assert not {name for name in loaded if name.startswith("l0_")} - {"l0_core"}


def test_using_the_core_alone_loads_nothing_heavy():
    code = """
import numpy as np
import l0_core
gates = l0_core.get_distribution("hard_concrete")
log_alpha = np.array([-1.0, 2.0])
gates.mean(log_alpha), gates.sample(log_alpha, l0_core.get_backend("numpy").uniform(np.random.default_rng(0), (2,)))
l0_core.get_penalty("l0l2").gradient(log_alpha, log_alpha, gates)
l0_core.get_backend("numpy").linear_map(np.eye(2)).rmatvec(np.ones(2))
"""
    assert not loaded_by(code).intersection(HEAVY)


def test_listing_plugins_loads_no_implementation():
    loaded = loaded_by("import l0_core\nassert l0_core.plugins()")
    assert not loaded.intersection({"torch", "pandas", "sklearn", "scipy", "numba"})

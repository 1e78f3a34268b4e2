"""The example plugin, installed as anyone would install it and used in processes that know nothing of this tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "l0-plugin-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*command, "--target", str(target), str(EXAMPLE)])
    return target


def run(command: list[str], path: Path | None = None) -> str:
    """The output of the command, with the folder on the module path."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_tutorial_runs_and_prints_what_it_says(installed):
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join(text for kind, text in blocks if kind == "python")
    expected = "".join(text for kind, text in blocks if kind == "text")
    assert expected
    assert run([sys.executable, "-c", code], installed) == expected


def test_it_is_listed_only_where_it_is_installed(installed):
    code = (
        "import l0_core, sys\n"
        "print([(p.kind, p.name, p.version) for p in l0_core.plugins() if p.package == 'l0-plugin-example'])\n"
        "print(sorted(m for m in sys.modules if m.startswith('l0_plugin_example.')))"
    )
    listed, loaded = run([sys.executable, "-c", code], installed).splitlines()
    assert listed == str(
        [
            ("distribution", "logistic", "0.1.0"),
            ("gate", "contribution", "0.1.0"),
            ("penalty", "undecided", "0.1.0"),
        ]
    )
    assert loaded == "['l0_plugin_example.plugin']"
    assert run([sys.executable, "-c", code]).splitlines() == ["[]", "[]"]


def test_it_keeps_the_contracts(installed):
    output = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")], installed)
    assert re.search(r"\b\d{2,} passed", output), output
    assert "l0_plugin_example" not in sys.modules

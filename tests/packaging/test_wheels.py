"""Wheels as a user installs them: each package alone in a clean environment, without torch, with its data."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[2] / "packages"
NAMES = ("l0-core", "l0-gates", "l0-calibrate", "l0-torch", "l0-python")

USES = {
    "l0-core": "import l0_core; d = l0_core.get_distribution('hard_concrete'); print(len(l0_core.plugins()) > 0)",
    "l0-gates": "import l0_core; g = l0_core.get_gate('sample', target_samples=3); print(g is not None)",
    "l0-calibrate": "from l0_calibrate.demo import load_demo; import l0_calibrate; print(load_demo().n_targets == 167)",
}
"""What each is asked once it is there, those that need least first ..."""
WITHOUT = {"l0-core": ("scipy", "numba", "pandas"), "l0-gates": ("pandas",)}
"""... and what must not have come with it."""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """One wheel of each package, built from this tree."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in NAMES:
        build = [sys.executable, "-m", "build", "--quiet", "--wheel", "--no-isolation", "--outdir", str(folder)]
        done = subprocess.run([*build, str(PACKAGES / name)], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
    return {name: next(folder.glob(f"{name.replace('-', '_')}-*.whl")) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_carries_types_licence_and_nothing_but_its_package(wheels, name):
    with zipfile.ZipFile(wheels[name]) as wheel:
        held = wheel.namelist()
    module = "l0" if name == "l0-python" else name.replace("-", "_")
    assert f"{module}/py.typed" in held
    assert any(entry.endswith("licenses/LICENSE") for entry in held)
    assert {entry.split("/")[0].split("-")[0] for entry in held} <= {module, name.replace("-", "_")}


def test_the_demonstration_travels_in_the_wheel(wheels):
    with zipfile.ZipFile(wheels["l0-calibrate"]) as wheel:
        held = {Path(entry).name for entry in wheel.namelist() if "/demo/" in entry}
    assert {"matrix.npz", "targets.csv", "records.parquet"} <= held


def _installed(python):
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    )
    return {row["name"].lower(): row["version"] for row in json.loads(listed.stdout)}


@pytest.mark.network
@pytest.mark.slow
def test_a_package_alone_brings_no_torch(wheels, tmp_path):
    """One after the other, from the one that needs least to the one that needs most, into one environment."""
    venv.create(tmp_path / "clean", with_pip=True)
    clean = tmp_path / "clean" / "bin" / "python"
    ours = tmp_path / "ours.txt"
    ours.write_text("".join(f"{known} @ {wheel.as_uri()}\n" for known, wheel in wheels.items()))
    pip = [str(clean), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    before = []
    for name, use in USES.items():
        install = [*pip, "install", "--no-compile", "--constraint", str(ours), name]
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            probe = subprocess.run(
                [*pip, "install", "--dry-run", "--ignore-installed", "attrs"], check=False, timeout=600
            )
            assert probe.returncode, f"an index answers, yet {name} cannot be installed: {done.stderr}"
            pytest.skip("no package index answers")
        installed = _installed(clean)
        assert installed[name] == wheels[name].name.split("-")[1]
        assert {known for known in installed if known.startswith("l0-")} == {*before, name}
        assert not [known for known in installed if known.startswith(("torch", "nvidia", "triton"))]
        assert not [known for known in WITHOUT.get(name, ()) if known in installed]
        used = subprocess.run(
            [str(clean), "-I", "-c", use], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300
        )
        assert used.stdout.strip() == "True", used.stderr
        before.append(name)

from __future__ import annotations

import subprocess
import sys

import l0_torch


def test_every_public_name_is_there_and_listed():
    assert all(getattr(l0_torch, name) is not None for name in l0_torch.__all__)
    assert set(l0_torch._HOME_OF) | {"__version__"} == set(l0_torch.__all__)
    assert set(l0_torch.__all__) <= set(dir(l0_torch))


def test_neither_the_package_nor_its_plugin_imports_torch():
    code = "import sys, l0_torch, l0_torch.plugin; l0_torch.plugin.l0_backends(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

"""The kernels' decorator, also where nothing can be written."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import FunctionType

import numba
import numpy as np
import pytest

from l0_gates import jit as jit_module
from l0_gates.jit import fast_jit, inner_jit, jit, read_only


def add(a, b):
    return a + b


def test_compiles_and_caches():
    compiled = jit(add)
    assert compiled(2, 3) == 5
    assert compiled.stats is not None
    assert type(compiled._cache).__name__ == "FunctionCache"


def test_without_a_writable_place_the_kernel_still_compiles(monkeypatch):
    plain = numba.njit

    def njit(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'add': no locator available for file 'kernels.py'")
        return plain(*args, **options)

    monkeypatch.setattr(jit_module.numba, "njit", njit)
    compiled = jit(add)
    assert compiled(2, 3) == 5
    assert type(compiled._cache).__name__ == "NullCache"


def test_other_errors_of_numba_are_not_hidden(monkeypatch):
    def njit(*args, **options):
        raise RuntimeError("something else")

    monkeypatch.setattr(jit_module.numba, "njit", njit)
    with pytest.raises(RuntimeError, match="something else"):
        jit(add)


@pytest.mark.slow
def test_on_a_read_only_installation_in_a_process_of_its_own(tmp_path):
    """Numba itself refuses the cache: the module's folder and the home are read-only or no folders."""
    if os.geteuid() == 0:
        home = tmp_path / "home"
        home.write_text("a file, under which even root can make no folder")
        source = "<frozen place>/kernels.py"
    else:
        home = tmp_path / "home"
        home.mkdir(mode=0o500)
        folder = tmp_path / "installed"
        folder.mkdir()
        source = str(folder / "kernels.py")
    program = textwrap.dedent(f"""
        import os
        from l0_gates.jit import jit
        code = compile("def add(a, b): return a + b", {source!r}, "exec")
        space = {{"__name__": "kernels"}}
        exec(code, space)
        if os.path.isdir(os.path.dirname({source!r})):
            os.chmod(os.path.dirname({source!r}), 0o500)
        compiled = jit(space["add"])
        assert type(compiled._cache).__name__ == "NullCache", compiled._cache
        print(compiled(2, 3))
    """)
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment.update(HOME=str(home), XDG_CACHE_HOME=str(home), PYTHONDONTWRITEBYTECODE="1")
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "5"


class Installed:
    """A package with kernels in a folder, run in processes of their own, its machine code beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "kernels_of_a_test"
        self.folder.mkdir()
        self.write("__init__", "")
        self.write("deepest", "from l0_gates.jit import jit\n@jit\ndef by(x):\n    return 2.0 * x\n")
        inner = "from l0_gates.jit import inner_jit\n@inner_jit\ndef twice(x):\n    return by(x)\n"
        self.write("helper", f"from {self.folder.name}.deepest import by\n{inner}")
        self.write("numbers", "STEP = 0.5\n")
        self.types("types_before")

    def write(self, module: str, text: str) -> None:
        (self.folder / f"{module}.py").write_text(text)

    def types(self, module: str, first: str = "a", last: str = "b") -> None:
        self.module = module
        fields = f"    {first}: float\n    {last}: float\n"
        self.write(module, f"from typing import NamedTuple\nclass Pair(NamedTuple):\n{fields}")
        package = self.folder.name
        self.write(
            "kernels",
            f"from {package}.helper import twice\nfrom {package}.numbers import STEP\n"
            f"from {package}.{module} import Pair\nfrom l0_gates.jit import jit\n"
            "@jit\ndef value(pair):\n    return twice(pair.a) + STEP\n",
        )

    def run(self) -> tuple[float, int]:
        """(the kernel's value, how often its machine code came from the cache)."""
        package = self.folder.name
        program = (
            f"from {package}.kernels import value\nfrom {package}.{self.module} import Pair\n"
            "print(value(Pair(1.0, 0.0)), sum(value.stats.cache_hits.values()))"
        )
        environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
        paths = (str(self.folder.parent), os.environ.get("PYTHONPATH", ""))
        environment.update(PYTHONPATH=os.pathsep.join(filter(None, paths)), PYTHONDONTWRITEBYTECODE="1")
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        value, hits = ran.stdout.split()
        return float(value), int(hits)


def test_machine_code_of_other_sources_is_not_used(tmp_path):
    """As after an upgrade in place, which leaves the cache of the version before where it is."""
    installed = Installed(tmp_path)
    assert [installed.run() for _ in range(2)] == [(2.5, 0), (2.5, 1)]
    assert list(installed.folder.rglob("*.by-*"))
    assert not list(installed.folder.rglob("*.twice-*"))  # it is in the machine code of its caller
    installed.write("deepest", (installed.folder / "deepest.py").read_text().replace("2.0", "3.0"))
    assert [installed.run() for _ in range(2)] == [(3.5, 0), (3.5, 1)]  # the file of the kernel itself is as before
    installed.write("helper", (installed.folder / "helper.py").read_text().replace("by(x)", "by(x) - 1.0"))
    assert [installed.run() for _ in range(2)] == [(2.5, 0), (2.5, 1)]
    installed.write("helper", (installed.folder / "helper.py").read_text().replace("by(x) - 1.0", "by(x)"))
    installed.write("numbers", "STEP = 0.25\n")
    assert [installed.run() for _ in range(2)] == [(3.25, 0), (3.25, 1)]
    (installed.folder / "types_before.py").unlink()
    installed.types("types_after")  # numba would look for the module that is gone
    assert [installed.run() for _ in range(2)] == [(3.25, 0), (3.25, 1)]
    installed.types("types_after", first="b", last="a")
    assert [installed.run() for _ in range(2)] == [(0.25, 0), (0.25, 1)]


INTRINSIC = """
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
@intrinsic
def step(_typing):
    def code(context, builder, signature, arguments):
        return ir.Constant(ir.DoubleType(), 0.5)
    return types.float64(), code
"""


def test_machine_code_of_another_intrinsic_is_not_used(tmp_path):
    installed = Installed(tmp_path)
    installed.write("steps", INTRINSIC)
    package = installed.folder.name
    installed.write(
        "kernels",
        f"from {package}.steps import step\nfrom l0_gates.jit import jit\n"
        "@jit\ndef value(pair):\n    return pair.a + step()\n",
    )
    assert [installed.run() for _ in range(2)] == [(1.5, 0), (1.5, 1)]
    installed.write("steps", INTRINSIC.replace("0.5", "0.25"))
    assert [installed.run() for _ in range(2)] == [(1.25, 0), (1.25, 1)]


IN_PARTS = """
import numpy as np
from l0_gates.jit import fast_jit
@fast_jit
def part(x, y, scale, q):
    total = cross = 0.0
    for i in range(x.size):
        y[i] = x[i] + scale[i] / q * (2.0 * x[i] - y[i] - scale[i])
    for i in range(x.size):
        shrunk = max(y[i] - q * scale[i], 0.0) + min(y[i] + q * scale[i], 0.0)
        y[i] = min(max(shrunk / (1.0 + q * scale[i]), -scale[i]), scale[i])
    for i in range(x.size):
        change = y[i] - x[i]
        total += change * change / scale[i]
        cross += change * (y[i] - scale[i])
    for i in range(x.size):
        x[i] = q * (2.0 * y[i] - x[i]) + (1.0 - q) * scale[i]
    return total - 0.1 * cross
@fast_jit
def value(pair):
    random = np.linspace(0.1, 1.1, 1001) ** 0.3
    x, y, scale = random, random[::-1].copy(), 0.5 + random
    total = 0.0
    for k in range(20):
        total += part(x, y, scale, 0.3 + 0.1 * k / (k + 1.0))
    return total + x.sum()
"""


def test_a_kernel_of_several_is_the_same_compiled_and_from_the_cache(tmp_path):
    """To the last bit, though the first process has compiled its parts by themselves as well."""
    installed = Installed(tmp_path)
    installed.write("kernels", IN_PARTS)
    (compiled, none), (cached, once) = (installed.run() for _ in range(2))
    assert (none, once) == (0, 1)
    assert compiled == cached


def test_what_kernels_alone_call_is_compiled_into_them_and_plain_to_python():
    part = inner_jit(lambda a: 3 * a)

    def tripled(x):
        return part(x) + part(np.float64(x))

    assert isinstance(part, FunctionType)
    assert part(2) == 6
    assert jit(tripled)(2) == 12.0


def test_arrays_for_kernels_are_of_one_type_and_those_of_callers_stay_as_they_are():
    values, kept = np.arange(3.0), np.arange(3.0)
    kept.flags.writeable = False
    shown = read_only(values)
    assert numba.typeof(shown) == numba.typeof(read_only(kept)) == numba.typeof(kept) != numba.typeof(values)
    assert values.flags.writeable
    values[0] = 7.0
    assert shown[0] == 7.0


def test_a_kernel_goes_by_its_name():
    assert jit(add).__qualname__ == add.__qualname__ == "add"


def compensated(values):
    """Kahan's sum: what rounding loses is carried along, unless a compiler takes it for zero."""
    total, lost = 0.0, 0.0
    for value in values:
        term = value - lost
        following = total + term
        lost = (following - total) - term
        total = following
    return total


def quotient(a, b):
    return a / b


def is_endless(values):
    return values[0] == np.inf and np.isnan(values[1])


def test_kernels_add_in_the_order_written_and_know_infinity_and_nan():
    values = np.array([1.0, *[1e-16] * 1_000])
    assert jit(compensated)(values) == compensated(values.tolist()) > 1.0 + 9e-14
    assert fast_jit(compensated)(values) != compensated(values.tolist())  # asked for: terms may be regrouped
    assert jit(quotient)(1.0, 0.0) == np.inf
    assert fast_jit(is_endless)(np.array([np.inf, np.nan]))

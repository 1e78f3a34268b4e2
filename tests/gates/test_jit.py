"""The kernels' decorator, also where nothing can be written."""

import os
import subprocess
import sys
import textwrap

import numba
import pytest

from l0_gates import jit as jit_module
from l0_gates.jit import jit


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

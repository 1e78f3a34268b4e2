"""Code that readers are shown runs as it is written: fenced blocks and the examples of docstrings."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import itertools
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from l0_calibrate.cli.app import app

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "packages").glob("*/README.md"))]
WITH_CODE = {page.relative_to(ROOT).as_posix(): FENCED.findall(page.read_text(encoding="utf-8")) for page in PAGES}
LANGUAGES = ("python", "sh")
END = "-- the end of a block --"
INTERPRETER = f"""
import json, sys
for line in sys.stdin:
    exec(compile(json.loads(line), "page", "exec"), {{"__name__": "__main__"}})
    print({END!r}, flush=True)
"""
PACKAGES = ("l0_core", "l0_gates", "l0_calibrate", "l0_torch")


def _own_commands(code):
    """The arguments of each command of a block that has none but ours, as a shell splits them; None for another."""
    lines = code.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.strip()]
    return [words[1:] for words in commands] if all(words[:1] == ["l0-calibrate"] for words in commands) else None


@contextlib.contextmanager
def _interpreter(folder):
    """What code prints, run by one interpreter: to start one for each block of a page takes longer than most blocks.

    Blocks share no names.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen([sys.executable, "-c", INTERPRETER], cwd=folder, stderr=errors, **pipes) as process,
    ):

        def printed(code):
            process.stdin.write(json.dumps(code) + "\n")
            process.stdin.flush()
            shown = []
            for line in process.stdout:
                if line.rstrip("\n") == END:
                    return "".join(shown)
                shown.append(line)
            errors.seek(0)
            raise AssertionError(f"{code}\n{errors.read()}")

        yield printed


def _run(page, folder, monkeypatch):
    """What the blocks of a page print, blocks in a row of one language together.

    Our own commands run in this process: to start one for each would take longer than most of them do.
    """
    shown = []
    monkeypatch.chdir(folder)
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with _interpreter(folder) as printed:
        for language, blocks in itertools.groupby(WITH_CODE[page], key=lambda block: block[0]):
            assert language in LANGUAGES, f"{page} has a block of {language or 'no language'}: nothing runs it"
            code = "\n".join(block[1] for block in blocks)
            if language == "python":
                shown.append(printed(code))
                continue
            own = _own_commands(code)
            if own is not None:
                for arguments in own:
                    done = CliRunner().invoke(app, arguments)
                    assert done.exit_code == 0, f"{arguments}\n{done.output}\n{done.exception}"
                    shown.append(done.output)
                continue
            done = subprocess.run(
                ["bash", "-euc", code],
                cwd=folder,
                env={**os.environ, "PATH": commands},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{code}\n{done.stderr}"
            shown.append(done.stdout)
    return "".join(shown)


@pytest.mark.parametrize("page", [page for page, blocks in WITH_CODE.items() if blocks])
def test_the_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    _run(page, tmp_path, monkeypatch)


def test_a_command_that_fails_on_a_page_is_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(WITH_CODE, "page", [("sh", "l0-calibrate check \\\n  nowhere # a comment\n")])
    with pytest.raises(AssertionError, match=r"\['check', 'nowhere'\]"):
        _run("page", tmp_path, monkeypatch)
    assert _own_commands("pip install x\nl0-calibrate demo\n") is None


def test_a_block_that_fails_is_seen_and_blocks_share_no_names(tmp_path, monkeypatch):
    command = ("sh", "l0-calibrate --version\n")
    monkeypatch.setitem(WITH_CODE, "page", [("python", "a = 1\nprint(a)\n"), command, ("python", "print(a)\n")])
    with pytest.raises(AssertionError, match="NameError: name 'a' is not defined"):
        _run("page", tmp_path, monkeypatch)


def test_the_readme_shows_what_it_says(tmp_path, monkeypatch):
    assert _run("README.md", tmp_path, monkeypatch).split()[0] == "300"


def _modules_with_examples():
    for package in PACKAGES:
        folder = Path(importlib.import_module(package).__path__[0])
        for found in pkgutil.walk_packages([str(folder)], f"{package}."):
            file = folder.joinpath(*found.name.split(".")[1:])
            source = file / "__init__.py" if found.ispkg else file.with_suffix(".py")
            if ">>> " in source.read_text(encoding="utf-8"):
                yield found.name


@pytest.mark.parametrize("name", sorted(_modules_with_examples()))
def test_the_examples_of_docstrings_give_what_they_show(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0

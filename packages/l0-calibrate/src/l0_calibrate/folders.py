"""Writing a set of files whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from l0_core import InputError


def _standing(folder: Path) -> Path:
    """The folder, or the nearest of its parents that exists."""
    folder = folder.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    return folder


def _scratch(folder: Path) -> Path:
    """A new hidden folder on the same file system as ``folder`` will be on; InputError where none can be made."""
    standing = _standing(folder)
    if not standing.is_dir():
        raise InputError(f"{folder} cannot be written: {standing} is not a folder; choose another output folder")
    scratch = standing / f".{folder.name}-{uuid.uuid4().hex[:12]}.partial"
    try:
        scratch.mkdir()
    except OSError as fault:
        raise InputError(
            f"{folder} cannot be written: {fault.strerror or fault}; choose another output folder"
        ) from fault
    return scratch


def check_writable(folder: str | Path) -> None:
    """InputError where files could not be put into the folder (it need not exist); leaves nothing behind.

    Meant to be called before long work. Permissions alone do not tell (read-only mounts, quotas), so a
    folder is made and taken away.
    """
    _scratch(Path(folder)).rmdir()


@contextmanager
def folder_transaction(folder: str | Path) -> Iterator[Path]:
    """A scratch folder whose files all move into ``folder`` when the block ends, and none where it fails.

    Files of the same name are replaced, everything else in ``folder`` is left alone. An error or an
    interrupt while the files move puts the replaced ones back.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(folder)
    scratch = _scratch(folder)
    try:
        yield scratch
        try:
            _publish(scratch, folder)
        except OSError as fault:
            raise InputError(f"{folder} cannot be written: {fault}; nothing was changed") from fault
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, folder: Path) -> None:
    if not os.path.lexists(folder):
        made = _make_parents(folder.absolute().parent)
        try:
            scratch.rename(folder)
        except BaseException:
            for parent in made:
                parent.rmdir()
            raise
        return
    old = scratch.with_name(scratch.name + ".old")
    moves = [path.relative_to(scratch) for path in sorted(scratch.rglob("*")) if not path.is_dir()]
    for name in moves:
        if (folder / name).is_dir():
            raise IsADirectoryError(f"{folder / name} is a folder where a file must go")
    made, back, placed = [], [], []
    try:
        for name in moves:
            made += _make_parents((folder / name).parent)
            if os.path.lexists(folder / name):
                (old / name).parent.mkdir(parents=True, exist_ok=True)
                back.append(name)
                os.replace(folder / name, old / name)
            placed.append(name)
            os.replace(scratch / name, folder / name)
    except BaseException:
        for name in placed:
            if not (scratch / name).exists():  # it had moved
                (folder / name).unlink(missing_ok=True)
        for name in back:
            if os.path.lexists(old / name):
                os.replace(old / name, folder / name)
        for parent in reversed(made):
            shutil.rmtree(parent, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _make_parents(folder: Path) -> list[Path]:
    """Make a folder and its parents; returns those that were made, the outermost last."""
    made = []
    for parent in (folder, *folder.parents):
        if parent.exists():
            break
        made.append(parent)
    folder.mkdir(parents=True, exist_ok=True)
    return made

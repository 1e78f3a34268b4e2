"""Writing a set of files whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from l0_core import InputError

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Faults of which the number says all."""


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


def refuse_inputs(folder: str | Path, names: Sequence[str], inputs: Iterable[Path | None]) -> None:
    """InputError where files of these names, put into the folder, would take the place of what is read."""
    for path in inputs:
        for name in names:
            written = Path(folder) / name
            if path is not None and path.exists() and written.exists() and written.samefile(path):
                raise InputError(f"{written} is read, and would be written over; choose another output folder")


@contextmanager
def folder_transaction(folder: str | Path) -> Iterator[Path]:
    """A scratch folder whose files all move into ``folder`` when the block ends, and none where it fails.

    Files of the same name are replaced, everything else in ``folder`` is left alone. An error or an
    interrupt while the files move puts the replaced ones back.

    Raises
    ------
    InputError
        The folder cannot be written: the disk is full, say.
    """
    folder = Path(folder)
    scratch = _scratch(folder)
    try:
        yield scratch
        _publish(scratch, folder)
    except OSError as fault:
        raise InputError(f"{folder} cannot be written: {_reason(fault)}; nothing was changed") from fault
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _reason(fault: OSError) -> str:
    """What the system says, without numbers and names of scratch files, which some libraries leave out or put in."""
    return os.strerror(fault.errno) if fault.errno in _OF_THE_DISK else str(fault)


def check_file(path: str | Path) -> None:
    """InputError where a file could not be put there; asked before the work whose outcome it is to hold."""
    path = Path(path)
    folder = path.absolute().parent
    if path.is_dir():
        raise InputError(f"{path} cannot be written: it is a folder; name a file")
    if not folder.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}; make it, or name another file")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be written: the folder {path.parent} is read-only; name another file")


@contextmanager
def file_transaction(path: str | Path) -> Iterator[Path]:
    """A scratch file that takes the place of ``path`` when the block ends, and leaves it alone where it fails.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    path = Path(path)
    scratch = path.with_name(path.name + ".part")
    try:
        yield scratch
        os.replace(scratch, path)
    except OSError as fault:
        raise InputError(f"{path} cannot be written: {_reason(fault)}") from fault
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


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

"""Forms of CSV that are not read (semicolons, tabs, decimal commas, other encodings): which one a file has."""

from __future__ import annotations

import contextlib
import gzip
import re
import zlib
from pathlib import Path
from typing import BinaryIO, cast

_HEAD = 1 << 16
"""Bytes at the beginning of a file that tell its form: the names of the columns and some rows."""

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

_DECIMAL_COMMA = re.compile(r'"?[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+"?')

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def opened(path: Path) -> BinaryIO:
    """The bytes of the text, unpacked where the file is gzip's."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix.lower() == ".gz" else open(path, "rb")


def other_form(path: Path) -> str | None:
    """In which form the CSV file is that is not read, and what to do; None where it looks as it should.

    Only names of columns without any comma are taken to be separated by something else: there a table of several
    columns has nothing else to be.
    """
    with opened(path) as file:
        head = file.read(_HEAD)
    if head.startswith(_UTF_16) or b"\x00" in head.partition(b"\n")[0]:
        return _said(path, ["it is UTF-16 text or no text at all, not UTF-8"], {"encoding": "utf-16"})
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    if not lines:
        return None
    separator = _separator(lines[0])
    if separator is None:
        return None
    faults, settings = [f"its columns are separated by {_SEPARATORS[separator]}"], {"sep": separator}
    fields = [field for line in lines[1:-1] or lines[1:] for field in line.split(separator)]
    if any(map(_DECIMAL_COMMA.fullmatch, fields)):
        faults.append("its numbers have decimal commas")
        settings["decimal"] = ","
    if undecodable(path) is not None:
        faults.append("it is not UTF-8 text")
        settings["encoding"] = "cp1252"
    return _said(path, faults, settings)


def undecodable(path: Path) -> str | None:
    """Where the file is not UTF-8: its first such line, and what to do; None where it is, or cannot be read at all."""
    with contextlib.suppress(OSError, EOFError, zlib.error), opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as fault:
                around = line[max(fault.start - 20, 0) : fault.start + 20].decode("cp1252", errors="replace")
                where = f"line {number:,} is not UTF-8 text; as Windows-1252 it has {around.strip()!r} there"
                return _said(path, [where], {"encoding": "cp1252"})
    return None


def _separator(names: str) -> str | None:
    """What the names of the columns are separated by, if not by commas."""
    bare = re.sub(r'"[^"]*"', "", names)
    counts = {separator: bare.count(separator) for separator in _SEPARATORS}
    most = max(counts, key=lambda separator: counts[separator])
    return most if counts[most] and "," not in bare else None


def _said(path: Path, faults: list[str], settings: dict[str, str]) -> str:
    given = "".join(f", {name}={value!r}" for name, value in settings.items())
    return (
        f"{' and '.join(faults)}; CSV is read with commas between columns, decimal points and in UTF-8: save it so, or "
        f"convert it by pandas.read_csv({path.name!r}{given}).to_csv('new.csv', index=False), "
        "with dtype={'CODE': str} for codes that begin with zeros"
    )

"""Tables as Arrow reads them, in memory that goes back to the system when they are dropped.

Arrow's own allocator keeps 6 to 9 MB of what reading took, asked to release it or not, which is as much as a small
matrix; that of the C library does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa

_TEXT = ("record_id", "name", "sum_of", "count_of", "where")
"""Columns read from a CSV file as they are written: ids keep their leading zeros."""

_WORTH_THREADS = 2**24
"""Bytes of a file."""

_CODE = r"^[+-]?0[0-9]"
"""How a code begins that is no number: ``06037``."""


def _pays_threads(path: Path) -> bool:
    """Whether Arrow is to read a file with threads; each would keep memory, of which a small problem has little."""
    return path.stat().st_size >= _WORTH_THREADS


def _opened(path: Path) -> pa.NativeFile:
    """A file, mapped: one that is read goes through Arrow's own allocator, whatever the table goes through."""
    import pyarrow as pa

    file = pa.memory_map(str(path)) if path.stat().st_size else pa.OSFile(str(path))  # nothing cannot be mapped
    return pa.CompressedInputStream(file, "gzip") if path.name.lower().endswith(".gz") else file


def read_parquet(path: Path) -> pd.DataFrame:
    """The table of one file; ValueError or OSError where it cannot be read."""
    import pyarrow as pa
    from pyarrow import dataset

    pool, threads = pa.system_memory_pool(), _pays_threads(path)
    with _opened(path) as file:
        table = dataset.ParquetFileFormat().make_fragment(file).to_table(use_threads=threads, memory_pool=pool)
    frame: pd.DataFrame = table.to_pandas(memory_pool=pool)
    return frame


def read_csv(path: Path) -> pd.DataFrame:
    """By Arrow, which refuses rows that are too short or too long and rounds every number correctly."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    pool = pa.system_memory_pool()

    def read(text: Sequence[str], only: Sequence[str] | None = None) -> pa.Table:
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(text, pa.string()),
            include_columns=only,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        parse, how = csv.ParseOptions(newlines_in_values=True), csv.ReadOptions(use_threads=_pays_threads(path))
        with _opened(path) as file:
            return csv.read_csv(file, parse_options=parse, convert_options=convert, read_options=how, memory_pool=pool)

    table = read(_TEXT)
    twice = pd.Index(table.column_names)
    if twice.has_duplicates:
        raise ValueError(f"the column {twice[twice.duplicated()][0]!r} is there twice")
    for field in table.schema:
        if pa.types.is_binary(field.type):
            raise ValueError(f"column {field.name!r} is not UTF-8 text")
    whole = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    as_written = read(whole, whole).columns if whole else ()
    for name, column in zip(whole, as_written, strict=True):
        if pc.any(pc.match_substring_regex(column, _CODE, memory_pool=pool)).as_py():
            table = table.set_column(table.column_names.index(name), name, column)
    frame: pd.DataFrame = table.to_pandas(memory_pool=pool, use_threads=False)
    return frame

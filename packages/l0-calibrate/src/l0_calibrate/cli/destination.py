"""Where a command that fits writes what it has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import attrs
import typer


@attrs.frozen
class Destination:
    """The result."""

    out: Annotated[Path, typer.Option("--out", help="Folder for the result, written whole or not at all.")]
    csv: Annotated[
        bool, typer.Option("--csv", help="Write each table as .csv too, for programs that do not read .parquet.")
    ] = False

    def check(self, inputs: Iterable[Path | None], also: Sequence[str] = ()) -> None:
        """InputError where the files of a run, and ``also`` tables of these names, cannot be written there.

        Meant to be called before long work; no file of ``inputs`` may be written over.
        """
        from l0_calibrate.folders import check_writable, refuse_inputs
        from l0_calibrate.result.files import WRITTEN, csv_name, refuse_folder_of_problem

        refuse_folder_of_problem(self.out)
        names = [*WRITTEN, *also]
        if self.csv:
            names += [csv_name(name) for name in names if name.endswith(".parquet")]
        refuse_inputs(self.out, names, inputs)
        check_writable(self.out)

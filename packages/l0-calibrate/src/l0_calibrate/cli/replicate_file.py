"""Replicate weights on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
import pandas as pd
import typer

from l0_calibrate.cli.sources import Source
from l0_calibrate.problem import CalibrationProblem
from l0_core import InputError


@attrs.frozen
class ReplicateFile:
    """Replicate weights."""

    replicates: Annotated[
        Path | None,
        typer.Option("--replicates", metavar="FILE", help="Replicate weights of the records, a column each."),
    ] = None
    replicate_columns: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN[,PATTERN]",
            help="Columns of that file that are replicate weights, such as 'repwt*'; all but the ids by default.",
        ),
    ] = None

    def __attrs_post_init__(self) -> None:
        if self.replicate_columns is not None and self.replicates is None:
            raise InputError("--replicate-columns names columns of --replicates FILE; give both")

    def read(self, problem: CalibrationProblem, source: Source, *, calibrated: bool = False) -> pd.DataFrame | None:
        """The replicate weights in the order of the problem, a column each; None where no file is given."""
        from l0_calibrate.problem.replicate_weights import read_replicates

        if self.replicates is None:
            return None
        patterns = None if self.replicate_columns is None else tuple(self.replicate_columns.split(","))
        return read_replicates(
            self.replicates, problem, patterns=patterns, record_id=source.record_id, calibrated=calibrated
        )

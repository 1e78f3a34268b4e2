"""Where a problem comes from on the command line, and what the commands show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
import pandas as pd
import typer

from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.problem.files import read_table
from l0_core import InputError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]


WeightOption = Annotated[
    str | None,
    typer.Option("--weight", help="Column of the initial weight in the microdata; initial_weight by default."),
]
IdOption = Annotated[
    str | None,
    typer.Option(
        "--record-id", help="Column of the ids in the microdata; record_id by default, else they are numbered."
    ),
]
MembersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--members",
        metavar="NAME=FILE",
        help="What records consist of (person=persons.csv), for targets with that entity; may be repeated.",
    ),
]


@attrs.frozen
class Source:
    """The problem: a folder, separate files, or microdata and declared targets."""

    problem: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PROBLEM]",
            help="A folder with matrix.npz, targets.csv|.parquet and records.parquet|.csv.",
            show_default=False,
        ),
    ] = None
    matrix: Annotated[Path | None, typer.Option("--matrix", help="Sparse matrix (.npz), targets x records.")] = None
    targets: Annotated[Path | None, typer.Option("--targets", help="Targets (.csv or .parquet).")] = None
    records: Annotated[Path | None, typer.Option("--records", help="Records with their initial weights.")] = None
    microdata: Annotated[
        Path | None,
        typer.Option("--microdata", help="Microdata (.parquet or .csv); --targets then declares sum_of/where."),
    ] = None
    weight: WeightOption = None
    record_id: IdOption = None
    members: MembersOption = None

    def tables_of_members(self) -> dict[str, pd.DataFrame]:
        """The tables of ``--members`` by name."""
        return tables_of(self.members)

    @property
    def files(self) -> tuple[Path | None, ...]:
        """The files that are named one by one."""
        return (self.matrix, self.targets, self.records, self.microdata, *_named(self.members or []).values())

    def load(self, members: dict[str, pd.DataFrame] | None = None) -> CalibrationProblem:
        """Read it, but for tables of members that are at hand; InputError where nothing or too much names a problem."""
        separate = self.matrix is not None or self.records is not None
        if self.microdata is not None:
            if self.problem is not None or separate or self.targets is None:
                raise InputError("--microdata FILE goes with --targets FILE and with nothing else that names a problem")
            return CalibrationProblem.load_microdata(
                self.microdata,
                self.targets,
                weight="initial_weight" if self.weight is None else self.weight,
                record_id=self.record_id,
                members=self.tables_of_members() if members is None else members,
            )
        if self.weight is not None:
            raise InputError("--weight names a column of --microdata FILE; a problem has its own weights")
        if self.record_id is not None:
            raise InputError("--record-id names a column of --microdata FILE; a problem has its own ids")
        if self.members:
            raise InputError("--members go with --microdata FILE; a problem has its matrix")
        if self.problem is not None:
            if separate or self.targets is not None:
                raise InputError("give a PROBLEM folder or --matrix/--targets/--records, not both")
            return CalibrationProblem.load(self.problem)
        if self.matrix is None or self.targets is None or self.records is None:
            raise InputError(
                "no problem given: name a folder, or --matrix, --targets and --records, or --microdata and --targets"
            )
        return CalibrationProblem.load(matrix=self.matrix, targets=self.targets, records=self.records)


def tables_of(members: list[str] | None) -> dict[str, pd.DataFrame]:
    """The tables of ``--members`` by name."""
    return {name: read_table(path) for name, path in _named(members or []).items()}


def _named(members: list[str]) -> dict[str, Path]:
    """Files by the name before the first ``=``."""
    files: dict[str, Path] = {}
    for member in members:
        name, sign, path = member.partition("=")
        if not (name and sign and path):
            raise InputError(f"--members {member} must be NAME=FILE, such as person=persons.parquet")
        if name in files:
            raise InputError(f"--members {name} is given twice")
        files[name] = Path(path)
    return files


@attrs.frozen
class Screen:
    """What is shown."""

    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False
    json_: JsonOption = False

    @property
    def silent(self) -> bool:
        """Whether neither tables nor progress are wanted."""
        return self.quiet or self.json_

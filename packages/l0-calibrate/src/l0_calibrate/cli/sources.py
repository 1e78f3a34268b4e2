"""Where a problem comes from on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l0_calibrate.problem import CalibrationProblem
from l0_core import InputError

ProblemArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PROBLEM]",
        help="A folder with matrix.npz, targets.csv|.parquet and records.parquet|.csv.",
        show_default=False,
    ),
]
MatrixOption = Annotated[Path | None, typer.Option("--matrix", help="Sparse matrix (.npz), targets x records.")]
TargetsOption = Annotated[Path | None, typer.Option("--targets", help="Targets (.csv or .parquet).")]
RecordsOption = Annotated[Path | None, typer.Option("--records", help="Records with their initial weights.")]
MicrodataOption = Annotated[
    Path | None, typer.Option("--microdata", help="Microdata (.parquet or .csv); --targets then declares sum_of/where.")
]
WeightOption = Annotated[str, typer.Option("--weight", help="Column of the initial weight in the microdata.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]


def load_problem(
    problem: Path | None,
    matrix: Path | None = None,
    targets: Path | None = None,
    records: Path | None = None,
    microdata: Path | None = None,
    weight: str = "initial_weight",
) -> CalibrationProblem:
    """The problem of a folder, of separate files, or of microdata and declared targets."""
    if microdata is not None:
        if problem is not None or matrix is not None or records is not None or targets is None:
            raise InputError("--microdata FILE goes with --targets FILE and with nothing else that names a problem")
        return CalibrationProblem.load_microdata(microdata, targets, weight=weight)
    if problem is not None:
        if matrix is not None or targets is not None or records is not None:
            raise InputError("give a PROBLEM folder or --matrix/--targets/--records, not both")
        return CalibrationProblem.load(problem)
    if matrix is None or targets is None or records is None:
        raise InputError(
            "no problem given: name a folder, or --matrix, --targets and --records, or --microdata and --targets"
        )
    return CalibrationProblem.load(matrix=matrix, targets=targets, records=records)

"""``report``: one offline HTML file about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l0_calibrate.cli.display import console


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder that fit wrote.")],
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file; RUN_DIR/report.html by default.")] = None,
) -> None:
    """Write one HTML file that opens without a network and can be mailed.

    Example: l0-calibrate report run
    """
    from l0_calibrate.result.report import report_of_folder

    written = report_of_folder(run, run / "report.html" if out is None else out)
    console().print(f"written: {written}", soft_wrap=True)

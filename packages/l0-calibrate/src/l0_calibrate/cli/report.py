"""``report``: one offline HTML file about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l0_calibrate.cli.display import console, json_text
from l0_calibrate.cli.sources import JsonOption


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder that fit wrote.")],
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file; RUN_DIR/report.html by default.")] = None,
    json_: JsonOption = False,
) -> None:
    """Write one HTML file that opens without a network and can be mailed.

    Example: l0-calibrate report run
    """
    from l0_calibrate.result.report import report_of_folder

    written = report_of_folder(run, run / "report.html" if out is None else out)
    if json_:
        print(json_text({"report": str(written)}))
    else:
        console().print(f"written: {written}", soft_wrap=True)

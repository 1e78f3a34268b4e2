"""One offline HTML file about a run: the numbers, the picture, groups, targets, records (extra ``[report]``)."""

from __future__ import annotations

import base64
import io
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l0_calibrate.folders import check_file, file_transaction
from l0_calibrate.result.diagnostics import share_text
from l0_calibrate.result.tables import RunTables
from l0_core.errors import MissingDependencyError

if TYPE_CHECKING:
    from l0_calibrate.result.weighted import Weighted

MOST_TARGETS = 500
"""Rows of the table of targets; the rest is in ``targets.parquet``, and a page must stay one that can be mailed."""

MOST_RECORDS = 15

_STATUS = {
    "optimal": "The fit on the kept records is within its tolerance of the best possible one.",
    "converged": "The fit has settled; its distance from the best possible one is not certified to the tolerance.",
    "stalled": "The fit stopped getting better before its tolerance was certified.",
    "budget_spent": "The time or the number of iterations was spent: the weights are the best found until then.",
    "exact": "Every total is met exactly, by the weights that are nearest to the initial ones.",
    "infeasible": "What was asked cannot be met together; the weights are the nearest found.",
}


def write_report(result: Weighted, path: Path) -> Path:
    """Write the report of a result; InputError where the file cannot be written."""
    check_file(path)
    return _write(path, _page(RunTables.of(result)))


def report_of_folder(folder: Path, path: Path) -> Path:
    """Write the report of a folder that ``fit`` wrote.

    Raises
    ------
    InputError
        The folder is not one of a run, or the file cannot be written.
    """
    run = RunTables.of_folder(folder)  # first: where it is misspelt, so is the file within it
    check_file(path)
    return _write(path, _page(run))


def _page(run: RunTables) -> str:
    try:
        import jinja2

        from l0_calibrate.result.plots import overview_figure
    except ImportError as error:
        raise MissingDependencyError(
            f"a report needs {error.name}, which is not installed: pip install 'l0-calibrate[report]'"
        ) from error
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("l0_calibrate.result", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=_number, percent=_percent, share=share_text, signed=_signed)
    picture = io.BytesIO()
    overview_figure(run).savefig(picture, dpi=110, format="png")
    page: str = templates.get_template("report.html.j2").render(
        run=run,
        summary=run.summary,
        command=shlex.join(run.summary.get("command", ())),  # runs of earlier versions have none
        verdict=_STATUS.get(run.summary["status"], ""),
        picture=base64.b64encode(picture.getvalue()).decode(),
        rows=[("initial", run.diagnostics_before), ("calibrated", run.diagnostics)],
        groups=run.groups(),
        targets=run.worst(MOST_TARGETS),
        targets_left=max(0, len(run.targets) - MOST_TARGETS),
        records=run.heaviest(MOST_RECORDS),
    )
    return page


def _number(value: Any, digits: int = 4) -> str:
    """Thousands marked, four digits where small; a dash for nothing."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) >= 1000 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def _percent(value: Any, decimals: int = 1) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.{decimals}f} %"


def _signed(value: Any) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:+,.1f} %"


def _write(path: Path, text: str) -> Path:
    with file_transaction(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
    return path

"""One offline HTML file about a run: the numbers, the picture, the targets (extra ``[report]``)."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from l0_calibrate.result.result import CalibrationResult
from l0_core import InputError

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1c2733}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid #dde3e8;"
    "text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:100%}"
)
_NUMBERS = (
    "status", "loss", "loss_capped", "gap", "within_10_percent", "kept", "ess", "design_effect", "max_ratio",
    "top_share", "total_weight", "spread", "seed", "fingerprint",
)  # fmt: skip


def _page(summary: dict[str, Any], targets: pd.DataFrame, picture: bytes | None) -> str:
    rows = "".join(f"<tr><td>{name}</td><td>{html.escape(str(summary.get(name)))}</td></tr>" for name in _NUMBERS)
    worst = targets.reindex(targets["relative_error"].abs().sort_values(ascending=False).index)
    table = worst.to_html(index=False, float_format=lambda value: f"{value:,.5g}", border=0)
    image = ""
    if picture is not None:
        image = f'<img alt="targets and weights" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
    options = html.escape(
        json.dumps({k: summary.get(k) for k in ("options", "versions", "inputs", "timings")}, indent=1)
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Calibration</title><style>{_STYLE}</style>'
        f"<h1>Calibration: {summary.get('kept')} of {summary.get('records')} records, "
        f"{summary.get('targets')} targets</h1>"
        f"{image}<table>{rows}</table><h2>Targets, the worst first</h2>{table}"
        f"<h2>Where it comes from</h2><pre>{options}</pre></html>\n"
    )


def _write(path: Path, text: str) -> Path:
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return path


def write_report(result: CalibrationResult, path: Path) -> Path:
    """Write the report of a result, with its picture."""
    from l0_calibrate.result.plots import overview_figure

    buffer = io.BytesIO()
    overview_figure(result).savefig(buffer, dpi=110, format="png")
    return _write(path, _page(result.summary(), result.targets, buffer.getvalue()))


def report_of_folder(folder: Path, path: Path) -> Path:
    """Write the report of a folder that ``fit`` wrote (the picture needs the problem, so it is left out).

    Raises
    ------
    InputError
        The folder is not one of a run.
    """
    try:
        summary = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        targets = pd.read_parquet(folder / "targets.parquet")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is not the folder of a run ({error}); give what fit wrote with --out") from error
    return _write(path, _page(summary, targets, None))

"""Tables and progress: a bar on a terminal, plain lines when piped, nothing when quiet."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.diagnostics import MET, Diagnostics, diagnose, share_text
from l0_calibrate.result.weighted import Weighted
from l0_calibrate.watch import Progress, Watch, unwatched

Row = tuple[str, Diagnostics, float | None, float | None, str]
"""(label, diagnostics, gap, seconds, status) of some weights."""

MOST_NOTES = 10
"""Notes that are printed: each of thousands of domains may have its own."""

PLAIN_EVERY = 2.0
"""Seconds between two plain lines."""

_NOT_ALWAYS = (
    "replicates.parquet", "report.html", "small.parquet", "small_*.parquet",
    "weights.csv", "targets.csv", "replicates.csv", "small.csv", "small_*.csv",
)  # fmt: skip
"""Files of a run that another run into the same folder may leave as they are."""


def console() -> Console:
    """Standard output, wide enough for the tables where there is no terminal. Brackets in names are no markup."""
    width = None if sys.stdout.isatty() else 120
    return Console(highlight=False, markup=False, width=width)


def json_text(value: Any) -> str:
    """Strict JSON: null for what is not a finite number."""

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: plain(inner) for key, inner in part.items()}
        if isinstance(part, list | tuple):
            return [plain(inner) for inner in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    return json.dumps(plain(value), indent=2, default=str, allow_nan=False)


def number(value: float | None, digits: int = 4) -> str:
    """A number for a table: no NaN, thousands marked."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= 1 else f"{value:.{digits}f}"


@contextmanager
def progress(quiet: bool) -> Iterator[Watch]:
    """A watch that shows a run: loss or objective (see `Progress.loss`), records kept, time left."""
    if quiet:
        yield unwatched
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield from _plain_lines()


@contextmanager
def waiting(what: str, quiet: bool) -> Iterator[None]:
    """Show that something of unknown length is going on: a clock on a terminal, one line when piped."""
    if quiet:
        yield
    elif sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
            bar.add_task(what, total=None)
            yield
    else:
        print(f"{what} ...", file=sys.stderr, flush=True)
        yield


_OF_SELECTORS = {"select", "exchange"}
"""Stages whose events tell the loss; solvers tell their objective, with the price on unequal weights."""


def _loss(event: Progress) -> str:
    name = "loss" if event.stage in _OF_SELECTORS else "objective"
    return f"{name} -" if event.loss is None else f"{name} {event.loss:.5f}"


def _fields(event: Progress) -> dict[str, Any]:
    return {"loss": _loss(event), "kept": event.kept, "domain": _domain(event)}


def _domain(event: Progress) -> str:
    return f"  {event.domain}" if event.domain else ""


def _bar() -> Iterator[Watch]:
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[loss]}  kept {task.fields[kept]:,}{task.fields[domain]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(event: Progress) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = int(bar.add_task(event.stage, total=1.0, **_fields(event)))
            bar.update(
                tasks[event.stage],  # type: ignore[arg-type]
                completed=min(event.fraction, 1.0),
                **_fields(event),
            )

        yield show


def _plain_lines() -> Iterator[Watch]:
    """A line every few seconds, and where each stage ended; of many domains the former alone."""
    latest: Progress | None = None
    printed: Progress | None = None
    due = -math.inf

    def show(event: Progress) -> None:
        nonlocal latest, printed, due
        if latest is not None and printed is not latest and event.stage != latest.stage and not event.domain:
            _print_line(latest)
        latest = event
        if time.monotonic() >= due:  # the seconds of an event begin anew with each stage
            _print_line(event)
            printed, due = event, time.monotonic() + PLAIN_EVERY

    yield show
    if latest is not None and printed is not latest:
        _print_line(latest)


def _print_line(event: Progress) -> None:
    gap = "" if event.gap is None else f"  gap {100 * event.gap:.2f} %"
    print(
        f"{event.stage:<8} {100 * min(event.fraction, 1.0):3.0f} %  {_loss(event)}{gap}  "
        f"kept {event.kept:,}  {event.seconds:.1f} s{_domain(event)}",
        file=sys.stderr,
        flush=True,
    )


def comparison(rows: Sequence[Row]) -> Table:
    """Weights side by side: (label, diagnostics, gap, seconds, status) a row."""
    table = Table(title="Weights", title_justify="left")
    table.add_column("weights")
    for name in (
        "records",
        "loss",
        "within 10 %",
        "ESS",
        "design effect",
        "largest ratio",
        "gap",
        "seconds",
        "status",
    ):
        table.add_column(name, justify="right")
    for label, d, gap, seconds, status in rows:
        table.add_row(
            label,
            f"{d.kept:,}",
            f"{d.loss:.4f}",
            share_text(d.within_10_percent),
            f"{d.ess:,.0f}",
            number(d.design_effect, 3),
            number(d.max_ratio, 3),
            "-" if gap is None else f"{100 * gap:.2f} %",
            "-" if seconds is None else f"{seconds:.2f}",
            status,
        )
    return table


def worst_targets(problem: CalibrationProblem, weights: np.ndarray, count: int = 10) -> Table:
    """The targets that the weights miss by most, by name."""
    errors = problem.relative_errors(weights)
    estimates = problem.estimates(weights)
    table = Table(title="Worst targets", title_justify="left")
    for name, justify in (("target", "left"), ("wanted", "right"), ("estimate", "right"), ("relative error", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for i in np.argsort(-np.abs(errors), kind="stable")[:count]:
        table.add_row(
            str(problem.target_names[i]),
            number(float(problem.targets[i])),
            number(float(estimates[i])),
            f"{round(100 * errors[i], 1) + 0.0:+.1f} %",
        )
    return table


def changed_columns(totals: pd.DataFrame, count: int = 20) -> Table:
    """The rows of `column_totals` that changed by most; those that were 0 and are not come first."""
    title = f"Columns of the records, the {count} of {len(totals):,} totals that changed by most"
    table = Table(title="Columns of the records" if len(totals) <= count else title, title_justify="left")
    for name, justify in (("column", "left"), ("before", "right"), ("after", "right"), ("change", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    certain = "standard_error" in totals.columns
    if certain:
        table.add_column("standard error", justify="right")
    by = totals["change"].abs().where(totals["before"] != 0, np.where(totals["after"] != 0, np.inf, -1.0))
    for i in np.argsort(-by.to_numpy(), kind="stable")[:count]:
        row = totals.iloc[i]
        table.add_row(
            str(row["column"]) if pd.isna(row["value"]) else f"{row['column']} = {row['value']}",
            number(row["before"]),
            number(row["after"]),
            "-" if np.isnan(row["change"]) else f"{round(100 * row['change'], 1) + 0.0:+.1f} %",
            *([number(row["standard_error"])] if certain else []),
        )
    return table


def show_run(result: Weighted, written: list[Path]) -> None:
    """What a command that fits has found and where it is."""
    screen, problem = console(), result.problem
    before = diagnose(problem, problem.initial_weights)
    seconds = result.timings.get("total")
    rows = [("initial", before, None, None, ""), ("fitted", result.diagnostics, result.gap, seconds, result.status)]
    screen.print(comparison(rows))
    if result.diagnostics.worst_error > MET:
        screen.print(worst_targets(problem, result.weights))
    if result.method_line:
        screen.print(result.method_line, soft_wrap=True)
    for note in result.notes[:MOST_NOTES]:
        screen.print(f"note: {note}")
    if len(result.notes) > MOST_NOTES:
        screen.print(f"note: {len(result.notes) - MOST_NOTES:,} more notes are in result.json")
    screen.print("written: " + ", ".join(str(path) for path in written), soft_wrap=True)
    there = [path for name in _NOT_ALWAYS for path in sorted(written[0].parent.glob(name))]
    old = [str(path) for path in there if path not in written]
    if old:
        screen.print("of an earlier run, left as it is: " + ", ".join(old), soft_wrap=True)

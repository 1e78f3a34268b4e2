"""``check``: what can be known about a problem before any weight is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import attrs
import typer
from rich.table import Table
from rich.text import Text

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.choices import Wanted
from l0_calibrate.cli.display import console, json_text, waiting
from l0_calibrate.cli.sources import JsonOption, Source
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem, Disagreement, Finding, preflight
from l0_calibrate.problem.finding import by_gravity
from l0_calibrate.problem.labels import naming
from l0_core import InputError

_COLOUR = {"error": "red", "warning": "yellow", "info": "cyan"}


def findings_table(findings: Sequence[Finding], most: int = 30) -> Table:
    """The findings, the gravest first."""
    table = Table(title="Pre-flight", title_justify="left")
    table.add_column("severity")
    table.add_column("finding", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for finding in findings[:most]:
        colour = _COLOUR.get(finding.severity, "white")
        table.add_row(Text(finding.severity, style=colour), finding.message, finding.remedy)
    if len(findings) > most:
        table.add_row("", f"... and {len(findings) - most} more (use --json to see them all)", "")
    return table


def contradictions_table(disagreements: Sequence[Disagreement], most: int = 12) -> Table:
    """Totals that contradict each other, the worst first."""
    table = Table(title="Totals that contradict each other, the worst first", title_justify="left")
    table.add_column("total", overflow="fold")
    table.add_column("against", overflow="fold")
    table.add_column("difference", justify="right")
    table.add_column("what to do", overflow="fold")
    for found in disagreements[:most]:
        table.add_row(
            f"{found.whole}\n{found.value:,.6g}",
            f"{found.against}\n{found.parts_value:,.6g}",
            f"{found.difference:+,.6g}\n{found.relative:+.2%}",
            found.remedy,
        )
    if len(disagreements) > most:
        table.add_row(f"... and {len(disagreements) - most:,} more (--json has them all)", "", "", "")
    return table


def describe(problem: CalibrationProblem) -> str:
    """One line about the size of a problem."""
    return (
        f"{problem.n_targets:,} targets x {problem.n_records:,} records, {problem.matrix.nnz:,} non-zeros, "
        f"initial weights sum to {problem.initial_weights.sum():,.0f}"
    )


@bundled
def check(
    source: Source,
    wanted: Wanted,
    max_weight_ratio: Annotated[
        float | None, typer.Option(help="Bound to test the reach of the targets under.")
    ] = None,
    min_weight_ratio: Annotated[float | None, typer.Option(help="The same from below.")] = None,
    keep: Annotated[
        int | None, typer.Option(help="Records that will be kept: ratios are then those of fit --keep.")
    ] = None,
    share: Annotated[float | None, typer.Option(help="The same as a fraction of the records.")] = None,
    exactly: Annotated[
        bool,
        typer.Option(
            "--exactly",
            help="Also whether all targets can be met exactly, and the smallest bounds of g-weights that do.",
        ),
    ] = False,
    time_limit: Annotated[float | None, typer.Option(help="Seconds for --exactly.")] = None,
    json_: JsonOption = False,
) -> None:
    """Pre-flight: shapes, support, reachable ranges under the bounds, disagreeing totals, memory.

    Example: l0-calibrate check problem_dir --keep 4000 --max-weight-ratio 5
    """
    if time_limit is not None and not exactly:
        raise InputError("--time-limit is for --exactly: the rest of the pre-flight is quick")
    loaded = wanted.on(source.load())
    kept = Options(keep=keep, share=share).budget(loaded.n_records)
    scale_up = 1.0 if kept is None else loaded.n_records / kept
    low, high = (None if ratio is None else ratio * scale_up for ratio in (min_weight_ratio, max_weight_ratio))
    findings = preflight(loaded, max_weight_ratio=high, min_weight_ratio=low)
    if exactly:
        from l0_calibrate.survey import exactness

        with waiting("whether all targets can be met exactly", json_):
            findings = by_gravity([*findings, exactness(loaded, time_limit)])
    if json_:
        print(json_text([attrs.asdict(finding) for finding in findings]))
    else:
        out = console()
        out.print(describe(loaded))
        if loaded.target_info is not None:
            out.print(
                f"columns that describe the targets, and say nothing else: {naming(loaded.target_info.columns, 20)}"
            )
        out.print(findings_table(findings) if findings else "no findings")
        contradictions = [found for finding in findings for found in finding.disagreements]
        if contradictions:
            out.print(contradictions_table(sorted(contradictions, key=lambda found: found.rank)))
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)

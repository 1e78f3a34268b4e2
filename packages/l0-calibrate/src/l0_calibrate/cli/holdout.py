"""``holdout``: how well targets are met that took no part in the fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.choices import Aims, Choices, Count, Effort, Method, Weights
from l0_calibrate.cli.display import console, json_text, progress
from l0_calibrate.cli.sources import Screen, Source
from l0_calibrate.result.diagnostics import share_text
from l0_core import InputError


@bundled
def holdout(
    *,
    by: Annotated[
        str, typer.Option("--by", metavar="COLUMN", help="Column of the targets: equal values are a family.")
    ],
    source: Source,
    out: Annotated[Path | None, typer.Option("--out", help="File for the table (.csv).")] = None,
    aims: Aims,
    count: Count,
    weights: Weights,
    method: Method,
    effort: Effort,
    screen: Screen,
) -> None:
    """Fit without each family of targets in turn, and score the weights on it: how far a fit carries over.

    A target that the others determine (a total whose parts are in the fit) is not scored.

    Example: l0-calibrate holdout problem_dir --by variable --keep 1000 --out holdout.csv
    """
    from l0_calibrate.folders import check_file, file_transaction, refuse_inputs
    from l0_calibrate.holdouts import hold_out

    choices = Choices.of(aims, weights, method, effort, count)
    if out is not None and out.suffix.lower() != ".csv":
        raise InputError(f"--out must name a .csv file, got {out}")
    if out is not None:
        own = [] if source.problem is None else [source.problem / name for name in ("targets.csv", "records.csv")]
        refuse_inputs(out.parent, (out.name,), (*source.files, *own))
        check_file(out)
    problem, options = choices.on(source.load())
    with progress(screen.silent) as watch:
        frame = hold_out(problem, by, options, watch=watch)
    if out is not None:
        with file_transaction(out) as scratch:
            frame.to_csv(scratch, index=False)
    if screen.json_:
        print(json_text(frame.to_dict("records")))
    elif not screen.quiet:
        paper = console()
        table = Table(title=f"Targets held out by {by}", title_justify="left")
        table.add_column(by)
        for name in ("targets", "scored", "error before", "held out", "fitted", "within 10 %", "loss of the fit"):
            table.add_column(name, justify="right")
        for row in frame.itertuples():
            table.add_row(
                str(row.family), f"{row.held_out:,}", f"{row.scored:,}", share_text(row.error_initial),
                share_text(row.error_held_out), share_text(row.error_fitted), share_text(row.within_10_percent),
                f"{row.loss:.4f}",
            )  # fmt: skip
        paper.print(table)
        paper.print(
            "errors: mean |relative error| of the targets scored, by the initial weights, by the fit without "
            "them, by the fit of all"
        )
        if out is not None:
            paper.print(f"written: {out}")

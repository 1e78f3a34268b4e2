"""``demo``: the bundled real problem, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.check import describe, findings_table
from l0_calibrate.cli.display import Row, comparison, console, progress, worst_targets
from l0_calibrate.cli.sources import Screen

BUDGETS = (300, 600)
MAX_WEIGHT_RATIO = 5.0


@bundled
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files, written whole or not at all.")] = Path(
        "l0-demo"
    ),
    screen: Screen,
) -> None:
    """5,000 survey records and 167 official US totals: check, dense fit, exact budgets, files and a picture.

    Example: l0-calibrate demo --out demo-run
    """
    from l0_calibrate.calibrate import calibrate
    from l0_calibrate.demo import load_demo
    from l0_calibrate.folders import check_writable, folder_transaction
    from l0_calibrate.problem import preflight
    from l0_calibrate.result.diagnostics import diagnose
    from l0_calibrate.result.tables import RunTables

    check_writable(out)
    problem = load_demo()
    talk = not screen.silent
    paper = console()
    if talk:
        paper.print(
            "[bold]US national, small[/]: Census CPS records of 2022 and totals of the IRS and USDA", markup=True
        )
        paper.print(describe(problem))
        paper.print(findings_table(preflight(problem), most=12))
        paper.print("The first fit on a machine compiles its kernels (cached on disk); the next ones do not.")
    runs = {}
    with progress(not talk) as watch:
        for keep in (None, min(BUDGETS)):  # compiles, so that the seconds shown are of the work
            calibrate(problem, keep=keep, tol=0.001, time_limit=60)
        runs["dense"] = calibrate(problem, tol=0.001, watch=watch)
        for keep in BUDGETS:
            runs[f"kept {keep}"] = calibrate(problem, keep=keep, max_weight_ratio=MAX_WEIGHT_RATIO, watch=watch)
    smallest = runs[f"kept {min(BUDGETS)}"]
    before = diagnose(problem, problem.initial_weights)
    with folder_transaction(out) as scratch:
        smallest.save(scratch / "kept")
        runs["dense"].save(scratch / "dense")
        try:
            from l0_calibrate.result.plots import overview
        except ImportError:
            picture = "no picture: pip install 'l0-calibrate[report]' brings matplotlib"
        else:
            overview(RunTables.of(smallest), scratch / "calibration.png")
            smallest.report(scratch / "report.html")
            picture = f"{out / 'calibration.png'}, and as a page {out / 'report.html'}"
    if screen.json_:
        print(json.dumps({label: run.summary() for label, run in runs.items()}, indent=2))
        return
    if screen.quiet:
        return
    rows: list[Row] = [("initial", before, None, None, "")]
    rows += [(label, run.diagnostics, run.gap, run.timings["total"], run.status) for label, run in runs.items()]
    paper.print(comparison(rows))
    paper.print(
        f"ratios: weight / initial weight; kept: / (initial weight x records/kept), at most {MAX_WEIGHT_RATIO:g}; "
        "gap: certified distance of the fit from its optimum"
    )
    paper.print(worst_targets(problem, smallest.weights))
    for folder, what in (("kept", f"{smallest.kept} records"), ("dense", "all records")):
        paper.print(f"written: {out / folder}/ weights.parquet, targets.parquet, result.json ({what})")
    paper.print(f"picture: {picture}")

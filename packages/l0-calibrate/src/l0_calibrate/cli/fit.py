"""``fit``: weights for a problem, dense or on an exact number of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from l0_calibrate.cli.display import comparison, console, progress, worst_targets
from l0_calibrate.cli.sources import (
    JsonOption,
    MatrixOption,
    MicrodataOption,
    ProblemArgument,
    RecordsOption,
    TargetsOption,
    WeightOption,
    load_problem,
)

NOT_GOOD = 1


def _settings(pairs: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` options; a value is JSON where it reads as JSON, text otherwise."""
    out: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE")
        try:
            out[name] = json.loads(value)
        except json.JSONDecodeError:
            out[name] = value
    return out


def fit(
    out: Annotated[Path, typer.Option("--out", help="Folder for the result, written whole or not at all.")],
    problem: ProblemArgument = None,
    matrix: MatrixOption = None,
    targets: TargetsOption = None,
    records: RecordsOption = None,
    microdata: MicrodataOption = None,
    weight: WeightOption = "initial_weight",
    keep: Annotated[int | None, typer.Option(help="Exactly how many records to keep.")] = None,
    share: Annotated[float | None, typer.Option(help="The same as a fraction of the records.")] = None,
    max_weight_ratio: Annotated[
        float | None, typer.Option(help="Largest weight / (initial weight x records/kept).")
    ] = None,
    min_weight_ratio: Annotated[float | None, typer.Option(help="Smallest such ratio of a kept record.")] = None,
    max_weight: Annotated[float | None, typer.Option(help="Largest weight.")] = None,
    conserve_mass: Annotated[bool, typer.Option(help="Hold the sum of the weights at the initial sum.")] = False,
    spread: Annotated[float | None, typer.Option(help="Price on unequal weights (mu); 0 switches it off.")] = None,
    ess_at_least: Annotated[float | None, typer.Option(help="Find the spread for this effective sample size.")] = None,
    loss: Annotated[str, typer.Option(help="Loss, by name.")] = "absolute",
    selector: Annotated[str, typer.Option(help="Selector or gate strategy, by name.")] = "prune",
    setting: Annotated[list[str] | None, typer.Option(help="Setting of the selector, NAME=VALUE; repeatable.")] = None,
    loss_setting: Annotated[list[str] | None, typer.Option(help="Setting of the loss, NAME=VALUE; repeatable.")] = None,
    solver: Annotated[str, typer.Option(help="Solver, by name, or auto.")] = "auto",
    backend: Annotated[str, typer.Option(help="Array backend, by name.")] = "numpy",
    by: Annotated[str | None, typer.Option(help="Column of the records: each value is calibrated on its own.")] = None,
    replicates: Annotated[Path | None, typer.Option(help="Replicate weights to calibrate in the same way.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Relative error of a target that costs nothing.")] = None,
    unreachable: Annotated[str, typer.Option(help="A target no record can move: report or error.")] = "report",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    time_limit: Annotated[float | None, typer.Option(help="Seconds for the whole run.")] = None,
    tol: Annotated[float, typer.Option(help="Certified relative gap that is good enough.")] = 0.01,
    checkpoint: Annotated[Path | None, typer.Option(help="File that keeps the selection of this run.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint.")] = False,
    threads: Annotated[int, typer.Option(help="Threads of the kernels.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    json_: JsonOption = False,
) -> None:
    """Fit weights and write weights.parquet, targets.parquet and result.json.

    Example: l0-calibrate fit problem_dir --keep 4000 --max-weight-ratio 5 --out run
    """
    from l0_calibrate.calibrate import calibrate
    from l0_calibrate.checkpoint import Checkpoint
    from l0_calibrate.domains import calibrate_domains
    from l0_calibrate.options import options_from
    from l0_calibrate.replicates import calibrate_replicates, read_replicates
    from l0_calibrate.result.diagnostics import diagnose
    from l0_calibrate.result.files import check_writable

    if resume and checkpoint is None:
        raise typer.BadParameter("--resume needs --checkpoint FILE")
    if by is not None and checkpoint is not None:
        raise typer.BadParameter("--by and --checkpoint do not go together: each domain is a run of its own")
    options = options_from(
        {
            "keep": keep, "share": share, "max_weight_ratio": max_weight_ratio, "min_weight_ratio": min_weight_ratio,
            "max_weight": max_weight, "conserve_mass": conserve_mass, "spread": spread, "ess_at_least": ess_at_least,
            "loss": loss, "loss_settings": _settings(loss_setting or []), "selector": selector,
            "selector_settings": _settings(setting or []), "solver": solver, "backend": backend,
            "unreachable": unreachable, "tol": tol, "time_limit": time_limit, "threads": threads, "seed": seed,
        }
    )  # fmt: skip
    check_writable(out)
    loaded = load_problem(problem, matrix, targets, records, microdata, weight)
    if tolerance is not None:
        loaded = loaded.with_tolerance(tolerance)
    replicate_weights = None if replicates is None else read_replicates(replicates, loaded)
    with progress(quiet or json_) as watch:
        if by is not None:
            result = calibrate_domains(loaded, by, options, watch=watch)
        else:
            store = None if checkpoint is None else Checkpoint(checkpoint, resume)
            result = calibrate(loaded, options, watch=watch, checkpoint=store)
        if replicate_weights is not None:
            result = calibrate_replicates(result, replicate_weights)
    written = result.save(out)
    if json_:
        print(json.dumps(result.summary(), indent=2))
    elif not quiet:
        console_ = console()
        before = diagnose(loaded, loaded.initial_weights)
        seconds = result.timings.get("total")
        rows = [("initial", before, None, None, ""), ("fitted", result.diagnostics, result.gap, seconds, result.status)]
        console_.print(comparison(rows))
        console_.print(worst_targets(loaded, result.weights))
        for note in result.notes:
            console_.print(f"note: {note}")
        console_.print("written: " + ", ".join(str(path) for path in written), soft_wrap=True)
    if result.status == "infeasible":
        raise typer.Exit(NOT_GOOD)

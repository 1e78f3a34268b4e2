"""``frontier``: what each number of records costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from l0_calibrate.cli.display import comparison, console, progress
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
from l0_core import InputError


def _counts(text: str) -> list[int]:
    try:
        return [int(part.replace("_", "")) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError(f"--keep must be whole numbers with commas between them, got {text!r}") from None


def frontier(
    keep: Annotated[str, typer.Option("--keep", help="Numbers of records, e.g. 1000,2000,4000.")],
    problem: ProblemArgument = None,
    matrix: MatrixOption = None,
    targets: TargetsOption = None,
    records: RecordsOption = None,
    microdata: MicrodataOption = None,
    weight: WeightOption = "initial_weight",
    out: Annotated[Path, typer.Option("--out", help="Folder for frontier.csv and frontier.png.")] = Path("l0-frontier"),
    max_weight_ratio: Annotated[float | None, typer.Option(help="Bound of the weight ratios.")] = None,
    spread: Annotated[float | None, typer.Option(help="Price on unequal weights (mu).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of the kernels.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    json_: JsonOption = False,
) -> None:
    """A path of nested budgets: loss, ESS and largest ratio against records kept.

    Example: l0-calibrate frontier problem_dir --keep 1000,2000,4000 --out path
    """
    from l0_calibrate.frontier import calibrate_path, path_frame
    from l0_calibrate.options import options_from
    from l0_calibrate.result.files import check_writable, folder_transaction

    counts = _counts(keep)
    check_writable(out)
    loaded = load_problem(problem, matrix, targets, records, microdata, weight)
    options = options_from({"max_weight_ratio": max_weight_ratio, "spread": spread, "seed": seed, "threads": threads})
    with progress(quiet or json_) as watch:
        results = calibrate_path(loaded, counts, options, watch=watch)
    frame = path_frame(results)
    with folder_transaction(out) as scratch:
        frame.to_csv(scratch / "frontier.csv", index=False)
        try:
            from l0_calibrate.result.plots import frontier_picture
        except ImportError:
            picture = "no picture: pip install 'l0-calibrate[report]' brings matplotlib"
        else:
            frontier_picture(frame, scratch / "frontier.png")
            picture = str(out / "frontier.png")
    if json_:
        print(json.dumps(frame.to_dict(orient="records"), indent=2))
    elif not quiet:
        rows = [(f"keep {r.kept:,}", r.diagnostics, r.gap, r.timings.get("total"), r.status) for r in results]
        screen = console()
        screen.print(comparison(rows))
        screen.print(f"written: {out / 'frontier.csv'}; picture: {picture}", soft_wrap=True)

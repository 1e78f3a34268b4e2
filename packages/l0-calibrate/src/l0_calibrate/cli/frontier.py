"""``frontier``: what each number of records costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.choices import Aims, Choices, Count, Effort, Method, Weights
from l0_calibrate.cli.display import comparison, console, json_text, progress
from l0_calibrate.cli.sources import Screen, Source
from l0_core import InputError


def _counts(text: str) -> list[int]:
    try:
        return [int(part.replace("_", "")) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError(f"--keep must be whole numbers with commas between them, got {text!r}") from None


@bundled
def frontier(
    *,
    keep: Annotated[str, typer.Option("--keep", help="Numbers of records, e.g. 1000,2000,4000.")],
    source: Source,
    out: Annotated[Path, typer.Option("--out", help="Folder for frontier.csv and frontier.png.")] = Path("l0-frontier"),
    aims: Aims,
    weights: Weights,
    method: Method,
    effort: Effort,
    screen: Screen,
) -> None:
    """A path of nested budgets: loss, ESS and largest ratio against records kept.

    Example: l0-calibrate frontier problem_dir --keep 1000,2000,4000 --out path
    """
    from l0_calibrate.folders import check_writable, folder_transaction
    from l0_calibrate.frontier import calibrate_path, path_frame

    counts = _counts(keep)
    # A budget, so that options which need one are not refused; the path sets its own.
    choices = Choices.of(aims, weights, method, effort, Count(keep=max(counts, default=1)))
    check_writable(out)
    problem, options = choices.on(source.load())
    with progress(screen.silent) as watch:
        results = calibrate_path(problem, counts, options, watch=watch)
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
    if screen.json_:
        print(json_text(frame.to_dict(orient="records")))
    elif not screen.quiet:
        rows = [(f"keep {r.kept:,}", r.diagnostics, r.gap, r.timings.get("total"), r.status) for r in results]
        table = console()
        table.print(comparison(rows))
        table.print(f"written: {out / 'frontier.csv'}; picture: {picture}", soft_wrap=True)

"""``evaluate``: an independent score of any weight file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
import typer

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.choices import Wanted
from l0_calibrate.cli.display import comparison, console, json_text, worst_targets
from l0_calibrate.cli.sources import JsonOption, Source


@bundled
def evaluate(
    weights: Annotated[Path, typer.Argument(help="Weights (.parquet or .csv) with record_id and weight.")],
    source: Source,
    wanted: Wanted,
    json_: JsonOption = False,
) -> None:
    """Score a weight file against a problem, whoever made it; weights of 0 count as dropped in the largest ratio.

    With --only-targets or --exclude-targets against some of its targets, such as those that a fit did not see.

    Example: l0-calibrate evaluate run/weights.parquet problem_dir
    """
    from l0_calibrate.result.diagnostics import diagnose
    from l0_calibrate.result.files import read_weights

    loaded = wanted.on(source.load())
    values = read_weights(weights, loaded)
    scores = diagnose(loaded, values)
    if json_:
        print(json_text(attrs.asdict(scores)))
        return
    out = console()
    before = diagnose(loaded, loaded.initial_weights)
    out.print(comparison([("initial", before, None, None, ""), (weights.name, scores, None, None, "")]))
    out.print(worst_targets(loaded, values))

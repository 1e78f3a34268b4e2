"""``survey``: the classical estimators, which meet every total exactly."""

from __future__ import annotations

from typing import Annotated

import attrs
import typer

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.choices import Chosen
from l0_calibrate.cli.destination import Destination
from l0_calibrate.cli.display import json_text, progress, show_run
from l0_calibrate.cli.replicate_file import ReplicateFile
from l0_calibrate.cli.sources import Screen, Source
from l0_core import InputError


@attrs.frozen
class Distances:
    """The weights wanted."""

    method: Annotated[str, typer.Option(help="linear (GREG), raking, or logit (needs --upper).")] = "linear"
    lower: Annotated[float | None, typer.Option(help="Least g-weight (weight / initial weight), below 1.")] = None
    upper: Annotated[float | None, typer.Option(help="Largest g-weight, above 1.")] = None
    q: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the records: how freely each weight may move, positive."),
    ] = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends, where one is given."""
        if self.lower is None and self.upper is None:
            return None
        least = 0.0 if self.method != "linear" else -float("inf")
        return (least if self.lower is None else self.lower, float("inf") if self.upper is None else self.upper)


@bundled
def survey(
    to: Destination,
    context: typer.Context,
    source: Source,
    chosen: Chosen,
    distances: Distances,
    again: ReplicateFile,
    screen: Screen,
) -> None:
    """Meet every total exactly by the weights nearest to the initial ones: GREG, raking, logit, with bounds or without.

    Writes weights.parquet, targets.parquet and result.json, as fit does; replicates are calibrated in the same way.
    Where the totals cannot be met together, those that fight are named; check --exactly tells beforehand, and the
    smallest bounds that will do.

    Example: l0-calibrate survey problem_dir --method raking --upper 5 --out run
    """
    from l0_calibrate.survey.distances import distance_of
    from l0_calibrate.survey.estimator import calibrate_survey
    from l0_calibrate.survey.newton import CalibrationNotConverged

    distance = distance_of(distances.method, distances.bounds)
    to.check((*source.files, again.replicates))
    problem = chosen.on(source.load())
    replicate_weights = again.read(problem, source)
    try:
        with progress(screen.silent) as watch:
            result = calibrate_survey(
                problem, distance, q=distances.q, replicate_weights=replicate_weights, watch=watch
            )
    except CalibrationNotConverged as fault:  # by its totals, not by a fault of L0
        raise InputError(str(fault)) from fault
    result = attrs.evolve(result, command=context.obj or ())
    written = result.save(to.out, csv=to.csv)
    if screen.json_:
        print(json_text(result.summary()))
    elif not screen.quiet:
        show_run(result, written)

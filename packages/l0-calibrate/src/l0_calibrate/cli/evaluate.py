"""``evaluate``: an independent score of any weight file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
import typer

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.choices import Wanted
from l0_calibrate.cli.display import changed_columns, comparison, console, json_text, worst_targets
from l0_calibrate.cli.replicate_file import ReplicateFile
from l0_calibrate.cli.sources import JsonOption, Source
from l0_core import InputError


@bundled
def evaluate(
    weights: Annotated[Path, typer.Argument(help="Weights (.parquet or .csv) with record_id and weight.")],
    source: Source,
    wanted: Wanted,
    again: ReplicateFile,
    columns: Annotated[
        Path | None,
        typer.Option(
            "--columns",
            metavar="FILE",
            help="Columns of the records (record_id and others), targeted or not, to be totalled before and after.",
        ),
    ] = None,
    replicate_scale: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|FILE",
            help="Variance / sum of squared differences of the replicates: 1/R for BRR and bootstrap, (R-1)/R for a "
            "jackknife, 4/R for successive differences; or a table of replicate and scale, as for strata.",
        ),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="WEIGHTS is a small file: records that it does not have were dropped.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Score a weight file against a problem, whoever made it; weights of 0 count as dropped in the largest ratio.

    With --only-targets or --exclude-targets against some of its targets, such as those that a fit did not see; with
    --columns beside columns that no target is about: what their totals were under the initial weights and are now, and
    with --replicates (those of WEIGHTS) how uncertain they are.

    Example: l0-calibrate evaluate run/weights.parquet problem_dir
    """
    from l0_calibrate.problem.files import read_table, with_record_id
    from l0_calibrate.problem.labels import naming
    from l0_calibrate.result.column_totals import column_totals
    from l0_calibrate.result.diagnostics import diagnose
    from l0_calibrate.result.files import read_weights
    from l0_calibrate.result.replicates import Replicates, read_scale

    if (again.replicates is None) != (replicate_scale is None):
        raise InputError("--replicates FILE and --replicate-scale NUMBER go together: one alone makes no variance")
    if again.replicates is not None and columns is None:
        raise InputError("--replicates tell how uncertain the totals of --columns FILE are; give both")
    loaded = wanted.on(source.load())
    values = read_weights(weights, loaded, small=small)
    scores = diagnose(loaded, values)
    negative = loaded.record_ids[values < 0]
    totals = None
    if columns is not None:
        # Files are sorted and filtered: without ids their order says nothing.
        table = with_record_id(read_table(columns), columns, source.record_id)
        fitted, replicates = again.read(loaded, source, calibrated=True), None
        if fitted is not None and replicate_scale is not None:
            replicates = Replicates(fitted, read_scale(replicate_scale))
        totals = column_totals(loaded, values, table, replicates)
    if json_:
        beside = {} if totals is None else {"columns": totals.to_dict("records")}
        print(json_text(attrs.asdict(scores) | {"negative": int(negative.size)} | beside))
        return
    out = console()
    before = diagnose(loaded, loaded.initial_weights)
    out.print(comparison([("initial", before, None, None, ""), (weights.name, scores, None, None, "")]))
    if negative.size:
        count = "1 weight is" if negative.size == 1 else f"{negative.size:,} weights are"
        out.print(f"{count} negative: {naming(negative)}")
    out.print(worst_targets(loaded, values))
    if totals is not None:
        out.print(changed_columns(totals))

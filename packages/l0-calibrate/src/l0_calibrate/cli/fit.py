"""``fit``: weights for a problem, dense or on an exact number of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import pandas as pd
import typer
from rich.console import Console

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.choices import Aims, Around, Choices, Count, Effort, Method, Weights
from l0_calibrate.cli.destination import Destination
from l0_calibrate.cli.display import json_text, progress, show_run
from l0_calibrate.cli.replicate_file import ReplicateFile
from l0_calibrate.cli.sources import Screen, Source
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.watch import Watch

if TYPE_CHECKING:
    from l0_calibrate.checkpoint import Checkpoint

NOT_GOOD = 1


@bundled
def fit(
    to: Destination,
    context: typer.Context,
    source: Source,
    aims: Aims,
    count: Count,
    weights: Weights,
    method: Method,
    around: Around,
    again: ReplicateFile,
    effort: Effort,
    screen: Screen,
) -> None:
    """Fit weights and write weights.parquet, targets.parquet and result.json.

    Example: l0-calibrate fit problem_dir --keep 4000 --max-weight-ratio 5 --out run
    """
    from l0_calibrate.result.small import refuse_clashes, small_name

    choices = Choices.of(aims, weights, method, effort, count)
    members = source.tables_of_members()
    small = [small_name(), *map(small_name, members)] if around.small_file else []
    to.check((*source.files, around.reuse, again.replicates), small)
    problem, options = choices.on(source.load(members))
    if around.small_file:
        refuse_clashes(problem, members)
    said: tuple[str, ...] = ()
    if around.reuse is not None:
        from l0_calibrate.reuse import kept_ids, reuse_selection

        options, sentence = reuse_selection(problem, options, kept_ids(around.reuse))
        said = (sentence,)
    replicate_weights = again.read(problem, source)
    with progress(screen.silent) as watch:
        result = _fitted(problem, options, around, replicate_weights, watch)
    result = attrs.evolve(result, notes=result.notes + said, command=context.obj or ())
    beside = _small_files(result, members, source.record_id) if around.small_file else None
    written = result.save(to.out, beside, csv=to.csv)
    if screen.json_:
        print(json_text(result.summary()))
    elif not screen.quiet:
        show_run(result, written)
    if result.status == "infeasible":
        raise typer.Exit(NOT_GOOD)


def _small_files(
    result: CalibrationResult, members: Mapping[str, pd.DataFrame], record_id: str | None
) -> dict[str, pd.DataFrame]:
    """The records kept, and what of each table of members belongs to them, by file."""
    from l0_calibrate.result.small import small_members, small_name

    small = result.small_file()
    own = record_id or "record_id"
    of_members = {small_name(name): small_members(small, table, own) for name, table in members.items()}
    return {small_name(): small, **of_members}


def _fitted(
    problem: CalibrationProblem,
    options: Options,
    around: Around,
    replicate_weights: pd.DataFrame | None,
    watch: Watch,
) -> CalibrationResult:
    if around.by is not None:
        from l0_calibrate.domains import calibrate_domains

        return calibrate_domains(problem, around.by, options, watch=watch, replicate_weights=replicate_weights)
    from l0_calibrate.calibrate import calibrate
    from l0_calibrate.checkpoint import Checkpoint
    from l0_calibrate.replicates import calibrate_replicates

    store = None if around.checkpoint is None else Checkpoint(around.checkpoint, around.resume)
    if store is not None and not store.resume and store.holds(problem, options):
        _say(f"{store.path} holds the selection of this very run, which is made anew; with --resume it would go on")
    with _interruption(store):
        result = calibrate(problem, options, watch=watch, checkpoint=store)
        return result if replicate_weights is None else calibrate_replicates(result, replicate_weights, watch=watch)


@contextmanager
def _interruption(store: Checkpoint | None) -> Iterator[None]:
    """Who stops a run is told of the checkpoint that it leaves."""

    def stamp() -> int | None:
        return store.path.stat().st_mtime_ns if store is not None and store.path.exists() else None

    before = stamp()
    try:
        yield
    except KeyboardInterrupt:
        if store is not None and stamp() is not None and (store.resume or stamp() != before):
            _say(f"the selection is made: the same command with --resume goes on from {store.path}")
        raise


def _say(what: str) -> None:
    Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(what)

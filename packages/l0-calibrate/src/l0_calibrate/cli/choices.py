"""What the commands that fit may be told: one class for what travels together."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from l0_calibrate.options import Options, options_from
from l0_calibrate.problem import (
    CalibrationProblem,
    balance_targets,
    choose_targets,
    record_column,
    record_columns,
    record_flags,
    record_numbers,
)
from l0_calibrate.problem.rules import target_table


@attrs.frozen
class Chosen:
    """The targets."""

    only_targets: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="Those that match alone, e.g. \"unit == 'count'\".")
    ] = None
    exclude_targets: Annotated[str | None, typer.Option(metavar="CONDITION", help="All but those that match.")] = None

    def on(self, problem: CalibrationProblem) -> CalibrationProblem:
        """The problem with these targets."""
        return choose_targets(problem, only=self.only_targets, exclude=self.exclude_targets)


@attrs.frozen
class Wanted(Chosen):
    """The targets."""

    balance_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the targets: each value counts the same.")
    ] = None
    multiplier: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE=FACTOR", help="What a value of --balance-by counts beside the others; repeatable."),
    ] = None
    tolerance: Annotated[float | None, typer.Option(help="Relative error of a target that costs nothing.")] = None

    def on(self, problem: CalibrationProblem) -> CalibrationProblem:
        """The problem with these targets."""
        problem = Chosen.on(self, problem)
        if self.balance_by is not None:
            problem = balance_targets(problem, self.balance_by, self._multipliers(problem, self.balance_by))
        elif self.multiplier:
            raise typer.BadParameter("--multiplier VALUE=FACTOR goes with --balance-by COLUMN, which has the values")
        return problem if self.tolerance is None else problem.with_tolerance(self.tolerance)

    def _multipliers(self, problem: CalibrationProblem, column: str) -> dict[Any, float]:
        """Factors by the values of the column, which the command line has as text."""
        values = {str(value): value for value in target_table(problem).get(column, ())}
        factors: dict[Any, float] = {}
        for given in self.multiplier or ():
            name, sign, text = given.rpartition("=")
            try:
                factor = float(text)
            except ValueError:
                factor = math.nan
            if not (name and sign) or math.isnan(factor):
                raise typer.BadParameter(f"--multiplier {given} must be VALUE=FACTOR, such as interest=10")
            if values.get(name, name) in factors:
                raise typer.BadParameter(f"--multiplier {name} is given twice")
            factors[values.get(name, name)] = factor
        return factors


@attrs.frozen
class Aims(Wanted):
    """The targets."""

    unreachable: Annotated[str, typer.Option(help="A target no record can move: report or error.")] = "report"


@attrs.frozen
class Count:
    """How many records."""

    keep: Annotated[int | None, typer.Option(help="Exactly how many records to keep.")] = None
    share: Annotated[float | None, typer.Option(help="The same as a fraction of the records.")] = None
    dense_bound: Annotated[
        bool | None,
        typer.Option(
            "--dense-bound/--no-dense-bound",
            help="Certify what loss no choice can beat; costs a dense fit. Default: where K is below the targets.",
        ),
    ] = None


@attrs.frozen
class Weights:
    """The weights wanted."""

    max_weight_ratio: Annotated[
        float | None, typer.Option(help="Largest weight / (initial weight x records/kept); dense: / initial weight.")
    ] = None
    min_weight_ratio: Annotated[float | None, typer.Option(help="Smallest such ratio of a kept record.")] = None
    max_weight: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|COLUMN", help="Largest weight, or a column of the records with that of each."),
    ] = None
    conserve_mass: Annotated[bool, typer.Option(help="Hold the sum of the weights at the initial sum.")] = False
    spread: Annotated[float | None, typer.Option(help="Price on unequal weights (mu); 0 switches it off.")] = None
    ess_at_least: Annotated[
        float | None, typer.Option(help="Find the spread for this effective sample size (with --by: of each domain).")
    ] = None
    must_keep: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the records that flags those to keep.")
    ] = None
    never_keep: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the records that flags those to leave out.")
    ] = None
    groups: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the records: equal ids are kept or dropped together."),
    ] = None


@attrs.frozen
class Method:
    """The method."""

    loss: Annotated[str, typer.Option(help="Loss, by name.")] = "absolute"
    loss_setting: Annotated[list[str] | None, typer.Option(help="Setting of the loss, NAME=VALUE; repeatable.")] = None
    selector: Annotated[str, typer.Option(help="Selector or gate strategy, by name.")] = "prune"
    setting: Annotated[list[str] | None, typer.Option(help="Setting of the selector, NAME=VALUE; repeatable.")] = None
    solver: Annotated[str, typer.Option(help="Solver, by name, or auto.")] = "auto"
    backend: Annotated[str, typer.Option(help="Array backend, by name.")] = "numpy"
    areas: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN[,COLUMN]",
            help="Columns of the records: their areas, coarse to fine (state,district).",
        ),
    ] = None


@attrs.frozen
class Around:
    """More than one fit."""

    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the records: each value is calibrated on its own."),
    ] = None
    reuse: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights of an earlier run: its records are kept first.")
    ] = None
    checkpoint: Annotated[Path | None, typer.Option(help="File that keeps the selection of this run.")] = None
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint where there is one.")] = False
    small_file: Annotated[
        bool,
        typer.Option(
            "--small-file", help="Write small.parquet too: the records kept, with their columns and new weights."
        ),
    ] = False

    def __attrs_post_init__(self) -> None:
        if self.resume and self.checkpoint is None:
            raise typer.BadParameter("--resume needs --checkpoint FILE")
        if self.by is not None and self.checkpoint is not None:
            raise typer.BadParameter("--by and --checkpoint do not go together: each domain is a run of its own")


@attrs.frozen
class Effort:
    """The effort."""

    tol: Annotated[float, typer.Option(help="Certified relative gap that is good enough.")] = 0.01
    time_limit: Annotated[float | None, typer.Option(help="Seconds for the whole run.")] = None
    threads: Annotated[int, typer.Option(help="Threads of the kernels.")] = 1
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0


@attrs.frozen
class Choices:
    """`Options` as the command line names them; those that need the problem are resolved on it."""

    aims: Aims
    fields: dict[str, Any]
    flags: dict[str, str | None]
    caps: str | None
    groups: str | None
    areas: str | None

    @classmethod
    def of(cls, aims: Aims, weights: Weights, method: Method, effort: Effort, count: Count | None = None) -> Choices:
        """Check all that can be checked before files are read; InputError on a contradiction."""
        plain = attrs.asdict(weights) | attrs.asdict(method) | attrs.asdict(effort)
        plain |= {"unreachable": aims.unreachable}
        plain |= {} if count is None else attrs.asdict(count)
        flags = {name: plain.pop(name) for name in ("must_keep", "never_keep")}
        plain["max_weight"], caps = _number_or_column(plain["max_weight"])
        groups, areas = plain.pop("groups"), plain.pop("areas")
        plain["loss_settings"] = _settings(plain.pop("loss_setting"))
        plain["selector_settings"] = _settings(plain.pop("setting"))
        options_from(plain)
        return cls(aims, plain, flags, caps, groups, areas)

    def on(self, problem: CalibrationProblem) -> tuple[CalibrationProblem, Options]:
        """The problem with the targets wanted, and the options with what columns of its records say."""
        caps = {} if self.caps is None else {"max_weight": record_numbers(problem, self.caps)}
        flags = {name: None if column is None else record_flags(problem, column) for name, column in self.flags.items()}
        groups = None if self.groups is None else record_column(problem, self.groups)
        areas = None if self.areas is None else record_columns(problem, self.areas.split(","))
        return self.aims.on(problem), options_from(self.fields | flags | caps | {"groups": groups, "areas": areas})


def _number_or_column(text: str | None) -> tuple[float | None, str | None]:
    """What reads as a number is one; other text names a column."""
    try:
        return None if text is None else float(text), None
    except ValueError:
        return None, text


def _settings(pairs: list[str] | None) -> dict[str, Any]:
    """``NAME=VALUE`` options; a value is JSON where it reads as JSON, text otherwise."""
    out: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE")
        try:
            out[name] = json.loads(value)
        except json.JSONDecodeError:
            out[name] = value
    return out

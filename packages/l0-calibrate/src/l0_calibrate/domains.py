"""Independent domains in one call: each value of a column of the records is a problem of its own."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pandas as pd

from l0_calibrate.areas import area_numbers
from l0_calibrate.calibrate import calibrate
from l0_calibrate.domain_counts import check_groups, counts_by_groups, proportional_counts
from l0_calibrate.losses.base import Loss
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem, record_column
from l0_calibrate.problem.labels import naming, shown
from l0_calibrate.problem.replicate_weights import checked_replicates, replicate_names
from l0_calibrate.replicates import calibrate_replicates
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.run import out_of_reach
from l0_calibrate.selectors.groups import group_numbers
from l0_calibrate.selectors.records import refuse_contradictions
from l0_calibrate.time_shares import Shares
from l0_calibrate.watch import Progress, Watch, watch_of_domain
from l0_core import InputError, Selection
from l0_core.plugins import registry

_GRAVITY = ("optimal", "converged", "stalled", "budget_spent", "infeasible")


@attrs.frozen(eq=False)
class _Division:
    """How a problem falls apart.

    Parameters
    ----------
    by, values
        The column of the records, and its values, ascending.
    of_record, of_row
        The position of each record's and each target's value among them; -1 for a target without records.
    share
        What part of the loss weights each domain has. A part prices its targets with weights that average 1;
        this is what those weights average in the whole.
    """

    by: str
    values: np.ndarray
    of_record: np.ndarray
    of_row: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, problem: CalibrationProblem, by: str) -> _Division:
        """The domains of a column, each with targets of its own."""
        codes, found = pd.factorize(record_column(problem, by), sort=True)
        values, of_row = np.asarray(found), _rows_of_domains(problem, by, codes)
        empty = np.setdiff1d(np.arange(values.size), of_row)
        if empty.size:
            raise InputError(f"no target belongs to {by} = {shown(values[empty[0]])}: its records cannot be calibrated")
        reached = of_row >= 0
        share = np.bincount(of_row[reached], problem.loss_weights[reached], values.size) / problem.n_targets
        return cls(by, values, codes, of_row, share)


@attrs.frozen(eq=False)
class _Part:
    """What of a domain's result goes into that of the whole: its problem, a copy of a part of the matrix, does not."""

    status: str
    objective: float
    bound: float | None
    dense_bound: float | None
    spread: float
    max_ratio: float
    solver: str
    notes: tuple[str, ...]
    timings: dict[str, float]
    history: tuple[Progress, ...]

    @classmethod
    def of(cls, result: CalibrationResult) -> _Part:
        return cls(**{field.name: getattr(result, field.name) for field in attrs.fields(cls)})


def _rows_of_domains(problem: CalibrationProblem, by: str, codes: np.ndarray) -> np.ndarray:
    """The domain of each target: the one whose records it touches; -1 for a target that touches none."""
    matrix = problem.matrix
    lengths = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), lengths)
    touched = codes[matrix.indices]
    low = np.full(matrix.shape[0], np.iinfo(np.int64).max)
    high = np.full(matrix.shape[0], -1)
    np.minimum.at(low, rows, touched)
    np.maximum.at(high, rows, touched)
    mixed = np.flatnonzero((high >= 0) & (low != high))
    if mixed.size:
        raise InputError(
            f"by={by!r} needs targets that each belong to one domain; these touch several: "
            f"{naming(problem.target_names[mixed])}; leave them out or calibrate without by"
        )
    return np.where(high >= 0, high, -1)


def _flags(problem: CalibrationProblem, options: Options, name: str) -> np.ndarray:
    """Flags of all records, none where the option is not given."""
    given = options.flags(name, problem.n_records)
    return np.zeros(problem.n_records, dtype=bool) if given is None else np.asarray(given, dtype=bool)


def calibrate_domains(
    problem: CalibrationProblem,
    by: str,
    options: Options,
    *,
    watch: Watch | None = None,
    replicate_weights: np.ndarray | pd.DataFrame | None = None,
) -> CalibrationResult:
    """Calibrate each domain on its own and put the weights together again.

    ``keep`` is shared out over the domains, exactly: each gets the records that must be kept (one at
    least), the rest goes in the proportion of the records that are left; with groups, which must each lie in
    one domain, the counts are the nearest to those that whole groups give. Every option holds within each
    domain (ratios against its own records / kept); of a time limit each gets an equal part of what is left.
    The status is that of the worst domain; objective and bound are the sums, each domain with its share of
    the loss weights, with the price of targets that touch no record.

    Parameters
    ----------
    replicate_weights
        Shape (records, replicates), calibrated domain by domain as well (see
        `l0_calibrate.replicates.calibrate_replicates`), or None.

    Raises
    ------
    InputError
        The records lack the column, a target touches records of several domains, or a group has them; the budget
        is too small or too large for the domains, or one of them cannot be calibrated (the text names it).
    """
    options = options.on(problem)
    division = _Division.of(problem, by)
    plans = _plans(problem, options, division)
    weights, dual = np.zeros(problem.n_records), np.zeros(problem.n_targets)
    main = None if replicate_weights is None else checked_replicates(problem, replicate_weights)
    replicates = None if main is None else np.zeros(main.shape)
    parts: list[_Part] = []
    clock = Shares(options.time_limit, len(plans) * (1 if main is None else 2))
    for d, plan in enumerate(plans):
        rows, columns = np.flatnonzero(division.of_row == d), np.flatnonzero(division.of_record == d)
        how = attrs.evolve(plan, time_limit=clock.following())
        try:
            part = problem.subset(rows, columns)
            named = f"{by} {division.values[d]}, {d + 1:,} of {len(plans):,}"
            watched = watch_of_domain(watch, named)
            result = calibrate(part, how, watch=watched)
            if main is not None and replicates is not None:
                again = attrs.evolve(result, options=attrs.evolve(how, time_limit=clock.following()), timings={})
                replicates[columns] = calibrate_replicates(again, main[columns], watch=watched).replicates
        except InputError as error:
            raise InputError(f"{by} = {shown(division.values[d])}: {error}") from error
        weights[columns] = result.weights
        if result.dual is not None:
            dual[rows] = result.dual * division.share[d]
        parts.append(_Part.of(result))
    whole = _put_together(problem, options, division, parts, weights)
    names = () if replicate_weights is None else replicate_names(replicate_weights)
    return attrs.evolve(whole, dual=dual, replicates=replicates, replicate_names=names)


def _plans(problem: CalibrationProblem, options: Options, division: _Division) -> list[Options]:
    """The options of each domain: its count, its flags, its caps, its groups, its areas."""
    flags = {name: _flags(problem, options, name) for name in ("must_keep", "never_keep")}
    areas, groups = area_numbers(problem, options), group_numbers(problem, options)
    if groups is not None:
        check_groups(division.by, division.of_record, groups, options.groups)
    keep, size = options.budget(problem.n_records), division.values.size
    counts: tuple[int | None, ...] = (None,) * size
    if keep is not None:
        against = {"ruled out by never_keep": flags["never_keep"]}
        against["without an initial weight"] = problem.initial_weights <= 0
        refuse_contradictions(flags["must_keep"], against, problem.record_ids, False)
        never = np.any(list(against.values()), axis=0)
        shared = (keep, division.values, division.of_record, flags["must_keep"], never)
        counts = proportional_counts(*shared) if groups is None else counts_by_groups(*shared, groups)
    plans = []
    for d in range(size):
        columns = np.flatnonzero(division.of_record == d)
        # Where they were given, if for no record: the flags of all records are of another shape than the domain's.
        own: dict[str, Any] = {
            name: mask[columns] for name, mask in flags.items() if getattr(options, name) is not None
        }
        if np.ndim(options.max_weight):
            own["max_weight"] = options.max_weight[columns]
        if groups is not None:
            own["groups"] = groups[columns]
        if areas is not None:
            own["areas"] = areas.numbers[:, columns].T
        plans.append(attrs.evolve(options, keep=counts[d], share=None, **own))
    return plans


def _put_together(
    problem: CalibrationProblem,
    options: Options,
    division: _Division,
    parts: list[_Part],
    weights: np.ndarray,
) -> CalibrationResult:
    """One result of those of the domains, without duals and replicates."""
    by, share = division.by, division.share
    # What no record enters is missed by all of its target, whatever the weights.
    loss: Loss = registry().get("loss", options.loss, **options.loss_settings)
    price, residuals = loss.price(problem), problem.relative_errors(weights)
    costs = (loss.reprice(price, residuals) or price).values(residuals)
    lost = costs[division.of_row < 0].sum() / problem.n_targets
    spreads = sorted({part.spread for part in parts})
    largest = max(part.max_ratio for part in parts)
    stages = {stage for part in parts for stage in part.timings}
    return CalibrationResult(
        problem=problem,
        options=options,
        weights=weights,
        selection=Selection(np.flatnonzero(weights > 0), problem.n_records),
        status=max((part.status for part in parts), key=_GRAVITY.index),
        objective=float(sum(part.objective * s for part, s in zip(parts, share, strict=True)) + lost),
        bound=_together([part.bound for part in parts], share, lost),
        dual=None,
        spread=parts[0].spread,
        timings={stage: sum(part.timings.get(stage, 0.0) for part in parts) for stage in sorted(stages)},
        notes=(
            f"{len(parts)} domains of {by} calibrated on their own",
            *(
                (f"ratios within a domain, against its own records / kept, are at most {largest:.4g}",)
                if options.budget(problem.n_records) is not None
                else ()
            ),
            *((f"spread from {spreads[0]:.3g} to {spreads[-1]:.3g}, domain by domain",) if len(spreads) > 1 else ()),
            *(
                f"{by} {value}: {note}"
                for value, part in zip(division.values, parts, strict=True)
                for note in part.notes
            ),
            *out_of_reach(problem, np.flatnonzero(division.of_row < 0)),
        ),
        history=tuple(event for part in parts for event in part.history),
        dense_bound=_together([part.dense_bound for part in parts], share, lost),
        abandoned=loss.abandoned(price, residuals),
        solver=", ".join(dict.fromkeys(part.solver for part in parts)),
        solver_reason="domain by domain",
        by=by,
    )


def _together(bounds: list[float | None], share: np.ndarray, lost: float) -> float | None:
    """A bound of the whole from those of the domains, each with its share of the loss weights, and what is lost."""
    known = [bound for bound in bounds if bound is not None]
    return float(share @ np.array(known)) + lost if len(known) == len(bounds) else None

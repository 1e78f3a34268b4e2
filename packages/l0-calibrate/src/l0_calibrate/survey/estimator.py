"""Classical calibration of a whole problem: every total met exactly, replicate weights likewise, and its files."""

from __future__ import annotations

import time
from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from l0_calibrate.problem import CalibrationProblem, record_column
from l0_calibrate.problem.finding import Finding
from l0_calibrate.problem.labels import naming, refuse_other_order
from l0_calibrate.problem.replicate_weights import called, checked_replicates, replicate_names, unlike_weights
from l0_calibrate.result.diagnostics import MET
from l0_calibrate.result.weighted import Weighted
from l0_calibrate.survey.calibration import nearest
from l0_calibrate.survey.conflicts import ConflictingTotals
from l0_calibrate.survey.deadline import NEVER, Deadline, NotDecided
from l0_calibrate.survey.distances import Distance, distance_of
from l0_calibrate.survey.newton import CalibrationNotConverged
from l0_calibrate.survey.sample import Sample, TooManyTotals, freedoms
from l0_calibrate.survey.tightest import tightest
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]


@attrs.frozen(eq=False, repr=False)
class SurveyResult(Weighted):
    """Weights that meet every total, and where they came from.

    Parameters
    ----------
    problem
        What was asked.
    weights
        Shape (records,); negative ones are possible by the linear method without a lower bound.
    distance
        With the ends of its g-weights.
    q
        Shape (records,), or the column of the records that has it, or None for ones.
    timings
        Seconds.
    replicates, replicate_names
        Shape (records, replicates), each replicate calibrated like the weights; None where there are none.
    notes, command
        What a reader should know; what the command line was told.
    """

    problem: CalibrationProblem
    weights: FloatArray
    distance: Distance
    q: Any = None
    timings: dict[str, float] = attrs.field(factory=dict)
    replicates: FloatArray | None = None
    replicate_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    status: str = "exact"

    def __attrs_post_init__(self) -> None:
        self.weights.setflags(write=False)

    def __repr__(self) -> str:
        d = self.diagnostics
        return (
            f"SurveyResult({self.problem.n_records:,} records, {self.problem.n_targets:,} totals met to "
            f"{d.worst_error:.1g}, ESS {d.ess:,.0f}, g-weights from {self.g_weights.min():.3g} to "
            f"{self.g_weights.max():.3g})"
        )

    @property
    def g_weights(self) -> FloatArray:
        """Weight over design weight of the records that have one, shape (records with a design weight,)."""
        used = self.problem.initial_weights > 0
        ratios: FloatArray = self.weights[used] / self.problem.initial_weights[used]
        return ratios

    @property
    def scale_up(self) -> float:
        """1: all records are kept."""
        return 1.0

    @property
    def gap(self) -> None:
        """None: there is nothing to be approached."""

    @property
    def method_line(self) -> str:
        """The distance, and the range of the g-weights."""
        least, most = self.g_weights.min(), self.g_weights.max()
        return f"method: {self.distance.name}, g-weights from {least:.4g} to {most:.4g}"

    @property
    def how(self) -> dict[str, Any]:
        """Method, the ends of its g-weights, and q."""
        lower, upper = (None if np.isinf(end) else end for end in (self.distance.lower, self.distance.upper))
        q = self.q if self.q is None or isinstance(self.q, str) else "given"
        return {"method": self.distance.name, "lower": lower, "upper": upper, "q": q, "keep": None, "share": None}

    @property
    def of_the_method(self) -> dict[str, Any]:
        """The range of the g-weights."""
        return {"g_weights": [float(self.g_weights.min()), float(self.g_weights.max())]}


def calibrate_survey(
    problem: CalibrationProblem,
    method: Literal["linear", "raking", "logit"] | Distance = "linear",
    bounds: tuple[float, float] | None = None,
    *,
    q: Any = None,
    replicate_weights: FloatArray | pd.DataFrame | None = None,
    watch: Watch = unwatched,
) -> SurveyResult:
    """`survey_calibrate` for a problem: its initial weights as design weights, its targets as totals, met exactly.

    Tolerances of targets and how much each counts have no part in it; a note says so where there are any.

    Parameters
    ----------
    method, bounds
        As in `survey_calibrate`.
    q
        Shape (records,), positive, or the name of a column of ``record_info``. A Series has the records in the order of
        the problem.
    replicate_weights
        Shape (records, replicates), finite and not negative: each is calibrated as the initial weights are, to the same
        totals, from its own weights. Variances over replicates then know of the calibration (Valliant 1993).
    watch
        Called after each replicate.

    Raises
    ------
    InputError, ConflictingTotals, CalibrationNotConverged
        As `survey_calibrate` does; the text names the replicate.

    Examples
    --------
    >>> import numpy as np
    >>> problem = CalibrationProblem([[1.0, 1.0, 1.0], [20.0, 30.0, 70.0]], [30.0, 1300.0],
    ...                              initial_weights=np.full(3, 10.0))
    >>> problem.estimates(calibrate_survey(problem, "raking").weights).round(9).tolist()
    [30.0, 1300.0]
    """
    if not isinstance(problem, CalibrationProblem):
        raise InputError(
            f"calibrate_survey takes a CalibrationProblem, got {type(problem).__name__}; survey_calibrate takes arrays"
        )
    began = time.perf_counter()
    distance = distance_of(method, bounds)
    factor = _freedoms(problem, q)
    values = None if replicate_weights is None else checked_replicates(problem, replicate_weights)
    x, names = _constraints(problem)
    weights = nearest(Sample.under(problem.initial_weights, x, problem.targets, factor, names), distance)
    result = SurveyResult(problem, weights, distance, q, notes=tuple(_notes(problem, weights)))
    if replicate_weights is not None and values is not None:
        fitted = np.zeros_like(values)
        for r in range(values.shape[1]):
            started = time.perf_counter()
            try:
                fitted[:, r] = nearest(Sample.under(values[:, r], x, problem.targets, factor, names), distance)
            except ConflictingTotals as fault:
                raise ConflictingTotals(f"{called(replicate_weights, r)}: {fault}", fault.columns) from fault
            except InputError as fault:
                raise InputError(f"{called(replicate_weights, r)}: {fault}") from fault
            except CalibrationNotConverged as fault:
                raise CalibrationNotConverged(f"{called(replicate_weights, r)}: {fault}", fault.misses) from fault
            named, kept = f"replicate {r + 1:,} of {values.shape[1]:,}", int(np.count_nonzero(fitted[:, r]))
            watch(Progress("fit", 0, (r + 1) / values.shape[1], None, None, kept, time.perf_counter() - started, named))
        called_so = replicate_names(replicate_weights)
        notes = (*result.notes, *unlike_weights(problem, values, called_so))
        result = attrs.evolve(result, replicates=fitted, replicate_names=called_so, notes=notes)
    return attrs.evolve(result, timings={"total": time.perf_counter() - began})


def exactness(problem: CalibrationProblem, seconds: float | None = None) -> Finding:
    """Whether all targets can be met exactly by weights that are not negative, and by which bounds of g-weights.

    Linear programmes, which take minutes at hundreds of targets; the bounds are those of `tightest_bounds`.

    Parameters
    ----------
    seconds
        Wall-clock limit, positive; None for none. Where it is spent the finding says that it was not decided.
    """
    if seconds is not None and not seconds > 0:
        raise InputError(f"seconds must be a positive number, got {seconds!r}")
    deadline = NEVER if seconds is None else Deadline(seconds)
    x, names = _constraints(problem)
    try:
        sample = Sample.under(problem.initial_weights, x, problem.targets, _freedoms(problem, None), names)
        lower, upper = tightest(sample, 0.0, deadline)
    except ConflictingTotals as fault:
        return Finding(
            "not_exact",
            "warning",
            tuple(str(name) for name in fault.columns),
            str(fault).partition(";")[0],
            "calibration without negative weights will refuse them; leave one of these out, or fit them as near as "
            "can be",
        )
    except TooManyTotals as fault:
        message, _, remedy = str(fault).partition("; ")
        return Finding("exactness_unknown", "warning", (), message, remedy)
    except NotDecided as fault:
        return Finding(
            "exactness_unknown",
            "warning",
            (),
            f"whether all targets can be met exactly was {fault}",
            "give it more time, or fit the weights (calibrate, or l0-calibrate fit): that tells how near they can be",
        )
    except InputError as fault:  # the pre-flight has more to say than this
        return Finding(
            "exactness_unknown",
            "warning",
            (),
            f"whether all targets can be met exactly is not known: {fault}",
            "totals that nearly repeat one another must agree to rounding; give more digits, or fit them as near as "
            "can be",
        )
    return Finding(
        "exact",
        "info",
        (),
        f"all targets can be met exactly, by g-weights between {lower:.4g} and {upper:.4g} and no narrower bounds",
        "give methods with bounds a little more room than that",
    )


def _freedoms(problem: CalibrationProblem, q: Any) -> FloatArray:
    """``q`` of the records, checked; a column by its name."""
    if isinstance(q, str):
        return freedoms(record_column(problem, q).to_numpy(), problem.record_ids)
    refuse_other_order(q, problem.record_ids, "q", "the problem's records")
    return freedoms(q, problem.record_ids)


def _constraints(problem: CalibrationProblem) -> tuple[sp.csr_array, list[Any]]:
    """The matrix by records, and the names of its columns."""
    return problem.matrix.T.tocsr(), problem.target_names.tolist()


def _notes(problem: CalibrationProblem, weights: FloatArray) -> list[str]:
    notes = []
    if problem.tolerances.any():
        notes.append("tolerances of the targets have no part in a method that meets every total exactly")
    if np.ptp(problem.loss_weights) > 0:
        notes.append("how much each target counts has no part in a method that meets every total exactly")
    short = problem.target_names[~(np.abs(problem.relative_errors(weights)) <= MET)]
    if short.size:
        count = "1 total is" if short.size == 1 else f"{short.size:,} totals are"
        notes.append(
            f"{count} met, but not to many digits ({naming(short)}): too small beside what their entries add up to "
            "without their signs"
        )
    negative = problem.record_ids[weights < 0]
    if negative.size:
        count = "1 weight is" if negative.size == 1 else f"{negative.size:,} weights are"
        notes.append(f"{count} negative ({naming(negative)}): a lower bound of 0, or raking, has none")
    return notes

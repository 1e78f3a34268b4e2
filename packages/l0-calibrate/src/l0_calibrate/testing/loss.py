"""The contract of losses."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize

from l0_calibrate.losses.base import Loss, RowPrice
from l0_calibrate.losses.reweighting import MOST_ROUNDS, solve_priced
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.solvers.base import Machine, Solution, Stop, Task
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_core.testing import Contract

FloatArray = npt.NDArray[np.float64]

TARGETS, RECORDS = 8, 12

WEIGHTS = np.array([1.0, 0.5, 2.0, 0.0, 3.0, 1.0, 0.25, 1.0])
TOLERANCE = 0.03

RESIDUALS = np.concatenate(([0.0], np.geomspace(1e-4, 30.0, 60)))
"""From next to nothing to far out, none of them a round number at which a price may have a corner."""


def survey(**fields: Any) -> CalibrationProblem:
    """Eight targets of twelve records, some of them out of reach; ``fields`` as in `CalibrationProblem`."""
    rng = np.random.default_rng(4)
    matrix = rng.gamma(1.0, 1.0, (TARGETS, RECORDS)) * (rng.random((TARGETS, RECORDS)) < 0.6)
    initial = rng.uniform(5.0, 20.0, RECORDS)
    targets = 1.0 + matrix @ initial * rng.choice([0.8, 1.0, 1.3, 6.0], TARGETS)
    return CalibrationProblem(matrix, targets, initial_weights=initial, **fields)


def like(problem: CalibrationProblem, **fields: Any) -> CalibrationProblem:
    """The problem with other weights, tolerances or groups of its targets; none where they are not given."""
    return CalibrationProblem(
        problem.matrix,
        problem.targets,
        initial_weights=problem.initial_weights,
        target_info=problem.target_info,
        record_info=problem.record_info,
        **fields,
    )


def along(price: RowPrice, residual: float) -> FloatArray:
    """What each target costs at one residual, shape (m,)."""
    return price.values(np.full(price.cap.size, residual))


def conjugates(price: RowPrice, y: FloatArray) -> FloatArray:
    """The conjugate row by row, from the sum over the rows: shape (m,) for duals of shape (m,)."""
    return np.array([price.conjugate(np.where(np.arange(y.size) == i, y, 0.0)) for i in range(y.size)])


def same(a: RowPrice, b: RowPrice) -> bool:
    """Whether two prices are equal, bit by bit."""
    return all(
        np.array_equal(x, y) for x, y in ((a.cap, b.cap), (a.dead_zone, b.dead_zone), (a.curvature, b.curvature))
    )


def soft(price: RowPrice) -> npt.NDArray[np.bool_]:
    """The rows that are no hard constraints, flags of shape (m,)."""
    flags: npt.NDArray[np.bool_] = np.isfinite(price.cap) | (price.curvature > 0)
    return flags


class LossContract(Contract):
    """What every `Loss` must do. Override the fixture ``loss`` (and ``problem``, where it needs a table of targets)."""

    @pytest.fixture
    def loss(self) -> Loss:
        """The loss under test."""
        raise NotImplementedError("override the fixture 'loss' with one that returns your loss")

    @pytest.fixture
    def problem(self) -> CalibrationProblem:
        """A problem that the loss can price; targets of 1 and more, and no weights or tolerances of its own."""
        return survey()

    @pytest.fixture
    def weighted(self, problem: CalibrationProblem) -> CalibrationProblem:
        """The same with weights, one of them 0, and tolerances."""
        return like(problem, loss_weights=np.resize(WEIGHTS, problem.n_targets), tolerances=TOLERANCE)

    # ------------------------------------------------------------------ the price

    def test_a_price_has_a_valid_entry_for_each_target(self, loss: Loss, weighted: CalibrationProblem) -> None:
        assert isinstance(loss, Loss)
        self._check_valid(loss.price(weighted), weighted)

    @staticmethod
    def _check_valid(price: RowPrice, problem: CalibrationProblem) -> None:
        assert isinstance(price, RowPrice)
        for values in (price.cap, price.dead_zone, price.curvature):
            assert isinstance(values, np.ndarray)
            assert values.shape == (problem.n_targets,)
            assert values.dtype == np.float64
            assert (values >= 0.0).all()  # so that none is NaN
        assert np.isfinite(price.dead_zone).all()
        assert np.isfinite(price.curvature).all()

    def test_the_same_problem_has_the_same_price(self, loss: Loss, weighted: CalibrationProblem) -> None:
        before = weighted.digest
        assert same(loss.price(weighted), loss.price(weighted))
        assert weighted.digest == before

    def test_prices_begin_at_nothing_and_never_fall_with_the_error(
        self, loss: Loss, weighted: CalibrationProblem
    ) -> None:
        price = loss.price(weighted)
        above = np.array([along(price, r) for r in RESIDUALS])
        below = np.array([along(price, -r) for r in RESIDUALS])
        np.testing.assert_array_equal(above, below)
        assert (above[0] == 0.0).all()
        assert (above >= 0.0).all()
        assert (above[1:] >= above[:-1]).all()
        assert np.isfinite(above[:, soft(price)]).all()

    def test_prices_are_convex(self, loss: Loss, weighted: CalibrationProblem) -> None:
        price = loss.price(weighted)
        rows = soft(price)
        for low, high in zip(RESIDUALS[:-2], RESIDUALS[2:], strict=True):
            for start in (low, -low):
                middle = along(price, 0.5 * (start + high))[rows]
                ends = 0.5 * (along(price, start) + along(price, high))[rows]
                assert (middle <= ends * (1.0 + 1e-12) + 1e-14).all()  # rounding

    # ------------------------------------------------------------------ duals

    def test_price_and_conjugate_are_those_of_one_another(self, loss: Loss, weighted: CalibrationProblem) -> None:
        """Fenchel and Young: ``h(r) + h*(y) >= r y`` for any dual within its cap, equal for the best of them."""
        price = loss.price(weighted)
        rows = soft(price)
        steepest = np.where(price.curvature > 0, 2.0 * RESIDUALS[-1] / np.maximum(price.curvature, 1e-300), np.inf)
        reach = np.where(rows, np.minimum(price.cap, steepest), 0.0)
        shares = np.concatenate(([0.0], np.geomspace(1e-7, 1.0, 400)))
        duals = np.array([share * reach for share in shares])
        costs = np.array([conjugates(price, y) for y in duals])
        for residual in RESIDUALS:
            fetched = residual * duals - costs
            value = along(price, residual)
            assert (fetched[:, rows] <= value[rows] * (1.0 + 1e-12) + 1e-14).all()
            # From one dual of the row to the next is 4 %: a parabola is missed by (4 %)^2 / 4 of its height at most.
            assert (fetched.max(axis=0)[rows] >= value[rows] * (1.0 - 1e-3) - 1e-6).all()

    def test_slopes_are_the_duals_that_fetch_the_price(self, loss: Loss, weighted: CalibrationProblem) -> None:
        price = loss.price(weighted)
        rows, step = soft(price), 1e-7
        for residual in np.geomspace(1e-3, 20.0, 40):
            slopes = np.where(rows, (along(price, residual + step) - along(price, residual - step)) / (2 * step), 0.0)
            assert (slopes <= price.cap * (1.0 + 1e-5) + 1e-9).all()
            duals = np.clip(slopes, -price.cap, price.cap)
            missed = along(price, residual) + conjugates(price, duals) - residual * duals
            # At a corner the difference quotient is a slope too: no dual between two slopes misses anything.
            assert (missed[rows] <= 1e-5 * (1.0 + along(price, residual)[rows])).all()

    # ------------------------------------------------------------------ what the problem says of its targets

    @pytest.mark.parametrize("how", ["weights", "groups", "both"])
    def test_a_target_costs_in_proportion_to_its_weight(
        self, loss: Loss, problem: CalibrationProblem, how: str
    ) -> None:
        m, fields = problem.n_targets, dict[str, Any]()
        if how != "groups":
            fields["loss_weights"] = np.resize(WEIGHTS, m)
        if how != "weights":
            fields["groups"] = np.arange(m) < 3
        other = like(problem, **fields)
        plain, priced = loss.price(problem), loss.price(other)
        rows = soft(plain)
        for residual in RESIDUALS:
            expected = other.loss_weights * along(plain, residual)
            np.testing.assert_allclose(along(priced, residual)[rows], expected[rows], rtol=1e-9)
        free = other.loss_weights == 0.0
        assert (along(priced, RESIDUALS[-1])[free] == 0.0).all()

    def test_what_is_tolerated_costs_nothing(self, loss: Loss, problem: CalibrationProblem) -> None:
        zone = np.linspace(0.0, 0.2, problem.n_targets)
        strict, lenient = loss.price(problem), loss.price(like(problem, tolerances=zone))
        assert (lenient.values(zone) == 0.0).all()
        assert (lenient.values(-zone) == 0.0).all()
        for residual in RESIDUALS:
            assert (along(lenient, residual) <= along(strict, residual)).all()

    # ------------------------------------------------------------------ prices that follow

    def _further(self, loss: Loss, problem: CalibrationProblem) -> list[tuple[FloatArray, RowPrice | None]]:
        """Residuals of every size, and what the loss would solve next there."""
        price, m = loss.price(problem), problem.n_targets
        rng, found = np.random.default_rng(2), []
        for size in (0.0, 1e-3, 0.1, 1.0, 30.0, 1e6, np.inf):
            residuals = np.full(m, size) if size in (0.0, np.inf) else size * rng.normal(size=m)
            residuals.setflags(write=False)
            found.append((residuals, loss.reprice(price, residuals)))
        return found

    def test_a_loss_with_a_price_to_follow_says_so_of_endless_errors(
        self, loss: Loss, weighted: CalibrationProblem
    ) -> None:
        """It is how a loss that is not convex is known: a bound that no selection can beat would be none of it."""
        following = [price for _, price in self._further(loss, weighted)]
        if any(price is not None for price in following):
            assert following[-1] is not None

    def test_prices_that_follow_are_valid_and_the_same_each_time(
        self, loss: Loss, weighted: CalibrationProblem
    ) -> None:
        price = loss.price(weighted)
        for residuals, following in self._further(loss, weighted):
            again = loss.reprice(price, residuals)
            assert (again is None) == (following is None)
            if following is not None and again is not None:
                self._check_valid(following, weighted)
                assert same(following, again)
        assert same(price, loss.price(weighted))

    def test_abandoned_targets_cost_nothing_from_there_on(self, loss: Loss, weighted: CalibrationProblem) -> None:
        price = loss.price(weighted)
        for residuals, following in self._further(loss, weighted):
            flags = loss.abandoned(price, residuals)
            if flags is None:
                continue
            assert flags.shape == (weighted.n_targets,)
            assert flags.dtype == np.bool_
            assert not flags[residuals == 0.0].any()
            if flags.any():
                assert following is not None
                assert (following.values(np.full(flags.size, 30.0))[flags] == 0.0).all()

    # ------------------------------------------------------------------ fits

    @staticmethod
    def _task(loss: Loss, problem: CalibrationProblem) -> Task:
        n = problem.n_records
        task = Task(problem.system, loss.price(problem), None, np.zeros(n), np.full(n, 5.0), np.zeros(n), centre=1.0)
        refusal = PrimalDualSolver().refusal(task)
        if refusal is not None:
            pytest.skip(refusal)
        return task

    def test_the_sequence_of_prices_settles(self, loss: Loss, weighted: CalibrationProblem) -> None:
        fits: list[Solution] = []

        class Counted(PrimalDualSolver):
            def solve(self, *arguments: Any, **named: Any) -> Solution:
                fits.append(super().solve(*arguments, **named))
                return fits[-1]

        stop = Stop(tolerance=1e-4, iterations=20_000)
        found = solve_priced(Counted(), loss, self._task(loss, weighted), stop, None, Machine())
        assert found is fits[-1]
        assert len(fits) <= MOST_ROUNDS

    def test_the_best_ratio_of_one_record_is_that_of_a_search(self, loss: Loss, weighted: CalibrationProblem) -> None:
        """Solvers see the parameters of a price, the result its values: they must speak of the same function."""
        for record in range(min(4, weighted.n_records)):
            alone = self._task(loss, weighted)
            support = np.array([record])
            task = attrs.evolve(
                alone, support=support, lower=alone.lower[:1], upper=alone.upper[:1], spread=alone.spread[:1]
            )
            found = PrimalDualSolver().solve(task, Stop(tolerance=1e-6, iterations=20_000))
            column = weighted.system.columns
            first, last = int(column.indptr[record]), int(column.indptr[record + 1])
            a = np.zeros(weighted.n_targets)
            a[column.indices[first:last]] = column.values[first:last]

            def cost(u: float, a: FloatArray = a, price: RowPrice = task.price) -> float:
                return price.total(a * u - weighted.system.b)

            grid = np.linspace(0.0, 5.0, 501)
            near = grid[int(np.argmin([cost(float(u)) for u in grid]))]
            best = scipy.optimize.minimize_scalar(
                cost, bounds=(max(near - 0.02, 0.0), min(near + 0.02, 5.0)), method="bounded", options={"xatol": 1e-10}
            )
            # The gap that was asked for, and the end of the search.
            assert found.objective == pytest.approx(float(best.fun), rel=1e-5, abs=1e-7)
            assert found.bound <= float(best.fun) * (1.0 + 1e-9) + 1e-9

"""L0 coordinate descent against brute force over all subsets, SciPy's bounded least squares and Newton's method."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, minimize, nnls

from l0_core import InputError
from l0_gates.descent import DescentSettings, Regression, best_subset, descend, path
from l0_gates.descent.kernels import coordinate_minimiser
from l0_gates.descent.losses import LogisticLoss
from l0_gates.descent.point import Point, relax


def data(seed, rows=30, coordinates=8, support=3, noise=0.3):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, coordinates))
    truth = np.zeros(coordinates)
    truth[rng.permutation(coordinates)[:support]] = rng.choice([-1.5, 1.0, 2.0], size=support)
    return matrix, matrix @ truth + noise * rng.normal(size=rows), truth


def least_squares(matrix, response, subset, l2=0.0, lower=-np.inf, upper=np.inf):
    """Exact value of the bounded ridge regression on a subset."""
    if not subset:
        return 0.5 * response @ response
    part = matrix[:, subset]
    stacked = np.vstack([part, np.sqrt(l2) * np.eye(len(subset))])
    right = np.concatenate([response, np.zeros(len(subset))])
    return lsq_linear(stacked, right, bounds=(lower, upper), tol=1e-14).cost


@settings(deadline=None)  # the first example compiles
@given(
    linear=st.floats(-5, 5),
    curvature=st.floats(0.01, 4),
    price=st.floats(0, 3),
    lower=st.floats(-3, 3),
    width=st.floats(0, 4),
)
def test_the_coordinate_minimiser_beats_a_grid(linear, curvature, price, lower, width):
    upper = lower + width
    best = coordinate_minimiser(linear, curvature, price, lower, upper)
    assert lower <= best <= upper

    def value(b):
        return 0.5 * curvature * b**2 - linear * b + price * (b != 0)

    grid = np.linspace(lower, upper, 400)
    candidates = np.append(grid, 0.0) if lower <= 0 <= upper else grid
    assert value(best) <= min(value(b) for b in candidates) + 1e-12


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_a_priced_fit_is_never_worse_than_the_best_subset_by_brute_force(seed, form):
    matrix, response, _ = data(seed)
    given_matrix = matrix if form == "dense" else sp.csr_array(matrix)
    price, l2 = 2.0, 0.1
    best = min(
        least_squares(matrix, response, list(subset), l2) + price * size
        for size in range(9)
        for subset in itertools.combinations(range(8), size)
    )
    fit = descend(Regression(given_matrix, response, l2=l2), price)
    assert fit.status == "converged"
    # The minimum is local in general; on problems of this size descent with swaps finds the global one.
    assert fit.objective + price * fit.support.size == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("keep", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, 1.2)])
def test_the_best_subset_is_that_of_brute_force(seed, keep, bounds):
    matrix, response, _ = data(seed, noise=1.5)
    # A bounded fit on a superset is no worse, so at most `keep` coordinates is what is compared.
    best = min(
        least_squares(matrix, response, list(subset), 0.05, *bounds)
        for subset in itertools.combinations(range(8), keep)
    )
    fit = best_subset(Regression(matrix, response, l2=0.05, lower=bounds[0], upper=bounds[1]), keep)
    assert fit.support.size == keep
    assert fit.objective == pytest.approx(best, rel=1e-8)


def test_exchanging_several_at_once_gets_out_of_where_single_exchanges_stay():
    """Columns that share two factors, against all 3,060 subsets; without the exchange of several none of these is found."""
    subsets = np.array(list(itertools.combinations(range(18), 4)))
    for seed in (9, 12, 25, 34, 60, 153):
        rng = np.random.default_rng(seed)
        factors = rng.normal(size=(30, 2))
        matrix = 0.4 * rng.normal(size=(30, 18)) + factors @ rng.normal(size=(2, 18))
        truth = np.zeros(18)
        truth[rng.permutation(18)[:4]] = rng.choice([-2, -1, 1, 2], size=4)
        response = matrix @ truth + rng.normal(size=30)
        gram, linear = matrix.T @ matrix, (matrix.T @ response)[subsets]
        exact = np.linalg.solve(gram[subsets[:, :, None], subsets[:, None, :]], linear[:, :, None])[:, :, 0]
        best = 0.5 * (response @ response - (exact * linear).sum(axis=1).max())
        assert best_subset(Regression(matrix, response), 4).objective == pytest.approx(best, rel=1e-9), seed


def test_correlated_columns_need_the_swaps():
    """Descent alone stays at the decoy that correlates most; the exchange finds the pair that explains all."""
    rng = np.random.default_rng(3)
    first, second, noise = rng.normal(size=(3, 60))
    decoy = first + second + 0.3 * noise
    matrix = np.column_stack([decoy, first, second, rng.normal(size=(60, 10))])
    problem = Regression(matrix, first + second)
    without = descend(problem, 1.0, settings=DescentSettings(max_swaps=0))
    assert 0 in without.support
    np.testing.assert_array_equal(best_subset(problem, 2).support, [1, 2])


def best_exchange(seed, max_swaps):
    """By brute force, the most that the exchange of one coordinate would lower the objective, the others held."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(50, 1))
    matrix = 0.3 * rng.normal(size=(50, 30)) + common
    response = matrix[:, [3, 17, 22]] @ np.array([1.0, 1.0, -2.0]) + 0.1 * rng.normal(size=50)
    price = 0.2
    fit = descend(Regression(matrix, response), price, settings=DescentSettings(max_swaps=max_swaps))
    residual = response - matrix @ fit.coefficients
    gains = []
    for leaver, newcomer in itertools.product(fit.support, np.setdiff1d(np.arange(30), fit.support)):
        without = residual + matrix[:, leaver] * fit.coefficients[leaver]
        column = matrix[:, newcomer]
        after = 0.5 * (without @ without - (column @ without) ** 2 / (column @ column))
        gains.append(0.5 * residual @ residual - after)
    return max(gains)


def test_after_the_swaps_no_exchange_lowers_the_objective():
    assert all(best_exchange(seed, 200) <= 1e-8 for seed in range(6))
    assert any(best_exchange(seed, 0) > 1e-3 for seed in range(6))


def test_a_search_that_ran_out_of_exchanges_says_so():
    rng = np.random.default_rng(2)
    common = rng.normal(size=(50, 1))
    matrix = common + 0.3 * rng.normal(size=(50, 30))
    response = matrix[:, [3, 17, 22]] @ np.array([1.0, 1.0, -2.0]) + 0.1 * rng.normal(size=50)
    cut, whole = (descend(Regression(matrix, response), 0.2, settings=DescentSettings(max_swaps=n)) for n in (1, 2))
    assert (cut.status, whole.status) == ("budget_spent", "converged")


@settings(deadline=None)
@given(eta=st.floats(-30, 30), other=st.floats(-60, 60), response=st.sampled_from([0.0, 1.0]))
def test_the_logistic_majoriser_touches_and_lies_above(eta, other, response):
    loss = LogisticLoss()
    at, y = np.array([eta]), np.array([response])
    curvature, middle = loss.majoriser(at, y)

    def quadratic(e):
        return loss.values(at, y) + curvature / 2 * ((e - middle) ** 2 - (eta - middle) ** 2)

    # Rounding: the squares are of the order of 1e4 and cancel.
    assert quadratic(other)[0] >= loss.values(np.array([other]), y)[0] - 1e-9
    step = 1e-5
    slope = (loss.values(at + step, y) - loss.values(at - step, y)) / (2 * step)
    assert (quadratic(eta + step) - quadratic(eta - step))[0] / (2 * step) == pytest.approx(slope[0], abs=1e-6)


def test_without_a_price_it_is_nnls_and_lsq_linear():
    matrix, response, _ = data(11, rows=40, coordinates=12)
    weights, _ = nnls(matrix, response)
    fit = descend(Regression(sp.csc_array(matrix), response, lower=0.0))
    np.testing.assert_allclose(fit.coefficients, weights, atol=1e-7)
    exact = lsq_linear(matrix, response, bounds=(0.2, 0.9), tol=1e-14)
    fit = descend(Regression(matrix, response, lower=0.2, upper=0.9))
    np.testing.assert_allclose(fit.coefficients, exact.x, atol=1e-7)
    assert (fit.coefficients >= 0.2).all()


def test_bounds_that_exclude_zero_force_a_coordinate_in():
    matrix, response, _ = data(2)
    lower = np.full(8, -np.inf)
    lower[4] = 0.5
    fit = descend(Regression(matrix, response, lower=lower), 1e6)
    np.testing.assert_array_equal(fit.support, [4])
    for bounds in ({"lower": 0.1}, {"upper": -0.1}):
        with pytest.raises(InputError, match="must be in the model"):
            best_subset(Regression(matrix, response, **bounds), 3)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), mean=st.booleans(), intercept=st.booleans())
def test_row_weights_and_intercept_are_those_of_weighted_least_squares(seed, mean, intercept):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(25, 4)) + 3.0
    response = rng.normal(size=25) + 10.0
    weights = rng.uniform(0.1, 3.0, size=25)
    fit = descend(
        Regression(sp.csr_array(matrix), response, row_weights=weights, mean=mean, intercept=intercept),
        settings=DescentSettings(tolerance=1e-13, max_passes=20_000),
    )
    design = np.column_stack([matrix, np.ones(25)]) if intercept else matrix
    root = np.sqrt(weights)
    exact, *_ = np.linalg.lstsq(design * root[:, None], response * root, rcond=None)
    np.testing.assert_allclose(fit.coefficients, exact[:4], rtol=1e-6, atol=1e-8)
    if intercept:
        assert fit.intercept == pytest.approx(exact[4], rel=1e-6)
    value = 0.5 * weights @ (design @ exact - response) ** 2
    assert fit.objective == pytest.approx(value / (weights.sum() if mean else 1.0), rel=1e-9)


@pytest.mark.parametrize("intercept", [False, True])
def test_logistic_without_a_price_is_the_newton_optimum(intercept):
    matrix, score, _ = data(5, rows=80, coordinates=5)
    response = (score + np.random.default_rng(0).logistic(size=80) > 0.3).astype(float)
    problem = Regression(matrix, response, loss="logistic", l2=0.2, intercept=intercept)
    fit = descend(problem)

    def objective(b):
        return problem.objective(b[:5], b[5] if intercept else 0.0)

    exact = minimize(objective, np.zeros(6), method="BFGS", options={"gtol": 1e-7})
    assert fit.objective == pytest.approx(exact.fun, rel=1e-7)
    np.testing.assert_allclose(fit.coefficients, exact.x[:5], atol=1e-3)


def test_logistic_models_take_a_few_quadratics_each(monkeypatch):
    """Newton's steps: by quadratics that lie above the loss the same search took 582 of them."""
    matrix, score, _ = data(2, rows=150, coordinates=12, support=4)
    response = (score + np.random.default_rng(0).logistic(size=150) > 0).astype(float)
    counted = []
    quadratic = Regression.quadratic
    monkeypatch.setattr(Regression, "quadratic", lambda self, weights: counted.append(1) or quadratic(self, weights))
    best_subset(Regression(matrix, response, loss="logistic", l2=1e-6, mean=True, intercept=True), 4)
    assert len(counted) < 300


@pytest.mark.parametrize("far", [4.0, -30.0])
def test_a_logistic_descent_from_far_away_finds_the_same_minimum(far):
    """From there the whole of Newton's step would raise the loss."""
    matrix, score, _ = data(5, rows=80, coordinates=5)
    response = (score + np.random.default_rng(0).logistic(size=80) > 0.3).astype(float)
    problem = Regression(matrix, response, loss="logistic", l2=0.01, intercept=True)
    near, found = descend(problem), descend(problem, start=np.full(5, far))
    assert found.objective == pytest.approx(near.objective, rel=1e-9)
    np.testing.assert_allclose(found.coefficients, near.coefficients, atol=1e-5)


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("response", ["one class", "parted"])
def test_a_logistic_loss_without_a_minimum_comes_to_an_end(l2, response):
    """The loss falls towards zero for ever, so that any exchange seems to help."""
    matrix, _, _ = data(5, rows=30, coordinates=6)
    classes = np.zeros(30) if response == "one class" else (matrix[:, 0] > 0.0).astype(float)
    settings = DescentSettings(max_majorisations=20)
    fit = best_subset(Regression(matrix, classes, loss="logistic", l2=l2, intercept=True), 2, settings=settings)
    assert fit.support.size == 2
    assert fit.objective < 30 * np.log(2.0)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_logistic_best_subset_is_that_of_brute_force(keep):
    matrix, score, _ = data(8, rows=120, coordinates=6)
    response = (score + np.random.default_rng(1).logistic(size=120) > 0).astype(float)
    fit = best_subset(Regression(matrix, response, loss="logistic", l2=0.1), keep)
    best = min(
        descend(Regression(matrix[:, subset], response, loss="logistic", l2=0.1)).objective
        for subset in itertools.combinations(range(6), keep)
    )
    assert fit.objective == pytest.approx(best, rel=1e-6)


def test_the_path_falls_in_price_and_loss_and_recovers_the_truth():
    matrix, response, truth = data(21, rows=120, coordinates=40, support=6)
    fits = path(Regression(matrix, response), max_support=12)
    prices = [fit.l0 for fit in fits]
    assert prices == sorted(prices, reverse=True)
    assert fits[0].support.size == 0
    assert fits[-1].support.size >= 12
    assert any(np.array_equal(fit.support, np.flatnonzero(truth)) for fit in fits)
    given_prices = path(Regression(matrix, response), prices=[1.0, 30.0, 5.0])
    assert [fit.l0 for fit in given_prices] == [30.0, 5.0, 1.0]
    for most, sizes in ((1, [1]), (2, [1, 3]), (3, [1, 3]), (4, [1, 3, 4]), (40, [1, 3, 4, 6])):
        fits = path(Regression(matrix, response), prices=[30.0, 150.0, 70.0, 100.0], max_support=most)
        assert [fit.support.size for fit in fits] == sizes


def test_the_path_ends_where_nothing_is_left_to_gain():
    fits = path(Regression(np.eye(4), np.array([2.0, -1.0, 0.0, 0.0])))
    assert [fit.support.tolist() for fit in fits] == [[], [0], [0, 1]]


def test_what_a_descent_starts_from_has_a_coefficient_for_each_coordinate():
    problem = Regression(np.eye(3), np.ones(3))
    for start in (np.zeros(2), np.array([0.0, np.nan, 0.0])):
        with pytest.raises(InputError, match="start must be 3 finite coefficients"):
            descend(problem, 0.1, start=start)


def test_a_copy_of_a_point_stays_where_it_is():
    matrix, response, _ = data(5)
    point = Point(Regression(matrix + 1.0, response, intercept=True), np.zeros(8), 0.0)
    twin, before = point.copy(), point.copy().__dict__
    relax(twin, np.zeros(8), np.arange(8), DescentSettings())
    assert twin.value() < point.value()
    fresh = Point(point.problem, np.zeros(8), 0.0)
    for name in ("coefficients", "residual", "shift"):
        for same in (point.__dict__, before):
            np.testing.assert_array_equal(same[name], getattr(fresh, name), err_msg=name)


def test_must_keep_is_kept_and_the_rest_is_the_best():
    matrix, response, _ = data(4)
    fit = best_subset(Regression(matrix, response), 3, must_keep=[7])
    best = min(least_squares(matrix, response, [*pair, 7]) for pair in itertools.combinations(range(7), 2))
    assert 7 in fit.support
    assert fit.objective == pytest.approx(best, rel=1e-9)


def test_ugly_columns():
    """Empty, constant and duplicate columns give no NaN; a constant column is worth nothing beside an intercept."""
    matrix, response, _ = data(9)
    matrix = np.column_stack([matrix, np.zeros(30), np.ones(30), matrix[:, 0]])
    for form in (matrix, sp.csc_array(matrix)):
        fit = best_subset(Regression(form, response + 5.0, intercept=True), 4)
        assert np.isfinite(fit.coefficients).all()
        assert fit.coefficients[8] == 0.0
        assert fit.coefficients[9] == 0.0
    everything = best_subset(Regression(matrix, response), 11)
    assert everything.support.size == 11


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"matrix": np.ones(3)}, "two dimensions"),
        ({"response": np.ones(2)}, "response must have shape"),
        ({"response": np.array([1.0, np.nan, 0.0])}, "row 1"),
        ({"matrix": np.array([[1.0], [np.inf], [0.0]])}, "row 1, column 0"),
        ({"row_weights": [-1.0, 1.0, 1.0]}, "row_weights of row 0 is -1.0"),
        ({"l2": -1.0}, "l2"),
        ({"lower": 2.0, "upper": 1.0}, "coordinate 0"),
        ({"lower": [0.0, 0.0]}, r"lower must be one number or have shape \(1,\), got \(2,\)"),
        ({"row_weights": [1.0, 1.0, np.nan]}, "row_weights of row 2 is nan"),
        ({"matrix": np.ones((3, 0))}, "at least one row and one column"),
        ({"loss": "hinge"}, "logistic, squared"),
        ({"loss": "logistic", "response": np.array([0.0, 1.0, 2.0])}, "row 2"),
    ],
)
def test_bad_input_is_refused_at_the_door(change, words):
    arguments = {"matrix": np.ones((3, 1)), "response": np.ones(3)} | change
    with pytest.raises(InputError, match=words):
        Regression(arguments.pop("matrix"), arguments.pop("response"), **arguments)


def test_bad_prices_and_counts():
    problem = Regression(np.eye(3), np.ones(3))
    for price in (-1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="l0"):
            descend(problem, price)
    for keep in (0, 4, 1.5):
        with pytest.raises(InputError):
            best_subset(problem, keep)
    with pytest.raises(InputError, match="positions"):
        best_subset(problem, 1, must_keep=[3])


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("seed", range(3))
def test_a_large_constant_column_beside_an_intercept_and_a_ridge_is_worth_nothing(kind, seed):
    rng = np.random.default_rng(10 + seed)
    matrix, response = rng.normal(size=(13, 6)) + 1e3, rng.normal(size=13)
    matrix[:, -1] = 1e6
    fit = best_subset(Regression(kind(matrix), response, l2=1e-3, row_weights=rng.uniform(0, 2, 13), intercept=True), 6)
    assert fit.coefficients[-1] == 0.0


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_columns_far_from_zero_are_columns_like_others(loss):
    matrix, response, _ = data(4, rows=60)
    response = response if loss == "squared" else (response > 0.0).astype(float)
    far = matrix + 2.0**27  # adds no rounding of note
    near = far - 2.0**27
    asked = {"loss": loss, "l2": 0.1, "intercept": True}
    expected, found = (best_subset(Regression(m, response, **asked), 3) for m in (near, far))
    np.testing.assert_array_equal(found.support, expected.support)
    np.testing.assert_allclose(found.coefficients, expected.coefficients, rtol=1e-5)
    assert found.objective == pytest.approx(expected.objective, rel=1e-9)
    problem = Regression(far, response, **asked)
    shown = problem.predictor(found.coefficients, found.intercept)
    np.testing.assert_allclose(shown, near @ expected.coefficients + expected.intercept, atol=1e-4)
    again = descend(problem, 0.0, start=found)
    np.testing.assert_allclose(again.objective, descend(Regression(near, response, **asked)).objective, rtol=1e-8)

"""Calibration estimators against closed forms, iterative proportional fitting and SciPy's optimisers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from hard_totals import METHODS, hard_totals
from l0_calibrate.survey import CalibrationNotConverged, ConflictingTotals, survey_calibrate
from l0_calibrate.survey.distances import distance_of
from l0_calibrate.survey.newton import Search
from l0_core import InputError

R_AGREEMENT = 1e-8
"""Relative agreement asked for with other implementations of the same estimator."""


def sample(seed: int, n: int = 80, p: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Design weights, auxiliaries with a constant, totals some per cent off, and q."""
    rng = np.random.default_rng(seed)
    d = rng.lognormal(3, 0.5, n)
    x = np.column_stack((np.ones(n), rng.lognormal(0, 0.6, (n, p - 1))))
    totals = (x.T @ d) * rng.uniform(0.93, 1.07, p)
    return d, x, totals, rng.uniform(0.5, 2.0, n)


# ------------------------------------------------------------------ references


@pytest.mark.parametrize("seed", range(5))
def test_linear_is_the_closed_form_of_greg(seed: int) -> None:
    d, x, totals, q = sample(seed)
    expected = d * (1 + q * (x @ np.linalg.solve((x.T * (d * q)) @ x, totals - x.T @ d)))
    assert survey_calibrate(d, x, totals, q=q) == pytest.approx(expected, rel=R_AGREEMENT)


R_SURVEY = json.loads((Path(__file__).parent / "r_survey.json").read_text())


@pytest.mark.parametrize("case", R_SURVEY["cases"], ids=lambda case: str(case["name"]))
def test_equals_survey_calibrate_of_r(case: dict[str, Any]) -> None:
    """R's ``survey`` wrote the file with the script beside it; its variances are one over our q."""
    x, design, totals = (np.array(R_SURVEY[name]) for name in ("x", "design", "totals"))
    q = 1.0 / np.array(R_SURVEY["variance"]) if case["q"] else None
    bounds = None if case["bounds"] is None else tuple(case["bounds"])
    weights = survey_calibrate(design, x, totals, case["method"], bounds, q)
    assert weights == pytest.approx(np.array(case["weights"]), rel=1e-8)


@pytest.mark.parametrize("seed", [47, 129, 202, 208, 223, 297])
def test_g_weights_that_belong_next_to_their_bounds_are_found(seed: int) -> None:
    g = np.random.default_rng([15, seed])
    n, k = int(g.integers(2, 30)), int(g.integers(2, 7))
    x = np.column_stack((np.ones(n), g.random((n, k - 1)) < 0.3)).astype(float)
    ratios = np.clip(g.lognormal(0, 0.5, n), 0.901, 1.999)
    weights = survey_calibrate(np.ones(n), x, x.T @ ratios, "raking", (0.9, 2.0))
    assert x.T @ weights == pytest.approx(x.T @ ratios, rel=1e-8)
    assert ((weights >= 0.9) & (weights <= 2.0)).all()


def test_one_auxiliary_by_hand() -> None:
    # One auxiliary: lambda = (t - d'x) / d'x^2 for the linear, log(t / d'1) for a raked constant.
    d, x = np.array([2.0, 3.0, 5.0]), np.array([1.0, 2.0, 4.0])
    by = (33.0 - 28.0) / (2 + 12 + 80)
    assert survey_calibrate(d, x[:, None], [33.0]) == pytest.approx(d * (1 + by * x), rel=1e-12)
    assert survey_calibrate(d, np.ones((3, 1)), [12.0], "raking") == pytest.approx(1.2 * d, rel=1e-12)


def test_raking_on_margins_is_iterative_proportional_fitting() -> None:
    rng = np.random.default_rng(3)
    cells = np.array(list(itertools.product(range(4), range(3), range(2)))).repeat(5, axis=0)
    d = rng.lognormal(2, 0.7, len(cells))
    x = np.column_stack([(cells[:, k] == c).astype(float) for k in range(3) for c in range(cells[:, k].max() + 1)])
    truth = d * rng.uniform(0.6, 1.6, d.size)
    totals = x.T @ truth
    fitted = d.copy()
    for _ in range(2000):
        for k in range(x.shape[1]):
            fitted[x[:, k] > 0] *= totals[k] / fitted[x[:, k] > 0].sum()
    assert survey_calibrate(d, x, totals, "raking") == pytest.approx(fitted, rel=R_AGREEMENT)


def primal_distance(method: str, g: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """The distances of the paper as functions of w / d, written out from its table 1."""
    if method == "linear":
        return 0.5 * (g - 1) ** 2
    if method == "raking":
        return g * np.log(g) - g + 1
    low, high = bounds
    rate = (high - low) / ((1 - low) * (high - 1))
    return ((g - low) * np.log((g - low) / (1 - low)) + (high - g) * np.log((high - g) / (high - 1))) / rate


@pytest.mark.parametrize(
    ("method", "bounds"),
    [("linear", (0.9, 1.15)), ("raking", (0.9, 1.15)), ("raking", None), ("logit", (0.7, 1.4)), ("linear", None)],
)
def test_minimises_the_distance_of_the_paper(method: str, bounds: tuple[float, float] | None) -> None:
    d, x, _, q = sample(11, n=25, p=3)
    rng = np.random.default_rng(4)
    totals = x.T @ (d * rng.uniform(0.92, 1.12, d.size))
    ours = survey_calibrate(d, x, totals, method, bounds, q)
    low, high = bounds or ((1e-9, 1e3) if method == "raking" else (-1e3, 1e3))
    inner = (low + 1e-7, high - 1e-7) if method == "logit" else (low, high)
    scaled = x / totals

    def cost(g: np.ndarray) -> float:
        return float((d / q) @ primal_distance(method, g, (low, high)))

    found = so.minimize(
        cost, np.ones(d.size), method="SLSQP", bounds=[inner] * d.size,
        constraints={"type": "eq", "fun": lambda g: scaled.T @ (d * g) - 1, "jac": lambda _: (scaled * d[:, None]).T},
        options={"ftol": 1e-15, "maxiter": 2000},
    )  # fmt: skip
    # SLSQP with numerical gradients reaches the weights to about four digits and the distance to seven.
    assert ours / d == pytest.approx(found.x, abs=2e-3)
    assert cost(ours / d) <= cost(found.x) * (1 + 1e-6)
    assert x.T @ ours == pytest.approx(totals, rel=1e-10)


@pytest.mark.parametrize(("method", "bounds"), [("linear", (0.8, 1.3)), ("raking", (0.8, 1.3)), ("logit", (0.8, 1.3))])
def test_bounds_hold_and_bind(method: str, bounds: tuple[float, float]) -> None:
    d, x, _, _ = sample(2)
    totals = x.T @ (d * np.where(x[:, 1] > np.median(x[:, 1]), 1.22, 0.86))
    g = survey_calibrate(d, x, totals, method, bounds) / d
    assert g.min() >= 0.8 - 1e-12  # the quotient rounds
    assert g.max() <= 1.3 + 1e-12
    free = survey_calibrate(d, x, totals, "raking" if method != "linear" else "linear") / d
    assert free.min() < 0.8 or free.max() > 1.3
    assert x.T @ (d * g) == pytest.approx(totals, rel=1e-9)


@pytest.mark.parametrize("name", ["linear", "bounded linear", "raking", "bounded raking", "logit"])
def test_the_slope_of_a_distance_is_the_derivative_of_its_weight(name: str) -> None:
    distance = distance_of(name.split()[-1], (0.4, 2.5) if name.startswith("bounded") or name == "logit" else None)
    at = np.linspace(-1.7, 1.7, 69)[1::2]
    step = 1e-5
    slope = (distance.weight(at + step) - distance.weight(at - step)) / (2 * step)
    assert distance.slope(at) == pytest.approx(slope, abs=1e-5)
    assert distance.weight(np.zeros(1)) == pytest.approx(1.0)
    assert distance.slope(np.zeros(1)) == pytest.approx(1.0)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from(["linear", "raking", "logit"]))
def test_meets_every_set_of_totals_that_some_weights_meet(seed: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(3, 40)), int(rng.integers(1, 6))
    d = rng.lognormal(2, 1, n)
    x = rng.normal(size=(n, p)) * 10.0 ** rng.integers(-3, 6, p)
    totals = x.T @ (d * rng.uniform(0.5, 1.8, n))
    bounds = (0.4, 2.0) if method == "logit" else None
    weights = survey_calibrate(d, x, totals, method, bounds)
    assert np.abs(x.T @ weights - totals).max() <= 1e-9 * np.maximum(np.abs(totals), np.abs(x).T @ d).max()
    if method != "linear":
        assert (weights > 0).all()
    # Optimality: the g-weights are F of a linear function of x.
    g = weights / d
    u = {"linear": lambda: g - 1, "raking": lambda: np.log(g), "logit": lambda: _logit_inverse(g, 0.4, 2.0)}[method]()
    rest = u - x @ np.linalg.lstsq(x, u, rcond=None)[0]
    assert np.abs(rest).max() <= 1e-6 * (1 + np.abs(u).max())


def _logit_inverse(g: np.ndarray, low: float, high: float) -> np.ndarray:
    rate = (high - low) / ((1 - low) * (high - 1))
    return np.log((g - low) * (high - 1) / ((high - g) * (1 - low))) / rate


# ------------------------------------------------------------------ forms of input


def test_frames_sparse_matrices_and_named_totals_are_the_same_problem() -> None:
    d, x, totals, _ = sample(5)
    plain = survey_calibrate(d, x, totals, "raking")
    frame = pd.DataFrame(x, columns=list("abcd"))
    shuffled = pd.Series(totals, index=list("abcd"))[["c", "a", "d", "b"]]
    assert survey_calibrate(d, frame, shuffled, "raking") == pytest.approx(plain, rel=1e-12)
    assert survey_calibrate(d, frame, dict(shuffled), "raking") == pytest.approx(plain, rel=1e-12)
    assert survey_calibrate(d, sp.csc_array(x), totals, "raking") == pytest.approx(plain, rel=1e-12)


def test_repeated_constraints_and_records_without_weight() -> None:
    d, x, totals, _ = sample(6)
    d[3] = 0.0
    once = survey_calibrate(d, x, totals, "raking")
    twice = survey_calibrate(
        d, np.column_stack((x, x[:, 1], x[:, 0] + x[:, 2])), [*totals, totals[1], totals[0] + totals[2]], "raking"
    )
    assert twice == pytest.approx(once, rel=1e-7)
    assert once[3] == 0.0


def test_inputs_stay_as_they_were() -> None:
    d, x, totals, q = sample(7)
    copies = [a.copy() for a in (d, x, totals, q)]
    survey_calibrate(d, x, totals, "logit", (0.2, 4.0), q)
    assert all((a == b).all() for a, b in zip((d, x, totals, q), copies, strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "ranking"}, "unknown method 'ranking'; known: linear, raking, logit"),
        ({"method": "logit"}, "needs bounds"),
        ({"bounds": (1.1, 2.0)}, "L < 1 < U"),
        ({"method": "raking", "bounds": (-0.5, 2.0)}, "positive weights"),
        ({"method": "logit", "bounds": (0.5, np.inf)}, "finite upper"),
        ({"bounds": 3.0}, "two numbers"),
        ({"X": np.ones(80)}, r"X must be two-dimensional \(records, constraints\)"),
        ({"X": np.ones((80, 0))}, r"X must be two-dimensional \(records, constraints\)"),
        ({"q": np.array([0.5, 1.0, 0.0] + [1.0] * 77)}, "q must be positive: record 2 has 0$"),
        ({"q": np.ones(3)}, "q must have shape"),
        ({"totals": [1.0, 2.0]}, r"totals must have shape \(4,\)"),
        ({"totals": [1.0, 2.0, np.nan, 1.0]}, "constraint 2"),
        ({"design_weights": np.array([1.0, 0.0, -1.0] + [1.0] * 77)}, "not be negative: record 2 has one"),
        ({"design_weights": np.zeros(80)}, "nothing to calibrate"),
    ],
)
def test_bad_input_is_refused_with_the_reason(change: dict[str, object], words: str) -> None:
    d, x, totals, _ = sample(8)
    with pytest.raises(InputError, match=words):
        survey_calibrate(**{"design_weights": d, "X": x, "totals": totals, **change})


def test_entries_and_names_that_do_not_fit() -> None:
    d, x, totals, _ = sample(9)
    for column in (2, 0):
        x[4, column] = np.inf
        with pytest.raises(InputError, match=f"record 4, column {column}"):
            survey_calibrate(d, x, totals)
    frame = pd.DataFrame(sample(9)[1], columns=list("abcd"))
    with pytest.raises(InputError, match="no total for 'd'; no column for 'e'"):
        survey_calibrate(d, frame, dict(zip("abce", totals, strict=True)))


# ------------------------------------------------------------------ totals that fight


def test_names_the_smallest_set_of_totals_that_fight() -> None:
    rng = np.random.default_rng(1)
    n = 200
    sex, region = rng.integers(0, 2, n), rng.integers(0, 4, n)
    frame = pd.DataFrame({"all": np.ones(n), "men": sex == 0, "women": sex == 1, "north": region == 0}, dtype=float)
    frame["income"] = rng.lognormal(0, 1, n)
    totals = {"all": 2000.0, "men": 1200.0, "women": 900.0, "north": 500.0, "income": 3000.0}
    with pytest.raises(ConflictingTotals, match="together") as fault:
        survey_calibrate(np.full(n, 10.0), frame, totals, "raking")
    assert set(fault.value.columns) == {"all", "men", "women"}
    with pytest.raises(ConflictingTotals) as fault:
        survey_calibrate(np.full(n, 10.0), frame, totals)
    assert set(fault.value.columns) == {"all", "men", "women"}


def test_a_single_total_out_of_reach_is_named_alone() -> None:
    frame = pd.DataFrame({"all": np.ones(50), "nobody": np.zeros(50), "half": np.arange(50) % 2.0})
    totals = {"all": 55.0, "nobody": 3.0, "half": 26.0}
    with pytest.raises(ConflictingTotals, match="'nobody'") as fault:
        survey_calibrate(np.ones(50), frame, totals)
    assert fault.value.columns == ("nobody",)
    with pytest.raises(ConflictingTotals) as fault:
        survey_calibrate(np.ones(50), frame[["all", "half"]], {"all": 90.0, "half": 26.0}, "linear", (0.5, 1.5))
    assert fault.value.columns == ("all",)


def test_a_total_that_needs_weights_of_0_is_a_conflict_for_raking() -> None:
    frame = pd.DataFrame({"all": np.ones(40), "part": np.arange(40) % 2.0})
    with pytest.raises(ConflictingTotals, match="no positive weights") as fault:
        survey_calibrate(np.ones(40), frame, {"all": 40.0, "part": 40.0}, "raking")
    assert set(fault.value.columns) == {"all", "part"}


def test_every_conflict_is_one_and_irreducible() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n, p = 30, 6
        x = rng.integers(0, 3, (n, p)).astype(float)
        d = rng.uniform(1, 3, n)
        totals = (x.T @ d) * rng.choice([0.6, 1.0, 1.5], p)
        try:
            survey_calibrate(d, x, totals, "linear", (0.7, 1.4))
        except ConflictingTotals as fault:
            columns = list(fault.columns)
            assert not _possible(d, x[:, columns], totals[columns])
            for k in columns:
                rest = [c for c in columns if c != k]
                assert not rest or _possible(d, x[:, rest], totals[rest])
        else:
            assert _possible(d, x, totals)


def _possible(d: np.ndarray, x: np.ndarray, totals: np.ndarray) -> bool:
    found = so.linprog(np.zeros(d.size), A_eq=(x * d[:, None]).T, b_eq=totals, bounds=[(0.7, 1.4)] * d.size)
    return found.status == 0


@pytest.mark.parametrize("method", ["linear", "raking", "logit"])
def test_as_many_totals_as_records_are_met_where_many_weights_are_cut_off_on_the_way(method: Any) -> None:
    for seed in range(30):
        g = np.random.default_rng(seed)
        n = int(g.integers(4, 9))
        X, d, wanted, q = g.normal(size=(n, n)), g.lognormal(0, 2, n), g.uniform(0.55, 1.9, n), g.uniform(0.2, 3, n)
        weights = survey_calibrate(d, X, X.T @ (d * wanted), method=method, bounds=(0.5, 2.0), q=q)
        np.testing.assert_allclose(weights, d * wanted, rtol=1e-6)


@pytest.mark.parametrize("how", sorted(METHODS))
def test_heavy_tails_columns_that_nearly_repeat_others_and_totals_near_the_edge_are_met(how: str) -> None:
    method, bounds = METHODS[how]
    for seed in range(40):
        hard = hard_totals(seed, bounds)
        weights = survey_calibrate(hard.design, hard.x, hard.totals, method, bounds, hard.q)
        size = np.maximum(np.abs(hard.totals), np.abs(hard.x).T @ hard.design)
        assert (np.abs(hard.x.T @ weights - hard.totals) <= 2e-9 * size).all(), seed


@pytest.mark.parametrize("method", ["linear", "raking", "logit"])
def test_totals_out_of_reach_do_not_send_the_iteration_out_of_the_numbers(method: Any) -> None:
    for seed in range(30):
        g = np.random.default_rng(seed)
        n, p = int(g.integers(2, 9)), int(g.integers(2, 6))
        X, d = g.normal(size=(n, p)), g.lognormal(0, 1, n)
        with pytest.raises(ConflictingTotals):
            survey_calibrate(d, X, X.T @ (d * g.uniform(-1, 4, n)), method=method, bounds=(0.9, 1.1))


def test_records_in_another_order_are_refused() -> None:
    names = [f"h{i}" for i in range(30)]
    x = pd.DataFrame({"one": 1.0, "size": np.arange(30.0)}, index=names)
    design, q = pd.Series(np.arange(1.0, 31.0), index=names), pd.Series(np.linspace(0.5, 2.0, 30), index=names)
    totals = [500.0, 9_000.0]
    expected = survey_calibrate(design.to_numpy(), x.to_numpy(), totals, q=q.to_numpy())
    np.testing.assert_array_equal(survey_calibrate(design, x, totals, q=q), expected)
    with pytest.raises(InputError, match="design_weights is indexed by the same labels as X in another order"):
        survey_calibrate(design[::-1], x, totals)
    with pytest.raises(InputError, match="q is indexed by the same labels as X in another order"):
        survey_calibrate(design, x, totals, q=q[::-1])
    with pytest.raises(InputError, match="q is indexed by the same labels as design_weights in another order"):
        survey_calibrate(design, x.to_numpy(), totals, q=q[::-1])


def test_labels_that_stand_alone_say_nothing() -> None:
    names = [f"h{i}" for i in range(30)]
    x, design = np.column_stack((np.ones(30), np.arange(30.0))), np.arange(1.0, 31.0)
    q, totals = np.linspace(0.5, 2.0, 30), [500.0, 9_000.0]
    labelled = survey_calibrate(design, x, totals, q=pd.Series(q, index=names))
    np.testing.assert_array_equal(labelled, survey_calibrate(design, x, totals, q=q))
    with pytest.raises(InputError, match=r"design_weights must have shape \(30,\)"):
        survey_calibrate(pd.Series(design[:29], index=names[:29]), x, totals)


# ------------------------------------------------------------------ far from the design weights


def test_logit_weights_next_to_a_bound_are_exact_beside_their_distance_from_it() -> None:
    """With an upper bound of 1e9 every start is within 1e-9 of the lower end: shares there must not be rounded."""
    d, x, totals, _ = sample(11)
    for factor in (1e-4, 1e-3, 1.0, 1e3):
        weights = survey_calibrate(d, x, totals * factor, "logit", (0.0, 1e9))
        np.testing.assert_allclose(x.T @ weights, totals * factor, rtol=1e-12)
    logit = distance_of("logit", (0.0, 3.0))
    far = np.array([-60.0, -200.0])
    np.testing.assert_allclose(logit.weight(far - 1.0) / logit.weight(far), np.exp(-1.5), rtol=1e-12)
    np.testing.assert_allclose(logit.slope(far) / logit.weight(far), 1.5, rtol=1e-12)


@pytest.mark.parametrize(("method", "bounds"), [("raking", None), ("logit", (0.0, 3.0))])
def test_totals_far_below_the_start_are_met_beside_themselves(method: Any, bounds: Any) -> None:
    d, x, totals, q = sample(12)
    for factor in (1e-5, 1e-7, 1e-12):
        weights = survey_calibrate(d, x, totals * factor, method, bounds, q)
        np.testing.assert_allclose(x.T @ weights, totals * factor, rtol=1e-9)
        assert (weights > 0).all()


def test_a_few_records_may_end_far_below_the_others() -> None:
    """A rare group whose total falls to a hundred-millionth, beside totals that stay: no conflict, and met."""
    rng = np.random.default_rng(13)
    n = 100
    d = rng.uniform(1, 3, n)
    x = np.column_stack((np.ones(n), np.arange(n) < 10, rng.normal(size=n))).astype(float)
    totals = np.array([d.sum(), 1e-8 * d[:10].sum(), 5.0])
    for method, bounds in (("raking", None), ("logit", (0.0, 4.0))):
        np.testing.assert_allclose(x.T @ survey_calibrate(d, x, totals, method, bounds), totals, rtol=1e-9)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [1.0, 1e-9])
def test_a_total_of_0_stays_a_conflict_however_small_the_others_are(factor: float) -> None:
    frame = pd.DataFrame({"all": np.ones(40), "part": np.arange(40) % 2.0, "rest": (np.arange(40) + 1) % 2.0})
    for totals in ((40.0, 0.0), (40.0, 40.0)):
        for method, bounds in (("raking", None), ("logit", (0.0, 4.0))):
            with pytest.raises(ConflictingTotals):
                survey_calibrate(np.ones(40), frame[["all", "part"]], np.array(totals) * factor, method, bounds)  # type: ignore[arg-type]
    with pytest.raises(ConflictingTotals) as fault:
        survey_calibrate(np.ones(40), frame, np.array([20.0, 12.0, 9.0]) * factor, "raking")
    assert set(fault.value.columns) == {"all", "part", "rest"}


@pytest.mark.parametrize("stray", [0.25, -0.25, np.nan])
def test_totals_that_could_be_met_and_were_not_are_never_passed_over(
    stray: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An iteration that ends beside totals that weights do meet: the error names the worst, and has all misses."""
    d, x, totals, _ = sample(0)
    misses = np.array([0.0, 0.125, stray, -2e-9])

    def run(self: Search, patience: int = 0) -> None:
        self.best = self.best._replace(ratios=np.ones(d.size), miss=misses)

    monkeypatch.setattr(Search, "run", run)
    with pytest.raises(CalibrationNotConverged, match="stopped with 'c' missed by") as caught:
        survey_calibrate(d, pd.DataFrame(x, columns=list("abcd")), dict(zip("abcd", totals, strict=True)))
    np.testing.assert_array_equal(caught.value.misses, misses)


def test_raking_far_out_is_infinity_without_a_warning() -> None:
    """The line search looks there: warnings are errors in these tests."""
    distance = distance_of("raking", None)
    for found in (distance.weight, distance.slope):
        np.testing.assert_array_equal(found(np.array([-800.0, 0.0, 800.0])), [0.0, 1.0, np.inf])


def test_misses_that_are_told_are_the_smallest_that_were_found():
    """A copy but for 1e-9 asks for 3e-8 more than its original: weights that met both would be far out."""
    rng = np.random.default_rng(0)
    size = rng.gamma(2.0, 10.0, 40)
    X = np.column_stack([np.ones(40), size, size * (1 + 1e-9 * rng.normal(size=40))])
    design = np.full(40, 10.0)
    totals = X.T @ design * [1.0, 1.1, 1.1 * (1 + 3e-8)]
    with pytest.raises(CalibrationNotConverged) as fault:
        survey_calibrate(design, X, totals, "logit", (0.3, 2.0))
    assert np.abs(fault.value.misses).max() < 1e-7

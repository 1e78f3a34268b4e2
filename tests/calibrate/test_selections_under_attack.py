"""Small random problems with random options: every selection is valid, and no bound is above what brute force finds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.optimize as so
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l0_calibrate import CalibrationProblem, CalibrationResult, Options, calibrate
from l0_calibrate.frontier import calibrate_path
from l0_core import InputError

ATTACK = settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

SELECTORS = ("prune", "prune", "exchange", "exchange", "random", "hard_concrete", "sampford", "cube")


def ugly(g: np.random.Generator) -> CalibrationProblem:
    """Entries of one size or of 1e-9 to 1e12, of both signs, empty and equal columns, targets met, missed or absurd."""
    m, n = int(g.integers(1, 8)), int(g.integers(1, 10))
    sizes = 10.0 ** g.uniform(-9, 12, (m, 1)) if g.random() < 0.3 else 1.0
    a = (g.random((m, n)) < g.choice([0.3, 0.6, 1.0])) * g.gamma(1.0, 1.0, (m, n)) * sizes
    if g.random() < 0.35:
        a *= g.choice([1.0, 1.0, -1.0], (m, n))
    if g.random() < 0.3:
        a[:, -1] = a[:, 0]
    if g.random() < 0.3:
        a[:, g.integers(n)] = 0.0
    if g.random() < 0.2:
        a[g.integers(m)] = 0.0
    w = 10.0 ** g.uniform(-3, 3, n) if g.random() < 0.3 else g.uniform(0.5, 3.0, n)
    if n > 1 and g.random() < 0.1:
        w[g.integers(n)] = 0.0
    targets = (a @ w) * g.choice([1.0, 1.3, 0.4, 0.0, -1.0], m)
    if g.random() < 0.2:
        targets = 10.0 ** g.uniform(-9, 12, m) * g.choice([1.0, -1.0], m)
    weights = g.choice([1.0, 1e-3, 10.0], m) if g.random() < 0.25 else None
    return CalibrationProblem(sp.csr_array(a), targets, initial_weights=w, loss_weights=weights)


def options(g: np.random.Generator, asked: CalibrationProblem) -> dict[str, Any]:
    """Any budget, bounds, flags, groups, selector, solver and loss."""
    n, w = asked.n_records, asked.initial_weights
    how: dict[str, Any] = {"keep": int(g.choice([1, n, int(g.integers(1, n + 1))])), "tol": 1e-4, "time_limit": 20.0}
    for name, chance, values in (
        ("max_weight_ratio", 0.5, [1.0, 1.5, 5.0, 100.0]),
        ("min_weight_ratio", 0.2, [0.1, 0.5, 1.0]),
        ("max_weight", 0.2, [w.max(), 3.0 * w.max(), 20.0 * w.max()]),
    ):
        if g.random() < chance:
            how[name] = float(g.choice(values))
    if g.random() < 0.2:
        how["max_weight"] = np.where(g.random(n) < 0.3, np.inf, (w + 0.1) * 10.0 ** g.uniform(-2, 2, n))
    how["conserve_mass"] = bool(g.random() < 0.2)
    for name in ("must_keep", "never_keep"):
        if g.random() < 0.25:
            how[name] = g.random(n) < 0.2
    if g.random() < 0.25:
        how["groups"] = g.integers(0, max(1, n // 2), n)
    how["selector"] = str(g.choice(SELECTORS))
    how["selector_settings"] = {"exchange": {"rounds": 6}, "hard_concrete": {"steps": 40}}.get(how["selector"], {})
    how["solver"] = str(g.choice(["primal_dual", "interior_point", "auto", "coordinate_descent"]))
    how["loss"] = str(g.choice(["absolute", "absolute", "squared", "huber", "capped"]))
    how["spread"] = float(g.choice([0.0, 0.003]))
    how["dense_bound"] = how["loss"] != "capped" and bool(g.random() < 0.5)
    return how


def check_valid(asked: CalibrationProblem, how: dict[str, Any], result: CalibrationResult) -> None:
    """Exactly K positive weights within every bound, flags heeded, groups whole, the sum held."""
    w, w0, keep = result.weights, asked.initial_weights, how["keep"]
    kept = w > 0
    reference = w0 * asked.n_records / keep
    assert np.isfinite(w).all()
    assert np.isfinite(result.objective)
    assert kept.sum() == keep
    assert (w <= how.get("max_weight", np.inf) * (1 + 1e-9)).all()
    assert (w[kept] <= how.get("max_weight_ratio", np.inf) * reference[kept] * (1 + 1e-9)).all()
    assert (w[kept] >= how.get("min_weight_ratio", 0.0) * reference[kept] * (1 - 1e-9)).all()
    if how["conserve_mass"]:
        np.testing.assert_allclose(w.sum(), w0.sum(), rtol=1e-9)
    if "must_keep" in how:
        assert kept[how["must_keep"]].all() or "groups" in how
    if "never_keep" in how:
        assert not kept[how["never_keep"]].any()
    for group in np.unique(how.get("groups", ())):
        assert kept[how["groups"] == group].any() == kept[how["groups"] == group].all()
    assert result.bound is None or result.bound <= result.objective * (1 + 1e-9) + 1e-15


def least_loss(asked: CalibrationProblem, records: np.ndarray, how: dict[str, Any]) -> float:
    """The least price of error on some records, without a floor, by HiGHS; infinite where the bounds leave nothing."""
    size = np.maximum(np.abs(asked.targets), 1)
    w0 = asked.initial_weights[records]
    a, b = asked.matrix.toarray()[:, records] * w0 / size[:, None], asked.targets / size
    m, k = a.shape
    row = np.maximum(np.abs(a).max(axis=1, initial=1.0), 1.0)
    caps = np.broadcast_to(how.get("max_weight", np.inf), asked.n_records)[records]
    upper = np.minimum(how.get("max_weight_ratio", np.inf) * asked.n_records / how["keep"], caps / w0)
    cost = np.concatenate((np.zeros(k), asked.loss_weights / m))
    rows = np.vstack((np.hstack((a, -np.eye(m))), np.hstack((-a, -np.eye(m))))) / np.tile(row, 2)[:, None]
    mass = np.concatenate((w0, np.zeros(m)))[None] / asked.initial_weights.sum() if how["conserve_mass"] else None
    limits = [*((0, None if np.isinf(u) else u) for u in upper), *[(0, None)] * m]
    found = so.linprog(
        cost, rows, np.concatenate((b, -b)) / np.tile(row, 2), mass, None if mass is None else [1.0], bounds=limits
    )
    if found.x is None:
        return np.inf
    ratios = np.clip(found.x[:k], 0.0, upper)
    return float(asked.loss_weights @ np.abs(a @ ratios - b)) / m  # of the point itself: HiGHS rounds its optimum


@ATTACK
@given(st.integers(0, 2**32 - 1))
def test_every_selection_is_valid_and_no_bound_is_above_what_brute_force_finds(seed: int) -> None:
    g = np.random.default_rng(seed)
    asked = ugly(g)
    how = options(g, asked)
    try:
        result = calibrate(asked, **how)
    except InputError:
        return  # refused with a reason
    check_valid(asked, how, result)
    priced = float(asked.loss_weights @ np.abs(asked.relative_errors(result.weights))) / asked.n_targets
    if how["loss"] != "absolute":
        return
    assert result.dense_bound is None or result.dense_bound <= priced * (1 + 1e-12) + 1e-15
    if asked.n_records > 7 or "groups" in how or how["spread"] > 0:
        return
    usable = (asked.initial_weights > 0) & ~how.get("never_keep", np.zeros(asked.n_records, dtype=bool))
    must = set(np.flatnonzero(how.get("must_keep", np.zeros(asked.n_records, dtype=bool))).tolist())
    every = [
        np.array(s) for s in itertools.combinations(np.flatnonzero(usable).tolist(), how["keep"]) if must <= set(s)
    ]
    best = min(least_loss(asked, records, how) for records in every)
    assert result.dense_bound is None or result.dense_bound <= best * (1 + 1e-12) + 1e-12


@settings(ATTACK, max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_every_path_is_nested_and_each_of_its_selections_valid(seed: int) -> None:
    g = np.random.default_rng(seed)
    asked = ugly(g)
    how = options(g, asked)
    largest = how["keep"]
    counts = sorted({largest, *(int(k) for k in g.integers(1, largest + 1, 2))}, reverse=True)
    try:
        results = calibrate_path(asked, counts, Options(**how))
    except InputError:
        return
    for keep, result in zip(counts, results, strict=True):
        check_valid(asked, {**how, "keep": keep}, result)
    for wide, narrow in itertools.pairwise(results):
        assert (wide.weights[narrow.weights > 0] > 0).all()

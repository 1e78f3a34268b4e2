"""A largest weight for each record: what it does beside linear programmes, through every door, and what it refuses."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, CalibrationResult, Options, calibrate
from l0_calibrate.cli.app import app
from l0_calibrate.constraints import bounds_of
from l0_calibrate.domains import calibrate_domains
from l0_calibrate.frontier import calibrate_path
from l0_calibrate.postconditions import check_weights
from l0_calibrate.problem import record_numbers
from l0_calibrate.replicates import calibrate_replicates
from l0_calibrate.reuse import reuse_selection
from l0_core import InputError

M, N = 6, 40
SIDES = np.where(np.arange(N) % 3 == 0, "a", "b")


def survey(**fields: Any) -> CalibrationProblem:
    """Two domains with three targets each, all above what the initial weights give."""
    g = np.random.default_rng(4)
    a = g.gamma(1, 1, (M, N)) * (g.random((M, N)) < 0.7)
    a[:3, SIDES == "b"] = 0
    a[3:, SIDES == "a"] = 0
    w = g.uniform(0.5, 2, N)
    info = fields.pop("record_info", pd.DataFrame()).reindex(range(N)).assign(side=SIDES)
    return CalibrationProblem(sp.csr_array(a), 1.3 * (a @ w), initial_weights=w, record_info=info, **fields)


def caps_of(asked: CalibrationProblem, seed: int = 0) -> np.ndarray:
    """Caps below and above the initial weights; none for every fourth record."""
    caps = asked.initial_weights * np.random.default_rng(seed).uniform(0.6, 4.0, N)
    caps[::4] = np.inf
    return caps


def small(seed: int) -> tuple[CalibrationProblem, np.ndarray]:
    """A problem and caps; those of every fifth seed are low and all finite, and may not hold the sum."""
    g = np.random.default_rng(seed)
    m, n = int(g.integers(1, 6)), int(g.integers(3, 8))
    a = (g.random((m, n)) < 0.7) * g.choice([1.0, 2.0, -1.0, 0.5], (m, n))
    w = g.uniform(0.5, 3.0, n)
    low = seed % 5 == 0
    caps = np.where((g.random(n) < 0.3) & (not low), np.inf, w * g.uniform(0.2, 1.5 if low else 4.0, n))
    return CalibrationProblem(sp.csr_array(a), a @ w * g.uniform(0.5, 2.5, m), initial_weights=w), caps


def least_loss(asked: CalibrationProblem, caps: np.ndarray, mass: float | None = None) -> float:
    """The least mean error of weights from 0 to their caps, by HiGHS, in the weights themselves; inf where none are."""
    size = np.maximum(np.abs(asked.targets), 1.0)
    a, (m, n) = asked.matrix.toarray() / size[:, None], asked.matrix.shape
    rows, right = np.hstack((a, -np.eye(m), np.eye(m))), asked.targets / size
    if mass is not None:
        rows = np.vstack((rows, np.concatenate((np.ones(n), np.zeros(2 * m)))))
        right = np.append(right, mass)
    cost = np.concatenate((np.zeros(n), np.ones(2 * m))) / m
    limits = [*((0, cap) for cap in caps), *[(0, None)] * (2 * m)]
    found = so.linprog(cost, A_eq=rows, b_eq=right, bounds=limits)
    return float(found.fun) if found.status == 0 else np.inf


def within(result: CalibrationResult, caps: np.ndarray) -> bool:
    return bool((result.weights <= caps * (1 + 1e-9)).all())


# ---------------------------------------------------------------------- what it does


@pytest.mark.parametrize("conserve_mass", [False, True])
@pytest.mark.parametrize("solver", ["auto", "primal_dual"])
def test_dense_fits_are_those_of_linear_programmes(solver: str, conserve_mass: bool) -> None:
    bound_by_caps = refused = 0
    for seed in range(60):
        asked, caps = small(seed)
        mass = float(asked.initial_weights.sum()) if conserve_mass else None
        best = least_loss(asked, caps, mass)
        how: dict[str, Any] = {"solver": solver, "spread": 0.0, "tol": 1e-3, "conserve_mass": conserve_mass}
        if np.isinf(best):
            with pytest.raises(InputError, match="conserve_mass cannot hold: the bounds allow a sum of weights of at"):
                calibrate(asked, max_weight=caps, **how)
            refused += 1
            continue
        result = calibrate(asked, max_weight=caps, **how)
        assert within(result, caps), seed
        assert best - 1e-6 * (1 + best) <= result.loss <= best * (1 + 2e-3) + 1e-5, seed
        assert result.bound is None or result.bound <= best + 1e-6 * (1 + best), seed
        bound_by_caps += best > least_loss(asked, np.full(asked.n_records, np.inf), mass) + 1e-3
    assert bound_by_caps > 20
    assert (refused > 0) == conserve_mass


def test_no_records_of_a_budget_beat_the_bound_and_caps_are_those_of_the_records_kept() -> None:
    differs = 0
    for seed in range(14):
        asked, caps = small(seed)
        keep = asked.n_records // 2
        best, free = np.inf, np.inf
        for kept in itertools.combinations(range(asked.n_records), keep):
            on = np.isin(np.arange(asked.n_records), kept)
            best = min(best, least_loss(asked, np.where(on, caps, 0.0)))
            free = min(free, least_loss(asked, np.where(on, np.inf, 0.0)))
        differs += best > free + 1e-3
        for selector in ("prune", "exchange"):
            result = calibrate(
                asked, keep=keep, max_weight=caps, selector=selector, spread=0.0, tol=1e-4, dense_bound=True
            )
            assert result.kept == keep
            assert within(result, caps), seed
            assert result.dense_bound is not None
            assert result.dense_bound <= best * (1 + 1e-9) + 1e-9, seed
            assert result.loss >= best - 1e-9, seed
            refit = least_loss(asked, np.where(result.selection.mask, caps, 0.0))
            assert result.loss <= 1.1 * refit + 0.03, seed  # the floor of kept records and the tolerance between them
    assert differs > 3


WAYS: dict[str, dict[str, Any]] = {
    "dense": {},
    "interior point": {"solver": "interior_point", "conserve_mass": True},
    "sample size": {"ess_at_least": 30.0},
    "prune": {"keep": 15, "conserve_mass": True},
    "exchange": {"keep": 15, "selector": "exchange", "max_weight_ratio": 3.0, "dense_bound": True},
    "gates": {"keep": 15, "selector": "hard_concrete", "selector_settings": {"steps": 40}},
    "groups": {"keep": 16, "groups": np.arange(N) // 2, "min_weight_ratio": 0.1},
}


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_as_many_equal_caps_are_one_cap_and_infinite_ones_are_none_to_the_last_bit(how: dict[str, Any]) -> None:
    asked = survey()
    for cap in (4.0, 6):
        one, many = (calibrate(asked, max_weight=given, **how) for given in (cap, np.full(N, cap)))
        assert one.fingerprint == many.fingerprint
        assert (one.objective, one.bound, one.dense_bound) == (many.objective, many.bound, many.dense_bound)
    none, many = calibrate(asked, **how), calibrate(asked, max_weight=[np.inf] * N, **how)
    assert none.fingerprint == many.fingerprint


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_every_way_keeps_within_caps_that_bind(how: dict[str, Any]) -> None:
    asked = survey()
    caps = caps_of(asked)
    result = calibrate(asked, max_weight=caps, **how)
    assert within(result, caps)
    assert np.isclose(result.weights, caps, rtol=5e-3).any()
    assert not within(calibrate(asked, **how), caps)
    if "keep" in how:
        assert result.kept == how["keep"]
    if "conserve_mass" in how:
        assert result.weights.sum() == pytest.approx(asked.initial_weights.sum(), rel=1e-9)


@pytest.mark.parametrize("keep", [None, 20])
def test_each_domain_has_the_caps_of_its_records(keep: int | None) -> None:
    asked = survey()
    caps = caps_of(asked)
    whole = calibrate_domains(asked, "side", Options(keep=keep, max_weight=caps))
    assert within(whole, caps)
    for side, rows in (("a", np.arange(3)), ("b", np.arange(3, 6))):
        there = np.flatnonzero(side == SIDES)
        kept = None if keep is None else int(whole.selection.mask[there].sum())
        alone = calibrate(asked.subset(rows, there), keep=kept, max_weight=caps[there])
        np.testing.assert_array_equal(whole.weights[there], alone.weights)


def test_replicates_have_the_same_caps_in_domains_too() -> None:
    asked = survey()
    caps = caps_of(asked)
    others = asked.initial_weights[:, None] * np.random.default_rng(1).uniform(0.5, 1.5, (N, 3))
    main = calibrate(asked, keep=20, max_weight=caps)
    for fitted in (
        calibrate_replicates(main, others),
        calibrate_domains(asked, "side", Options(keep=20, max_weight=caps), replicate_weights=others),
    ):
        assert fitted.replicates is not None
        assert (fitted.replicates <= caps[:, None] * (1 + 1e-9)).all()
        assert np.isclose(fitted.replicates, caps[:, None], rtol=1e-4).any(axis=0).all()


def test_every_count_of_a_path_keeps_within_the_caps() -> None:
    asked = survey()
    caps = caps_of(asked)
    results = calibrate_path(asked, [30, 15], Options(max_weight=caps))
    assert [result.kept for result in results] == [30, 15]
    assert all(within(result, caps) for result in results)
    assert calibrate(asked, keep=30, max_weight=caps).fingerprint == results[0].fingerprint


def test_caps_that_leave_no_such_sample_size_are_told_before_any_fit() -> None:
    """With the sum of 4 held, weights .1, .1, 1.9, 1.9 are the most even: 4^2 / (.02 + 7.22) = 2.21.

    The bound, at a level of 1, the mean weight, is 2 + 2 (1 - .9^2) = 2.38.
    """
    asked = CalibrationProblem(np.eye(4), np.ones(4))
    caps = np.array([0.1, 0.1, np.inf, np.inf])
    how: dict[str, Any] = {"max_weight": caps, "conserve_mass": True}
    events: list[Any] = []
    with pytest.raises(InputError, match=r"ess_at_least=2.4 cannot be had .* above 2.38\d*, .* loosen the bounds"):
        calibrate(asked, ess_at_least=2.4, watch=events.append, **how)
    assert not events
    assert calibrate(asked, ess_at_least=2.1, **how).ess >= 2.1


def test_a_cap_below_the_least_weight_names_its_record_or_leaves_it_out() -> None:
    asked = survey()
    caps = np.full(N, np.inf)
    caps[[7, 9]] = 0.1 * asked.initial_weights[[7, 9]]
    with pytest.raises(InputError, match=r"contradictory bounds: record 7 .* by max_weight \(1 more records like it"):
        calibrate(asked, max_weight=caps, min_weight_ratio=0.5)
    result = calibrate(asked, keep=30, max_weight=caps, min_weight_ratio=0.5)
    assert not result.selection.mask[[7, 9]].any()
    with pytest.raises(InputError, match=r"with no weight between min_weight_ratio and max_weight \(7\)"):
        calibrate(asked, keep=30, max_weight=caps, min_weight_ratio=0.5, must_keep=np.arange(N) == 7)


def test_a_sum_that_the_caps_of_no_records_hold_is_refused() -> None:
    asked = survey()
    caps = np.full(N, 1.2 * asked.initial_weights.sum() / N)
    calibrate(asked, max_weight=caps, conserve_mass=True)
    with pytest.raises(InputError, match=r"conserve_mass cannot hold: .* at most .* raise max_weight"):
        calibrate(asked, max_weight=caps, conserve_mass=True, keep=20)


def test_a_weight_above_the_cap_of_its_record_is_a_fault_of_the_solver() -> None:
    asked = survey()
    caps = caps_of(asked)
    result = calibrate(asked, max_weight=caps)
    bounds = bounds_of(asked, result.options)
    check_weights(result, bounds, None)
    weights = result.weights.copy()
    weights[5] = 1.001 * caps[5]
    with pytest.raises(RuntimeError, match="the weight of record 5 is above its bound"):
        check_weights(attrs.evolve(result, weights=weights), bounds, None)


# ---------------------------------------------------------------------- the door


@pytest.mark.parametrize(
    ("at_7", "says"),
    [(np.nan, "is nan"), (0.0, "is 0.0"), (-np.inf, "is -inf"), (1e300, r"is 1e\+300.* up to 1e\+140, or inf")],
)
@pytest.mark.parametrize("door", ["calibrate", "domains", "path", "reuse"])
def test_a_cap_that_is_none_is_refused_by_the_name_of_its_record(door: str, at_7: float, says: str) -> None:
    asked = survey(record_ids=[f"h{j}" for j in range(N)])
    caps = np.full(N, 5.0)
    caps[[7, 8]] = at_7
    events: list[Any] = []
    options = Options(keep=20, max_weight=caps)
    with pytest.raises(InputError, match=rf"^max_weight of record 'h7' \(position 7\) {says}.*"):
        if door == "calibrate":
            calibrate(asked, options, watch=events.append)
        elif door == "domains":
            calibrate_domains(asked, "side", options, watch=events.append)
        elif door == "path":
            calibrate_path(asked, [20, 10], options, watch=events.append)
        else:
            reuse_selection(asked, options, ["h1"])
    assert not events


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.full(N - 1, 5.0), rf"one for each record .* there are {N}, got shape \({N - 1},\)"),
        (np.ones(1), r"got shape \(1,\)"),
        ([], r"got shape \(0,\)"),
        (np.full((N, 1), 5.0), rf"got shape \({N}, 1\)"),
        (pd.DataFrame({"cap": np.ones(N)}), rf"got shape \({N}, 1\)"),
        ([[1.0], [2.0, 3.0]], "one for each record"),
        (np.ones(N, dtype=bool), "dtype bool"),
        (pd.Series([True] * N, dtype="boolean"), "dtype bool"),
        (["much"] * N, "must be real numbers"),
        (np.full(N, 1j), "must be real numbers"),
        (pd.Series(pd.Timestamp("2020-01-01"), index=range(N)), "must be real numbers"),
        (np.ma.masked_equal(np.arange(N), 3), "masked"),
        ("cap", "must be a positive number, or one for each record, got 'cap'"),
        (np.array(5.0), r"must be a positive number, .* got array\(5.\)"),
        (np.inf, "must be a positive number, .* got inf"),
        (0, "must be a positive number, .* got 0"),
        (True, "must be a positive number, .* got True"),
        (pd.Series([pd.NA] + [2.0] * (N - 1), dtype=object), r"max_weight of record 0 \(position 0\) is nan"),
        (pd.Series([None] + [2] * (N - 1), dtype="Int64"), r"max_weight of record 0 \(position 0\) is nan"),
    ],
)
def test_what_is_no_cap_for_each_record_is_refused(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        calibrate(survey(), max_weight=given)


def test_caps_are_the_options_own_and_a_series_goes_by_its_labels() -> None:
    names = [f"h{j}" for j in range(N)]
    asked = survey(record_ids=names)
    caps = caps_of(asked)
    options = Options(max_weight=caps)
    caps[:] = 1e-3
    given = caps_of(asked)
    np.testing.assert_array_equal(options.max_weight, given)
    for kept in (options.max_weight, options.on(asked).max_weight, attrs.evolve(options, seed=1).max_weight):
        with pytest.raises(ValueError, match="read-only"):
            kept[0] = 1.0
    plain = calibrate(asked, options)
    assert not plain.options.max_weight.flags.writeable
    forms = (given.tolist(), pd.Series(given), pd.Series(given, names), pd.Series(given, names, dtype="Float64"))
    for form in forms:
        assert calibrate(asked, max_weight=form).fingerprint == plain.fingerprint
    with pytest.raises(InputError, match="max_weight is indexed by the same labels as the problem's records in anoth"):
        calibrate(asked, max_weight=pd.Series(given, names)[::-1])
    with pytest.raises(InputError, match="max_weight is indexed by other labels"):
        calibrate(asked, max_weight=pd.Series(given, [f"x{j}" for j in range(N)]))


def test_what_is_written_down_does_not_list_the_caps(tmp_path: Path) -> None:
    asked = survey()
    result = calibrate(asked, keep=20, max_weight=caps_of(asked))
    result.save(tmp_path / "run")
    written = json.loads((tmp_path / "run" / "result.json").read_text())["options"]
    assert written["max_weight"] == "given"
    assert Options(max_weight=np.float64(3.0)).as_dict()["max_weight"] == 3.0
    assert json.loads(json.dumps(Options(max_weight=pd.Series([1.0], ["x"])).as_dict()))["max_weight"] == "given"


# ---------------------------------------------------------------------- the command line


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def kept_weights(folder: Path) -> np.ndarray:
    return pd.read_parquet(folder / "weights.parquet")["weight"].to_numpy()


@pytest.mark.parametrize("more", [(), ("--keep", 20), ("--keep", 20, "--by", "side")], ids=["dense", "keep", "by"])
def test_a_column_of_the_records_caps_them(more: tuple[object, ...], tmp_path: Path) -> None:
    caps = caps_of(survey())
    asked = survey(record_info=pd.DataFrame({"cap": caps}))
    asked.save(tmp_path / "p")
    done = run("fit", tmp_path / "p", *more, "--max-weight", "cap", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.exception
    options = Options(keep=20 if more else None, max_weight=caps)
    same = calibrate_domains(asked, "side", options) if "--by" in more else calibrate(asked, options)
    np.testing.assert_array_equal(kept_weights(tmp_path / "run"), same.weights)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["options"]["max_weight"] == "given"


def test_a_number_is_one_on_the_command_line_and_a_path_takes_a_column(tmp_path: Path) -> None:
    asked = survey(record_info=pd.DataFrame({"cap": caps_of(survey())}))
    asked.save(tmp_path / "p")
    assert run("fit", tmp_path / "p", "--max-weight", "2.5", "--out", tmp_path / "run").exit_code == 0
    np.testing.assert_array_equal(kept_weights(tmp_path / "run"), calibrate(asked, max_weight=2.5).weights)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["options"]["max_weight"] == 2.5
    done = run("frontier", tmp_path / "p", "--keep", "30,15", "--max-weight", "cap", "--out", tmp_path / "path")
    assert done.exit_code == 0, done.exception
    losses = pd.read_csv(tmp_path / "path" / "frontier.csv").set_index("keep")["loss"]
    path = calibrate_path(asked, [30, 15], Options(max_weight=caps_of(survey())))
    assert [losses[result.kept] for result in path] == pytest.approx([result.loss for result in path], rel=1e-12)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("cpa", "the records have no column 'cpa'; did you mean 'cap'"),
        ("flag", "column 'flag' must hold numbers; record 0 has True (and 39 more have something else)"),
        (
            "text",
            "column 'text' must hold numbers; record 0 has '1,000' (and 39 more have something else): write numbers",
        ),
        ("gaps", "column 'gaps' has no value for 1 of the records: 3"),
        ("zero", "max_weight of record 3 (position 3) is 0.0"),
        ("nan", "max_weight must be a positive number, or one for each record, got nan"),
        ("-1", "max_weight must be a positive number, or one for each record, got -1.0"),
    ],
)
def test_a_column_that_caps_nothing_is_refused(given: str, says: str, tmp_path: Path) -> None:
    third = np.arange(N) == 3
    info = {"cap": np.ones(N), "flag": [True] * N, "text": ["1,000"] * N, "gaps": np.where(third, np.nan, 1.0)}
    survey(record_info=pd.DataFrame(info | {"zero": np.where(third, 0.0, 1.0)})).save(tmp_path / "p")
    done = run("fit", tmp_path / "p", "--max-weight", given, "--out", tmp_path / "run")
    assert isinstance(done.exception, InputError)
    assert says in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_columns_of_numbers_are_numbers_of_any_kind_and_no_dates() -> None:
    info = pd.DataFrame(
        {"whole": range(N), "exact": [Decimal("1.5")] * N, "mixed": [1, 2.5, np.int8(3)] + [np.inf] * 37}
    )
    asked = survey(record_info=info.astype({"mixed": object}).assign(day=pd.Timestamp("2020-01-01")))
    np.testing.assert_array_equal(record_numbers(asked, "whole"), np.arange(N))
    np.testing.assert_array_equal(record_numbers(asked, "exact"), np.full(N, 1.5))
    np.testing.assert_array_equal(record_numbers(asked, "mixed"), [1.0, 2.5, 3.0] + [np.inf] * 37)
    with pytest.raises(InputError, match="column 'day' must hold numbers; record 0 has 2020-01-01"):
        record_numbers(asked, "day")

"""Options beside one another: each is heeded, or refused with a reason; what is handed out is checked."""

from __future__ import annotations

import gc
import json
import re
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, calibrate, frontier
from l0_calibrate.checkpoint import Checkpoint
from l0_calibrate.cli.app import app
from l0_calibrate.constraints import bounds_of
from l0_calibrate.domains import calibrate_domains
from l0_calibrate.frontier import calibrate_path
from l0_calibrate.losses.absolute import AbsoluteLoss
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.losses.capped import CappedLoss
from l0_calibrate.losses.reweighting import solve_priced
from l0_calibrate.options import Options
from l0_calibrate.postconditions import check_selection, check_weights
from l0_calibrate.problem.problem import attrs_copy
from l0_calibrate.replicates import calibrate_replicates
from l0_calibrate.result import CalibrationResult
from l0_calibrate.reuse import reuse_selection
from l0_calibrate.selectors.base import Budget, Selected
from l0_calibrate.selectors.random import RandomSelector
from l0_calibrate.solvers import Stop, Task
from l0_calibrate.solvers.base import Machine, Solution, Solver, Start
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.time_shares import Shares
from l0_core import InputError, Selection

M, N = 6, 40
PAIRS = np.arange(N) // 2


def problem(**fields: Any) -> CalibrationProblem:
    g = np.random.default_rng(1)
    a, w = g.gamma(1, 1, (M, N)) * (g.random((M, N)) < 0.6), g.uniform(0.5, 2, N)
    return CalibrationProblem(sp.csr_array(a), (a @ w) * g.uniform(0.7, 1.3, M), initial_weights=w, **fields)


def halves(extra_row: bool = False) -> CalibrationProblem:
    """Two domains with three targets each and, if wanted, a target that no record enters."""
    asked = problem()
    a = asked.matrix.toarray()
    a[:3, 20:] = 0
    a[3:, :20] = 0
    targets = a @ asked.initial_weights * 1.2
    if extra_row:
        a, targets = np.vstack((a, np.zeros(N))), np.append(targets, 5.0)
    side = pd.DataFrame({"side": np.where(np.arange(N) < 20, "a", "b")})
    return CalibrationProblem(sp.csr_array(a), targets, initial_weights=asked.initial_weights, record_info=side)


# ---------------------------------------------------------------------- replicates


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"keep": 20},
        {"keep": 20, "conserve_mass": True},
        {"keep": 20, "max_weight_ratio": 2.0, "min_weight_ratio": 0.1},
        {"keep": 20, "groups": PAIRS, "selector": "random", "dense_bound": True},
        {"keep": 20, "max_weight": np.where(PAIRS % 3 == 0, np.inf, 2.0 + PAIRS / 9)},
        {"keep": 20, "must_keep": np.arange(N) < 3, "ess_at_least": 10.0},
        {"max_weight_ratio": 1.2, "solver": "interior_point"},
    ],
    ids=["dense", "keep", "mass", "ratios", "groups", "caps", "must", "dense box"],
)
def test_a_replicate_equal_to_the_initial_weights_gets_the_main_weights(how: dict[str, Any]) -> None:
    asked = problem()
    main = calibrate(asked, tol=1e-5, **how)
    w = asked.initial_weights
    other = w * np.random.default_rng(0).uniform(0.8, 1.2, N)
    other[main.selection.indices[:2]] = 0.0
    fitted = calibrate_replicates(main, np.column_stack((w, other))).replicates
    assert fitted is not None
    close = 0.08 if "ess_at_least" in how else 2e-3  # the objective is flat there
    np.testing.assert_allclose(fitted[:, 0], main.weights, atol=close * main.weights.max())
    assert (fitted[other == 0, 1] == 0).all()
    if "keep" in how:
        np.testing.assert_array_equal(fitted[:, 1] > 0, main.selection.mask & (other > 0))
    if "conserve_mass" in how:
        np.testing.assert_allclose(fitted.sum(axis=0), [w.sum(), other.sum()], rtol=1e-9)


def test_domains_get_counts_that_their_groups_can_give() -> None:
    """Each has a share of five records; of pairs the one gets four, the other six."""
    result = calibrate_domains(halves(), "side", Options(keep=10, groups=PAIRS, selector="random"))
    kept = result.selection.mask
    assert sorted((int(kept[:20].sum()), int(kept[20:].sum()))) == [4, 6]
    assert (kept[::2] == kept[1::2]).all()


def test_spreads_that_differ_between_domains_are_told() -> None:
    result = calibrate_domains(halves(), "side", Options(ess_at_least=17.2))
    alone = [calibrate(part, ess_at_least=17.2).spread for part in _sides()]
    assert f"spread from {min(alone):.3g} to {max(alone):.3g}, domain by domain" in result.notes


def _sides() -> list[CalibrationProblem]:
    asked = halves()
    return [asked.subset(np.arange(k, k + 3), np.arange(20) + 20 * (k > 0)) for k in (0, 3)]


def test_replicates_of_domains_are_fitted_domain_by_domain() -> None:
    asked = halves()
    w = asked.initial_weights
    both = np.column_stack((w, 1.1 * w))
    options = Options(keep=20, conserve_mass=True, tol=1e-5)
    whole = calibrate_domains(asked, "side", options, replicate_weights=both)
    assert whole.replicates is not None
    assert whole.replicate_names == ("replicate_1", "replicate_2")
    np.testing.assert_allclose(whole.replicates[:, 0], whole.weights, atol=2e-3 * whole.weights.max())
    for side in (slice(0, 20), slice(20, 40)):
        np.testing.assert_allclose(whole.replicates[side].sum(axis=0), both[side].sum(axis=0), rtol=1e-9)
    with pytest.raises(InputError, match="calibrate_domains"):
        calibrate_replicates(whole, both)


def test_replicates_that_cannot_be_weights_are_named() -> None:
    main = calibrate(problem(), keep=20)
    with pytest.raises(InputError, match="replicate weights must be numbers"):
        calibrate_replicates(main, np.full((N, 1), "many"))
    for bad, message in ((np.nan, "replicate 2 of record 3 is nan"), (-1.0, "replicate 2 of record 3 is -1")):
        values = np.ones((N, 2))
        values[3, 1] = bad
        with pytest.raises(InputError, match=message):
            calibrate_replicates(main, values)
    named = pd.DataFrame(1.0, index=range(N), columns=["first", "second"])
    named.loc[[3, 5], "second"] = -1.0
    with pytest.raises(InputError, match=r"replicate 2 \('second'\) of record 3 is -1.0 \(and 1 more\)"):
        calibrate_replicates(main, named)
    with pytest.raises(InputError, match="replicate 1 gives none of the 20 records"):
        calibrate_replicates(main, np.where(main.selection.mask, 0.0, 1.0)[:, None])


# ---------------------------------------------------------------------- bounds and flags


def test_a_record_that_cannot_have_its_least_weight_is_not_kept() -> None:
    asked = problem()
    w = asked.initial_weights
    cap = float(np.sort(0.8 * w * N / 20)[25])  # what 26 records can have at least is below it
    result = calibrate(asked, keep=20, min_weight_ratio=0.8, max_weight=cap)
    kept = result.selection.mask
    assert (result.weights[kept] >= 0.8 * w[kept] * N / 20 * (1 - 1e-9)).all()
    assert result.weights.max() <= cap * (1 + 1e-9)
    with pytest.raises(InputError, match=r"keep=27 is above the .* min_weight_ratio and max_weight"):
        calibrate(asked, keep=27, min_weight_ratio=0.8 * 27 / 20, max_weight=cap)
    must = w == w.max()
    with pytest.raises(InputError, match="no weight between min_weight_ratio and max_weight"):
        calibrate(asked, keep=20, min_weight_ratio=0.8, max_weight=cap, must_keep=must)


@pytest.mark.parametrize("solver", ["primal_dual", "interior_point"])
@pytest.mark.parametrize("keep", [3, 30])
def test_untouched_records_of_large_weights_do_not_take_the_sum_that_is_held(solver: str, keep: int) -> None:
    g, w = np.random.default_rng(0), np.ones(1_000)
    w[:3] = 500.0
    a = g.gamma(1, 1, (3, 1_000))
    a[:, :3] = 0.0
    asked = CalibrationProblem(sp.csr_array(a), a @ w, initial_weights=w)
    must = np.arange(1_000) < 3
    result = calibrate(asked, keep=keep, conserve_mass=True, must_keep=must, solver=solver)
    assert result.status != "infeasible"
    assert result.kept == keep
    assert result.weights.sum() == pytest.approx(w.sum(), rel=1e-9)


def test_flags_are_true_or_false_not_ids_nor_missing() -> None:
    for good in ([True, False], [1, 0], np.array([True, False], dtype=object), pd.Series([True, False])):
        assert Options(keep=1, must_keep=good).must_keep.tolist() == [True, False]
    for bad in ([np.nan, 0.0], ["a", "b"], [2, 0], [None, True], pd.array([None, True], dtype="boolean")):
        with pytest.raises(InputError, match="one true or false for each record"):
            Options(keep=1, never_keep=bad)


def test_numbers_of_numpy_are_the_same_options() -> None:
    numpy_like = Options(keep=np.int64(3), seed=np.int32(1), tol=np.float64(0.1))
    assert json.dumps(numpy_like.as_dict()) == json.dumps(Options(keep=3, seed=1, tol=0.1).as_dict())
    with pytest.raises(InputError, match="tol"):
        Options(tol=None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"relative gap, below 1 .* got 1"):
        Options(tol=1)  # per cent, as likely as not


@pytest.mark.parametrize("name", ["loss", "selector", "solver", "backend"])
def test_what_a_plugin_builds_is_no_name(name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name} must be the name of an installed {name}.*; got <object"):
        Options(**{name: object()})


def test_switches_are_true_or_false() -> None:
    for name in ("conserve_mass", "dense_bound"):
        with pytest.raises(InputError, match=f"{name} must be True or False, got 'yes'"):
            Options(keep=3, **{name: "yes"})
    with pytest.raises(InputError, match="conserve_mass must be True or False, got None"):
        Options(conserve_mass=None)  # type: ignore[arg-type]
    assert Options(dense_bound=None).dense_bound is None


@pytest.mark.parametrize(
    ("priced", "spread", "ess"), [({"spread": 0.02}, 0.02, None), ({"ess_at_least": 6.0}, 3e-3, 6.0)], ids=str
)
def test_a_selector_is_told_all_that_is_asked_of_it(
    priced: dict[str, float], spread: float, ess: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Budget] = []
    sound = RandomSelector.select

    def select(self: RandomSelector, budget: Budget, *rest: Any) -> Selected:
        told.append(budget)
        return sound(self, budget, *rest)

    monkeypatch.setattr(RandomSelector, "select", select)
    asked = problem()
    plain: dict[str, Any] = {"keep": 12, "selector": "random", "max_weight_ratio": 9.0}
    calibrate(
        asked, **plain, **priced, min_weight_ratio=0.01, max_weight=30.0, conserve_mass=True, groups=PAIRS,
        must_keep=np.arange(N) == 5, never_keep=np.arange(N) == 9, time_limit=50.0,
    )  # fmt: skip
    calibrate(asked, **plain)
    full, bare = told
    assert (full.keep, full.ratio_bound, full.lower_ratio) == (12, 9.0, 0.01)
    assert (full.spread, full.ess_at_least) == (spread, ess)
    assert full.mass == pytest.approx(asked.initial_weights.sum())
    assert 0.0 < full.seconds <= 0.8 * 50.0
    np.testing.assert_allclose(full.caps, 30.0 / asked.initial_weights)
    np.testing.assert_array_equal(full.groups, PAIRS)
    np.testing.assert_array_equal(full.must_keep, PAIRS == 2)  # with the other of its pair
    np.testing.assert_array_equal(full.never_keep, PAIRS == 4)
    assert (bare.keep, bare.ratio_bound, bare.lower_ratio, bare.spread, bare.seconds) == (12, 9.0, 0.0, 3e-3, np.inf)
    absent = (bare.caps, bare.groups, bare.must_keep, bare.never_keep, bare.mass, bare.ess_at_least, bare.areas)
    assert all(part is None for part in absent)


def test_a_selection_that_breaks_its_contract_is_refused() -> None:
    asked = problem()
    flags = np.arange(N) == 5
    budget = Budget(asked, asked.system, RowPrice.absolute(np.ones(M)), 4, must_keep=flags)
    check_selection(budget, Selection(np.array([1, 2, 5, 9]), N), "mine")
    for indices, change, message in (
        ([1, 5], {}, "kept 2 records instead of 4"),
        ([1, 2, 3, 9], {}, "dropped record 5"),
        ([1, 2, 5, 9], {"never_keep": np.arange(N) == 9}, "kept record 9"),
        ([1, 2, 5, 9], {"groups": PAIRS}, "split a group"),
    ):
        with pytest.raises(RuntimeError, match=message):
            check_selection(attrs.evolve(budget, **change), Selection(np.array(indices), N), "mine")


def test_weights_that_break_the_contract_of_solvers_are_refused() -> None:
    asked = problem()
    options = Options(keep=10, max_weight_ratio=2.0, min_weight_ratio=0.2, conserve_mass=True)
    sound = calibrate(asked, options)
    bounds, mass = bounds_of(asked, options), float(asked.initial_weights.sum())
    check_weights(sound, bounds, mass)
    kept, scale = np.flatnonzero(sound.weights > 0), asked.n_records / 10
    first = kept[0]

    def broken(j: int, value: float) -> np.ndarray:
        return np.where(np.arange(N) == j, value, sound.weights)

    reference = asked.initial_weights[first] * scale
    for weights, message in (
        (broken(int(np.flatnonzero(sound.weights == 0)[0]), -1.0), "a weight is negative or not finite"),
        (broken(first, 2.0 * reference * (1 + 1e-8)), f"the weight of record {first} is above its bound"),
        (broken(first, 0.2 * reference * (1 - 1e-8)), f"the weight of record {first} is below its bound"),
        (broken(first, 0.0), "9 records have a positive weight instead of 10"),
        (sound.weights * (1 + 1e-8), "the weights sum to"),
    ):
        with pytest.raises(RuntimeError, match=message):
            check_weights(attrs.evolve(sound, weights=weights), bounds, mass)
    with pytest.raises(RuntimeError, match="the weights sum to"):
        check_weights(sound, bounds, mass * (1 - 1e-8))
    check_weights(attrs.evolve(sound, status="infeasible"), bounds, 2.0 * mass)  # the sum that no weights have


# ---------------------------------------------------------------------- starts, checkpoints, earlier selections


@pytest.mark.parametrize("keep", [None, 20])
def test_a_warm_start_of_another_problem_is_refused_and_one_of_this_is_used(keep: int | None) -> None:
    asked = problem()
    others = Start(np.ones(N + 1)), Start(None, np.ones(M - 1)), Start(np.full(N, np.nan)), Start(mass_dual=np.nan)
    for start in others:
        with pytest.raises(InputError, match="warm must have"):
            calibrate(asked, keep=keep, warm=start)
    cold = calibrate(asked, keep=keep, solver="primal_dual", tol=1e-4)
    assert cold.dual is not None
    again = Start(cold.weights / asked.initial_weights, cold.dual * M)
    warm = calibrate(asked, keep=keep, solver="primal_dual", tol=1e-4, warm=again)
    assert warm.loss == pytest.approx(cold.loss, abs=1e-3)
    if keep is None:
        assert len(warm.history) < len(cold.history)


@pytest.mark.parametrize("solver", ["primal_dual", "interior_point"])
@pytest.mark.parametrize("how", [{}, {"conserve_mass": True}, {"loss": "squared"}, {"keep": 20}], ids=str)
def test_a_warm_start_out_of_all_reason_costs_nothing(how: dict[str, Any], solver: str) -> None:
    asked = problem()
    cold = calibrate(asked, solver=solver, **how)
    uneven = 10.0 ** np.random.default_rng(1).uniform(-20, 20, N)
    for start in (
        Start(np.full(N, 1e300)),
        Start(uneven, np.full(M, 1e300), -1e300),
        Start(None, np.full(M, -1e300), 1e300),
        Start(np.full(N, 1e-300)),
    ):
        warm = calibrate(asked, solver=solver, warm=start, **how)
        assert warm.status == "optimal"
        assert warm.objective == pytest.approx(cold.objective, rel=0.02 if "keep" not in how else 0.5)


def test_a_checkpoint_without_a_selection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a dense fit makes none"):
        calibrate(problem(), checkpoint=Checkpoint(tmp_path / "c.npz"))


def test_a_checkpoint_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "c.npz"):
        events: list[Any] = []
        with pytest.raises(InputError, match="cannot be written"):
            calibrate(problem(), keep=10, checkpoint=Checkpoint(path), watch=events.append)
        assert not events


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_of_something_else_is_not_written_over_by_a_checkpoint(resume: bool, tmp_path: Path) -> None:
    asked = problem()
    asked.save(tmp_path)
    (tmp_path / "text.npz").write_text("notes")
    np.save(tmp_path / "array.npy", np.ones(3))
    for name in ("matrix.npz", "text.npz", "array.npy"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(InputError, match=r"not a checkpoint|cannot be read"):
            calibrate(asked, keep=10, checkpoint=Checkpoint(tmp_path / name, resume))
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_checkpoint_of_another_run_is_not_written_over(resume: bool, tmp_path: Path) -> None:
    """Whether or not it should go on: hours of selecting may be in the file."""
    asked, own, events = problem(), Checkpoint(tmp_path / "own.npz", resume), list[Any]()
    first = calibrate(asked, keep=10, checkpoint=own)
    before = own.path.read_bytes()
    with pytest.raises(
        InputError, match=r"own.npz belongs to another run: its options have keep=10, this run's keep=11"
    ):
        calibrate(asked, keep=11, checkpoint=own, watch=events.append)
    with pytest.raises(InputError, match=r"own.npz belongs to another run: its problem is .*delete it"):
        calibrate(asked.with_tolerance(0.1), keep=10, checkpoint=own, watch=events.append)
    assert not events  # told before any work
    assert own.path.read_bytes() == before
    again = calibrate(asked, keep=10, threads=2, checkpoint=own, watch=events.append)  # its own run may use it anew
    np.testing.assert_array_equal(again.selection.indices, first.selection.indices)
    assert any(event.stage == "select" for event in events) != resume


def test_a_selection_outlives_a_disk_that_is_too_full_for_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    store = Checkpoint(tmp_path / "c.npz")
    result = calibrate(problem(), keep=10, checkpoint=store)
    assert result.kept == 10
    assert [note for note in result.notes if re.search("no checkpoint: .*c.npz cannot be written: No space left", note)]
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_holds_all_of_a_selection(tmp_path: Path) -> None:
    asked, options, store = problem(), Options(keep=2), Checkpoint(tmp_path / "c.npz", resume=True)
    chances = np.linspace(0.01, 0.09, N)
    selection = Selection(np.array([3, 7]), N, ["must", "random"], np.arange(N), chances)
    store.store(asked, options, Selected(selection, Start(np.array([2.0, 3.0]), np.arange(M), 0.5), ("one", "two")))
    again = store.load(asked, options)
    assert again is not None
    assert again.start is not None
    for name in ("indices", "total", "kinds", "scores", "inclusion_probabilities"):
        np.testing.assert_array_equal(getattr(again.selection, name), getattr(selection, name), err_msg=name)
    np.testing.assert_array_equal(again.start.u, [2.0, 3.0])
    np.testing.assert_array_equal(again.start.y, np.arange(M))
    assert again.start.mass_dual == 0.5
    assert again.notes == ("one", "two")


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("must_keep", np.arange(N) < 3, np.arange(N) >= N - 3),
        ("never_keep", np.arange(N) < 3, np.arange(N) >= N - 3),
        ("groups", PAIRS, np.roll(PAIRS, 1)),
        ("seed", 1, 2),
        ("max_weight", 9.0, 8.0),
        ("max_weight", 9.0 + PAIRS, 9.0 + PAIRS[::-1]),
        ("max_weight", np.full(N, 9.0), 9.0),
    ],
)
def test_a_checkpoint_of_as_many_flags_or_groups_but_others_is_refused(
    name: str, first: Any, second: Any, tmp_path: Path
) -> None:
    asked, store = problem(), Checkpoint(tmp_path / "c.npz", resume=True)
    store.store(asked, Options(keep=10, **{name: first}), Selected(Selection(np.arange(10), N)))
    assert store.load(asked, Options(keep=10, **{name: first})) is not None
    with pytest.raises(InputError, match=f"its options have {name}="):
        store.load(asked, Options(keep=10, **{name: second}))


@pytest.mark.parametrize("keep", [8, 12, 24])
def test_an_earlier_selection_is_used_again_by_whole_groups(keep: int) -> None:
    asked = problem()
    options, sentence = reuse_selection(asked, Options(keep=keep, groups=PAIRS), np.arange(0, 30, 3))
    kept = calibrate(asked, options).selection.mask
    earlier = np.isin(PAIRS, PAIRS[np.arange(0, 30, 3)])
    assert sentence.startswith("10 of 10 records")
    assert kept.sum() == keep
    assert (kept[::2] == kept[1::2]).all()
    assert (kept & earlier).sum() == min(keep, 20)


# ---------------------------------------------------------------------- domains


def test_targets_that_no_record_enters_count_in_objective_and_bound_of_domains() -> None:
    asked = halves(extra_row=True)
    options = Options(spread=0.0, tol=1e-3, max_weight_ratio=1.1)
    apart, together = calibrate_domains(asked, "side", options), calibrate(asked, options)
    assert apart.objective == pytest.approx(together.objective, rel=2e-3)
    assert apart.objective == pytest.approx(apart.loss, rel=1e-9)
    assert apart.bound is not None
    assert together.bound is not None
    assert apart.bound == pytest.approx(together.bound, rel=2e-3)
    capped = attrs.evolve(options, loss="capped", loss_settings={"level": 0.5})
    abandoned = calibrate_domains(asked, "side", capped).abandoned
    assert abandoned is not None
    assert abandoned[-1]


def test_a_target_that_no_record_enters_is_in_the_dense_bound_and_is_given_up_by_the_capped_loss() -> None:
    keep = Options(keep=4, dense_bound=True)
    plain, more = (calibrate_domains(halves(extra), "side", keep).dense_bound for extra in (False, True))
    assert plain is not None
    assert more == pytest.approx((6 * plain + 1.0) / 7)  # its error is 1, whatever the weights
    capped = Options(loss="capped", loss_settings={"level": 0.5})
    fits = [calibrate_domains(halves(extra), "side", capped) for extra in (False, True)]
    assert 7 * fits[1].objective == pytest.approx(6 * fits[0].objective)


def test_records_without_a_weight_do_not_count_where_a_budget_is_shared_out() -> None:
    asked = halves()
    weights = np.where(np.arange(N) < 15, 0.0, asked.initial_weights)
    few = CalibrationProblem(asked.matrix, asked.targets, initial_weights=weights, record_info=asked.record_info)
    kept = calibrate_domains(few, "side", Options(keep=20)).selection.mask
    assert (kept[:20].sum(), kept[20:].sum()) == (4, 16)


def test_the_status_of_domains_is_that_of_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = ["stalled", "optimal"]

    def ended(*asked: Any, **more: Any) -> Any:
        return attrs.evolve(calibrate(*asked, **more), status=statuses.pop())

    monkeypatch.setattr("l0_calibrate.domains.calibrate", ended)
    assert calibrate_domains(halves(), "side", Options()).status == "stalled"


def test_the_copies_of_the_matrix_for_domains_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[weakref.ref[CalibrationProblem]] = []

    def counted(asked: CalibrationProblem, *more: Any, **named: Any) -> CalibrationResult:
        gc.collect()
        assert sum(other() is not None for other in others) <= 1  # that of the domain before, until the name is taken
        others.append(weakref.ref(asked))
        return calibrate(asked, *more, **named)

    monkeypatch.setattr("l0_calibrate.domains.calibrate", counted)
    part = np.arange(N) % M
    a = problem().matrix.toarray() * (part == np.arange(M)[:, None])
    asked = CalibrationProblem(a, a.sum(axis=1) * 1.2, record_info=pd.DataFrame({"part": part}))
    result = calibrate_domains(asked, "part", Options(keep=20))
    assert len(others) == M
    assert "ratios within a domain" in result.notes[1]


def test_an_error_in_a_domain_names_it() -> None:
    with pytest.raises(InputError, match="side = 'a': ess_at_least=15 cannot be had"):
        calibrate_domains(halves(), "side", Options(keep=20, ess_at_least=15.0))


def test_a_time_limit_is_that_of_all_domains_and_of_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    shares = Shares(10.0, 4, 2.0)
    shares._began = now  # its clock is the true one
    assert shares.following() == 2.0
    now += 5.0  # the first took more than its part
    assert shares.following() == 1.0
    assert shares.following() == 1.5
    now += 60.0
    assert shares.following() == 0.01
    assert Shares(None, 3).following() is None

    class Slow(Solver):
        """Takes three seconds and leaves the first rows far from their targets, another each time."""

        given: list[float] = []

        def solve(
            self, task: Task, stop: Stop, start: Start | None = None, machine: Machine | None = None, watch: Any = None
        ) -> Solution:
            nonlocal now
            now += 3.0
            self.given.append(stop.seconds)
            residuals = np.where(np.arange(M) < len(self.given), 9.0, 0.0)
            return Solution(np.ones(N), np.zeros(M), residuals, 1.0, 0.0, "budget_spent", 1, 3.0)

    asked = problem()
    zero, solver = np.zeros(N), Slow()
    task = Task(asked.system, AbsoluteLoss().price(asked), None, zero, zero + 9, zero, 1.0)
    solve_priced(solver, CappedLoss(), task, Stop(seconds=7.0), None, Machine())
    assert solver.given == [7.0, 4.0, 1.0]


def test_each_domain_gets_its_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    solve = PrimalDualSolver.solve

    def noted(self: PrimalDualSolver, task: Task, stop: Stop, *rest: Any, **more: Any) -> Solution:
        given.append(stop.seconds)
        return solve(self, task, stop, *rest, **more)

    monkeypatch.setattr(PrimalDualSolver, "solve", noted)
    calibrate_domains(halves(), "side", Options(time_limit=30.0, solver="primal_dual"))
    assert given[0] <= 15.0
    assert 15.0 < given[1] <= 30.0


def test_each_count_of_a_path_gets_its_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    within = frontier.calibrate_within

    def noted(asked: CalibrationProblem, keep: int, options: Options, *rest: Any) -> Any:
        given.append(options.time_limit or 0.0)
        return within(asked, keep, options, *rest)

    monkeypatch.setattr(frontier, "calibrate_within", noted)
    calibrate_path(problem(), [30, 20, 10], Options(time_limit=30.0))
    assert len(given) == 3
    assert given[0] <= 10.0 < given[1] <= 15.0 < given[2] <= 30.0


def test_replicates_get_what_the_main_fit_left_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []

    def noted(asked: CalibrationProblem, options: Options, **more: Any) -> Any:
        given.append(options.time_limit)
        return calibrate(asked, options, **more)

    def long(asked: CalibrationProblem, options: Options, **more: Any) -> Any:
        return attrs.evolve(calibrate(asked, options, **more), timings={"total": 20.0})

    monkeypatch.setattr("l0_calibrate.replicates.calibrate", noted)
    monkeypatch.setattr("l0_calibrate.domains.calibrate", long)
    asked = halves()
    twice = np.column_stack((asked.initial_weights, asked.initial_weights))
    calibrate_replicates(long(asked, Options(time_limit=30.0)), twice)
    assert given[0] <= 5.0 < given[1] <= 10.0
    given.clear()
    # A domain's replicates have a part of their own of what is left: what its main fit took is not taken off again.
    calibrate_domains(asked, "side", Options(time_limit=48.0), replicate_weights=twice[:, :1])
    assert len(given) == 2
    assert min(given) > 10.0


def test_what_any_solver_makes_of_areas_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    how: dict[str, Any] = {"areas": PAIRS, "solver": "primal_dual"}
    assert "of no use to solver 'primal_dual'" in calibrate(problem(), **how).notes[-1]
    monkeypatch.setattr(PrimalDualSolver, "use_of_areas", lambda self, task: f"{task.areas.numbers.shape[0]} level")
    assert calibrate(problem(), **how).notes[-1] == "1 level"


# ---------------------------------------------------------------------- the command line


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_names_in_brackets_are_shown_as_they_are(tmp_path: Path) -> None:
    names = ["wages[ca]", "agi[/b]", "x [bold]y", "plain", "total[#1]", "q"]
    info = pd.DataFrame({"side": ["s[red]"] * 20 + ["t[/]"] * 20})
    asked = problem(target_names=names, record_info=info)
    far = asked.targets * np.array([1, 1, 1, 1, 40, 40])
    asked = CalibrationProblem(
        asked.matrix, far, initial_weights=asked.initial_weights, target_names=names, record_info=info
    )
    asked.save(tmp_path / "p")
    for command in (
        ("fit", tmp_path / "p", "--keep", 20, "--loss", "capped", "--out", tmp_path / "o"),
        ("check", tmp_path / "p", "--max-weight-ratio", 1.01),
        ("evaluate", tmp_path / "o" / "weights.parquet", tmp_path / "p"),
    ):
        result = run(*command)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "total[#1]" in result.output
    assert all(name in result.output for name in names)


def test_json_for_machines_has_null_for_what_is_no_number(tmp_path: Path) -> None:
    asked = problem()
    asked.save(tmp_path / "p")
    pd.DataFrame({"record_id": np.arange(N), "weight": 0.0}).to_csv(tmp_path / "none.csv", index=False)
    result = run("evaluate", tmp_path / "none.csv", tmp_path / "p", "--json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(result.stdout, parse_constant=refuse)["design_effect"] is None


def test_commands_end_with_what_they_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, extra in (("good", False), ("bad", True)):
        halves(extra).save(tmp_path / name)
        assert run("check", tmp_path / name).exit_code == int(extra)
        refused = run("fit", tmp_path / name, "--unreachable", "error", "--out", tmp_path / f"{name}-run")
        assert (refused.exit_code != 0) == extra
        assert (tmp_path / f"{name}-run").exists() != extra

    def infeasible(*asked: Any, **more: Any) -> Any:
        return attrs.evolve(calibrate(*asked, **more), status="infeasible")

    monkeypatch.setattr(sys.modules["l0_calibrate.calibrate"], "calibrate", infeasible)
    assert run("fit", tmp_path / "good", "--out", tmp_path / "none").exit_code == 1
    assert (tmp_path / "none" / "weights.parquet").exists()  # the nearest that was found


def test_a_run_from_the_command_line_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    problem().save(tmp_path / "p")
    given = ("fit", tmp_path / "p", "--keep", 10, "--checkpoint", tmp_path / "c.npz", "--out", tmp_path / "r")
    for resumed in (False, True):
        assert run(*given, *(["--resume"] if resumed else [])).exit_code == 0
        timings = json.loads((tmp_path / "r" / "result.json").read_text())["timings"]
        assert ("select" in timings) != resumed
    wrong = run(*given, "--by", "side")
    assert wrong.exit_code == 2
    assert "each domain is a run of its own" in " ".join(wrong.output.replace("│", " ").split())


def test_a_weight_column_without_microdata_is_refused(tmp_path: Path) -> None:
    problem().save(tmp_path / "p")
    result = run("fit", tmp_path / "p", "--weight", "other", "--out", tmp_path / "o")
    assert isinstance(result.exception, InputError)
    assert "--microdata" in str(result.exception)


def test_a_path_takes_flags_and_groups_from_the_command_line(tmp_path: Path) -> None:
    info = pd.DataFrame({"pair": PAIRS, "first": np.arange(N) < 4})
    problem(record_info=info).save(tmp_path / "p")
    for option, column in (("--must-keep", "first"), ("--never-keep", "first"), ("--groups", "pair")):
        result = run("frontier", tmp_path / "p", "--keep", "10,20", option, column, "--out", tmp_path / "f")
        assert result.exception is None, result.exception
    assert pd.read_csv(tmp_path / "f" / "frontier.csv")["keep"].tolist() == [10, 20]


@pytest.mark.parametrize("fields", [{"selector": "exchange"}, {"selector_settings": {"rounds": 3}}])
def test_a_selector_without_a_budget_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a dense fit selects nothing"):
        calibrate(problem(), **fields)


@pytest.mark.parametrize("setting", ["steps=0", "steps=abc", "gates=odd", "weight_rate=abc"])
def test_a_setting_that_a_selector_refuses_is_an_error_of_the_input(setting: str, tmp_path: Path) -> None:
    problem().save(tmp_path / "p")
    how = ("--keep", 10, "--selector", "hard_concrete", "--setting", setting, "--out", tmp_path / "o")
    result = run("fit", tmp_path / "p", *how)
    assert isinstance(result.exception, InputError)
    assert "selector 'hard_concrete'" in str(result.exception)


def labelled() -> tuple[CalibrationProblem, list[str]]:
    names = [f"h{i}" for i in range(100)]
    matrix = np.random.default_rng(0).random((4, 100))
    return CalibrationProblem(matrix, 1.1 * matrix.sum(axis=1), record_ids=names), names


@pytest.mark.parametrize("given", ["must_keep", "never_keep", "groups", "areas", "max_weight"])
def test_a_series_in_another_order_than_the_records_is_refused(given: str) -> None:
    problem, names = labelled()
    plain = {"groups": np.arange(100) // 2, "areas": np.arange(100) // 2, "max_weight": np.linspace(2.0, 9.0, 100)}
    values = pd.Series(plain.get(given, np.arange(100) < 4), index=names)
    with pytest.raises(InputError, match=f"{given} is indexed by the same labels as the problem's records in another"):
        calibrate(problem, keep=20, **{given: values[::-1]})
    with pytest.raises(InputError, match=given):
        calibrate_path(problem, [40, 20], Options(keep=40, **{given: values[::-1]}))
    by_label = calibrate(problem, keep=20, **{given: values})
    by_place = calibrate(problem, keep=20, **{given: values.to_numpy()})
    assert by_label.fingerprint == by_place.fingerprint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"options": {"keep": 3}}, "options must be an Options, got dict"),
        ({"keep": 3, "checkpoint": "c.npz"}, "checkpoint must be a Checkpoint, got str"),
        ({"warm": np.ones(N)}, "warm must be a Start, got ndarray"),
        ({"keep": 3, "groups": [[1], [2, 3]]}, "groups must have one id for each record"),
        ({"keep": 3, "must_keep": [[True], [True, False]]}, "must_keep and never_keep take one true or false"),
        ({"loss_settings": None}, "settings must be names and values, got None"),
        ({"keep": 3, "selector_settings": [1]}, "settings must be names and values, got"),
    ],
)
def test_what_is_of_another_kind_is_refused_with_what_to_give(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(problem(), **fields)


def test_more_sample_size_than_records_is_refused_before_any_work() -> None:
    problem, _ = labelled()
    seen: list[Any] = []
    with pytest.raises(InputError, match="no effective sample size is above the number of records"):
        calibrate(problem, ess_at_least=problem.n_records + 1, watch=seen.append)
    for fields in ({"keep": 20}, {"share": 0.2}):
        with pytest.raises(InputError, match="no effective sample size is above the number of records"):
            calibrate(problem, ess_at_least=30, watch=seen.append, **fields)
    assert not seen


def test_what_no_weight_can_move_and_who_was_left_out_are_told() -> None:
    matrix = np.random.default_rng(0).random((4, 100))
    matrix[0] = 0
    matrix[:, 50:] = 0
    problem = CalibrationProblem(matrix, np.full(4, 20.0), target_names=["typo", "a", "b", "c"])
    notes = calibrate(problem, keep=20).notes
    assert any("no record with an initial weight enters 1 target: typo" in note for note in notes)
    assert any("50 records that enter no target were left out, with 50 % of the initial weights" in n for n in notes)
    assert any("conserve_mass" in note for note in notes)
    assert not any("left out" in note for note in calibrate(problem).notes)  # a dense fit keeps them
    (held,) = (note for note in calibrate(problem, keep=20, conserve_mass=True).notes if "left out" in note)
    assert held.endswith("must_keep keeps some")  # who holds the sum is not told to


def test_targets_that_no_record_enters_are_told_of_domains_too() -> None:
    matrix = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    names, areas = ["a", "b", "typo"], pd.DataFrame({"area": list("aabb")})
    problem = CalibrationProblem(matrix, [3.0, 3.0, 5.0], target_names=names, record_info=areas)
    assert problem.unreachable.tolist() == [2]
    notes = calibrate_domains(problem, "area", Options()).notes
    assert [note for note in notes if "typo" in note] == ["no record with an initial weight enters 1 target: typo"]


def test_domains_that_are_numbered_are_named_by_their_numbers() -> None:
    matrix = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    numbered = CalibrationProblem(matrix, [3.0, 3.0], record_info=pd.DataFrame({"area": [1, 1, 2, 2]}))
    with pytest.raises(InputError, match="domain 2 has no record"):
        calibrate_domains(numbered, "area", Options(keep=2, never_keep=[False, False, True, True]))
    with pytest.raises(InputError, match="area = 1: conserve_mass cannot hold"):
        calibrate_domains(numbered, "area", Options(conserve_mass=True, max_weight_ratio=0.5))
    with pytest.raises(InputError, match="belongs to area = 2: its records"):
        calibrate_domains(numbered.subset([0], range(4)), "area", Options())


@pytest.mark.parametrize("flags", ["must_keep", "never_keep"])
def test_flags_of_no_record_are_none_in_domains_too(flags: str) -> None:
    asked, none = halves(), np.zeros(N, dtype=bool)
    flagged = calibrate_domains(asked, "side", Options(keep=12, **{flags: none}))  # type: ignore[arg-type]
    assert flagged.fingerprint == calibrate_domains(asked, "side", Options(keep=12)).fingerprint


def test_records_without_a_weight_are_told_where_the_scale_of_ratios_counts_them() -> None:
    weights = np.where(np.arange(N) < N // 3, 0.0, 2.0)
    asked = attrs_copy(problem(), initial_weights=weights)
    result = calibrate(asked, keep=10, max_weight_ratio=2.0)
    said = (
        f"{N // 3} of {N} records have no initial weight, and records / kept counts them: ratios are weight / (initial"
    )
    assert [note for note in result.notes if note.startswith(said)]
    assert result.max_ratio == pytest.approx(result.weights.max() / (2.0 * N / 10))
    for other in (calibrate(asked), calibrate(problem(), keep=10)):
        assert not [note for note in other.notes if "records / kept" in note]

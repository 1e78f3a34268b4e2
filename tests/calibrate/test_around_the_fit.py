"""What is built around one fit: domains, replicates, checkpoints, a wanted sample size, the report."""

from __future__ import annotations

import copy
import json
import pickle

import attrs
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.checkpoint import Checkpoint
from l0_calibrate.demo import load_demo
from l0_calibrate.domains import calibrate_domains
from l0_calibrate.microcalibrate.settings import TrainingOptions
from l0_calibrate.options import Options
from l0_calibrate.problem.replicate_weights import read_replicates
from l0_calibrate.replicates import calibrate_replicates
from l0_calibrate.result import weighted as result_module
from l0_calibrate.result.diagnostics import diagnose, diagnostics_of
from l0_calibrate.result.report import report_of_folder
from l0_calibrate.result.tables import RunTables
from l0_calibrate.selectors import prune
from l0_calibrate.selectors.fits import InnerFits
from l0_calibrate.solvers.base import Machine, Solution
from l0_calibrate.spread_search import spread_for_ess
from l0_core import InputError


@pytest.fixture(scope="module")
def problem():
    return load_demo()


def two_areas(loss_weights=None):
    """Two areas without a record in common; the targets contradict each other a little within each."""
    rng = np.random.default_rng(4)
    matrix = np.zeros((7, 60))
    matrix[:3, :40] = rng.uniform(0.0, 2.0, (3, 40))
    matrix[3:, 40:] = rng.uniform(0.0, 2.0, (4, 20))
    matrix[2], matrix[6] = matrix[1], matrix[5]
    targets = matrix.sum(axis=1) * np.array([1.1, 0.9, 1.5, 1.0, 1.3, 0.8, 1.0])
    area = pd.DataFrame({"area": ["north"] * 40 + ["south"] * 20})
    return CalibrationProblem(matrix, targets, record_info=area, loss_weights=loss_weights)


@pytest.mark.parametrize("loss_weights", [None, [1, 5, 1, 2, 1, 4, 6]])
def test_domains_together_are_the_fit_of_the_whole(loss_weights):
    problem = two_areas(loss_weights)
    apart = calibrate_domains(problem, "area", Options(spread=0.0, tol=1e-6))
    whole = calibrate(problem, spread=0.0, tol=1e-6)
    assert apart.objective == pytest.approx(whole.objective, rel=1e-4)
    assert apart.bound == pytest.approx(whole.objective, rel=1e-4)
    price = float(problem.loss_weights @ np.abs(problem.relative_errors(apart.weights))) / problem.n_targets
    assert apart.objective == pytest.approx(price, rel=1e-6)  # the price of the weights that are handed out
    # Duals price a target in the same unit as those of the whole: b'y bounds the objective from below.
    assert -float(problem.targets / problem.scale @ apart.dual) == pytest.approx(whole.objective, rel=1e-3)
    assert "2 domains of area calibrated on their own" in apart.notes
    assert not any("records / kept" in note for note in apart.notes)  # nothing was dropped


def test_domains_share_a_budget_out_exactly_and_refuse_targets_that_touch_two():
    problem = two_areas()
    result = calibrate_domains(problem, "area", Options(keep=12))
    assert result.kept == 12
    assert (np.count_nonzero(result.weights[:40]), np.count_nonzero(result.weights[40:])) == (8, 4)
    mixed = CalibrationProblem(np.ones((1, 60)), [60.0], record_info=problem.record_info, target_names=["all"])
    with pytest.raises(InputError, match="touch several: all"):
        calibrate_domains(mixed, "area", Options())
    with pytest.raises(InputError, match=r"no column 'county'; there are:.*area"):
        calibrate_domains(problem, "county", Options())


def test_bounds_hold_within_each_domain_and_the_result_says_so():
    problem = two_areas()
    must = np.arange(60) < 30  # most of the north, so that its records / kept are below those of all
    result = calibrate_domains(problem, "area", Options(keep=36, must_keep=must, max_weight_ratio=1.2))
    kept = result.weights > 0
    ratios = [
        (result.weights / problem.initial_weights)[part & kept].max() * (part & kept).sum() / part.sum()
        for part in ((problem.record_info["area"] == area).to_numpy() for area in ("north", "south"))
    ]
    assert max(ratios) <= 1.2 * (1 + 1e-9)
    assert result.max_ratio > 1.2  # against all records / kept
    assert f"ratios within a domain, against its own records / kept, are at most {max(ratios):.4g}" in result.notes


def test_domains_keep_and_leave_out_what_is_flagged():
    problem = two_areas()
    must, never = np.zeros((2, 60), dtype=bool)
    must[[1, 2, 3, 41]] = True
    never[50:] = True
    result = calibrate_domains(problem, "area", Options(keep=12, must_keep=must, never_keep=never))
    assert result.kept == 12
    assert (result.weights[must] > 0).all()
    assert (result.weights[never] == 0).all()
    for keep, says in [(3, "keep=3 is below the 4 records that 2 domains need"), (51, "above the 50 records")]:
        with pytest.raises(InputError, match=says):
            calibrate_domains(problem, "area", Options(keep=keep, must_keep=must, never_keep=never))
    never[40:] = True
    with pytest.raises(InputError, match="has no record that can be kept"):
        calibrate_domains(problem, "area", Options(keep=12, never_keep=never))
    never[:] = problem.record_ids >= 41
    must[:] = problem.record_ids >= 39
    with pytest.raises(InputError, match=r"^19 of the 21 records .*: 19 ruled out by never_keep \(41, 42, "):
        calibrate_domains(problem, "area", Options(keep=30, must_keep=must, never_keep=never))


def test_domains_bring_their_bounds_and_what_they_gave_up():
    problem = two_areas()
    whole = calibrate_domains(problem, "area", Options(keep=12, dense_bound=True))
    assert whole.dense_bound is not None
    assert 0 <= whole.dense_bound <= whole.loss + 1e-9
    assert sum(note.startswith("area ") and "have a loss below" in note for note in whole.notes) == 2
    given_up = calibrate_domains(problem, "area", Options(keep=2, loss="capped", loss_settings={"level": 0.01}))
    assert given_up.abandoned is not None
    assert np.array_equal(given_up.abandoned, np.abs(problem.relative_errors(given_up.weights)) > 0.01)
    assert given_up.solver


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (lambda ids: ids[1:], "has no replicate weights for 1 records of the problem: {first}"),
        (lambda ids: [*ids, 10**9], "has 1 records that the problem does not have: 1000000000"),
        (lambda ids: [*ids, ids[0]], "record id {first} appears more than once"),
        (lambda ids: [f"h{i}" for i in ids], "record ids are text, those of the problem whole numbers"),
    ],
)
def test_replicates_of_other_records_are_refused(problem, tmp_path, ids, message):
    named = ids(problem.record_ids.tolist())
    pd.DataFrame({"record_id": named, "r1": 1.0}).to_parquet(tmp_path / "replicates.parquet")
    with pytest.raises(InputError, match=message.format(first=problem.record_ids[0])):
        read_replicates(tmp_path / "replicates.parquet", problem)


def test_replicates_follow_the_main_fit(problem, tmp_path):
    main = calibrate(problem, keep=300, max_weight_ratio=5)
    drawn = np.random.default_rng(0).poisson(1.0, (problem.n_records, 2)) * problem.initial_weights[:, None]
    weights = np.column_stack([problem.initial_weights, drawn])
    frame = pd.DataFrame(weights, columns=["r1", "r2", "r3"])
    frame.insert(0, "record_id", problem.record_ids)
    frame.sample(frac=1.0, random_state=1).to_parquet(tmp_path / "replicates.parquet")
    named = read_replicates(tmp_path / "replicates.parquet", problem)
    assert list(named.columns) == list(frame.columns[1:])
    read = named.to_numpy()
    np.testing.assert_array_equal(read, weights)
    events = []
    result = calibrate_replicates(main, read, watch=events.append)
    assert {event.domain for event in events} == {f"replicate {r} of 3" for r in (1, 2, 3)}
    fitted = result.replicates
    assert fitted.shape == weights.shape
    assert not fitted[main.weights == 0].any()
    assert not fitted[read == 0].any()
    errors = [np.abs(problem.relative_errors(fitted[:, r])).mean() for r in range(3)]
    assert errors[0] <= main.loss * 1.1  # the main weights again as a replicate are met as well as in the main fit
    # Half of the records may be missing in a replicate, and its totals still come near.
    assert max(errors) < 0.5 * np.abs(problem.relative_errors(problem.initial_weights)).mean()
    assert (fitted <= 5 * problem.n_records / 300 * read * (1 + 1e-9)).all()


@pytest.mark.parametrize("solver", ["interior_point", "primal_dual"])
@pytest.mark.parametrize("conserve_mass", [False, True])
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(problem, tmp_path, conserve_mass, solver):
    path, options = tmp_path / "run.npz", {"keep": 300, "conserve_mass": conserve_mass, "solver": solver}
    whole = calibrate(problem, **options, checkpoint=Checkpoint(path))
    resumed = calibrate(problem, **options, checkpoint=Checkpoint(path, resume=True))
    assert resumed.fingerprint == whole.fingerprint
    assert "select" not in resumed.timings


def test_a_checkpoint_of_another_run_is_refused(problem, tmp_path):
    path = tmp_path / "run.npz"
    calibrate(problem, keep=300, checkpoint=Checkpoint(path))
    with pytest.raises(InputError, match="its options"):
        calibrate(problem, keep=301, checkpoint=Checkpoint(path, resume=True))
    with pytest.raises(InputError, match="its problem"):
        calibrate(problem.with_tolerance(0.01), keep=300, checkpoint=Checkpoint(path, resume=True))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        calibrate(problem, keep=300, checkpoint=Checkpoint(path, resume=True))


@pytest.mark.parametrize("fields", [{}, {"keep": 400}])
def test_a_wanted_effective_sample_size_is_reached(problem, fields):
    wanted = 1.1 * calibrate(problem, **fields).ess
    result = calibrate(problem, ess_at_least=wanted, **fields)
    assert result.ess >= wanted
    assert result.ess <= 1.1 * wanted  # and not by paying far more spread than it takes
    with pytest.raises(InputError, match="cannot be had"):
        calibrate(problem, ess_at_least=2 * problem.n_records, **fields)


@pytest.mark.parametrize("first", [1e-4, 0.03, 50.0])
@pytest.mark.parametrize("is_even", [False, True])
def test_the_spread_that_is_found_is_that_of_the_fit_that_comes_with_it(first, is_even):
    seen = {}

    def fit(spread, start):
        # Its effective sample size is 100 s / (s + 0.03): half of the records at a spread s of 0.03.
        unevenness = np.sqrt(0.03 / spread)
        u = 1.0 + unevenness * np.where(np.arange(100) % 2, 1.0, -1.0)
        seen[spread] = Solution(u, np.zeros(1), np.zeros(1), 0.0, 0.0, "optimal", 1, 0.0)
        return seen[spread]

    def towards_others(spread, start):
        return attrs.evolve(fit(spread, start), u=np.arange(100) == 7)

    fits = {"fit": towards_others, "even_fit": fit} if is_even else {"fit": fit}
    for wanted in (20.0, 60.0):
        found, spread = spread_for_ess(wanted=wanted, reference=np.ones(100), first=first, **fits)
        assert found is seen[spread]
        ess = found.u.sum() ** 2 / (found.u @ found.u)
        assert wanted <= ess <= 1.02 * wanted  # the least spread, nearly


@pytest.mark.parametrize("edge", np.geomspace(0.002, 0.9, 9))
def test_the_spread_of_the_fit_is_told_where_the_last_tries_fell_short(edge):
    seen = {}

    def fit(spread, start):
        u = np.concatenate((np.ones(90 if spread >= edge else 10), np.zeros(10 if spread >= edge else 90)))
        seen[spread] = Solution(u, np.zeros(1), np.zeros(1), 0.0, 0.0, "optimal", 1, 0.0)
        return seen[spread]

    found, spread = spread_for_ess(fit, 60.0, np.ones(100), 3e-3)
    assert found is seen[spread]
    assert found.u.sum() == 90


@pytest.mark.parametrize("first", [1e-4, 0.03, 50.0])
def test_the_search_for_a_spread_ends_with_the_time(first):
    tried = []

    def fit(spread, start):
        tried.append(spread)
        u = 1.0 + np.sqrt(0.03 / spread) * np.where(np.arange(100) % 2, 1.0, -1.0)
        return Solution(u, np.zeros(1), np.zeros(1), 0.0, 0.0, "budget_spent", 1, 0.0)

    found, spread = spread_for_ess(fit, 60.0, np.ones(100), first, lambda: True)
    assert spread == tried[-1] == max(tried)  # the first that has the sample size, however large
    assert found.u.sum() ** 2 / (found.u @ found.u) >= 60.0

    with pytest.raises(InputError, match="within the time limit") as refusal:
        spread_for_ess(fit, 99.99999, np.ones(100), first, lambda: True)
    assert "cannot be had" not in str(refusal.value)


def test_of_selections_the_last_whole_one_is_kept_when_the_time_is_up(problem, monkeypatch):
    seen, full = [], prune.pruned

    def pruned(fits, pace, watch):
        if seen:  # the second is out of time, and chooses by fits that end at once
            monkeypatch.setattr(InnerFits, "late", property(lambda _: True))
            fits = attrs.evolve(fits, deadline=0.0)
        seen.append(full(fits, pace, watch))
        if len(seen) == 2:
            monkeypatch.setattr(InnerFits, "floored", None)  # none is made to compare them
        return seen[-1]

    monkeypatch.setattr(prune, "pruned", pruned)
    result = calibrate(problem, keep=200, max_weight_ratio=10, ess_at_least=160)
    assert len(seen) == 2
    assert (result.selection.indices == seen[0][0]).all()
    assert (seen[1][0] != seen[0][0]).any()
    assert result.ess >= 160


def test_a_dense_fit_whose_time_is_up_is_not_fitted_again(problem):
    result = calibrate(problem, ess_at_least=1_000, time_limit=1e-3)
    assert result.ess >= 1_000
    assert sum(event.iteration == 0 for event in result.history) == 1


def test_a_report_of_weights_that_are_all_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    nothing = CalibrationProblem(np.ones((2, 3)), [0.0, 0.0])
    result = calibrate(nothing, solver="primal_dual", spread=0.0)
    assert result.kept == 0
    assert "0 of 3 records" in result.report(tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_result_says_in_a_line_what_it_is(problem):
    text = repr(calibrate(problem, keep=300, max_weight_ratio=5))
    assert text.startswith("CalibrationResult(optimal: 300 of 5,000 records, 167 targets, loss 0.03")
    assert len(text) < 200
    dense = CalibrationProblem(np.eye(2), np.ones(2), target_names=["a", "b"])
    assert "gap none" in repr(attrs.evolve(calibrate(dense, keep=2), bound=None))


def test_a_misspelt_option_names_the_one_that_was_meant(problem):
    with pytest.raises(InputError, match=r"unknown option max_weigth_ratio \(did you mean 'max_weight_ratio'"):
        calibrate(problem, max_weigth_ratio=5)
    with pytest.raises(InputError) as refused:
        calibrate(problem, nonsense=1, treads=2)
    text = str(refused.value)
    assert text.startswith(
        "unknown option nonsense, treads (did you mean 'threads' or 'areas' or 'spread'?); there are: "
    )
    assert all(field.name in text.partition("there are: ")[2].split(", ") for field in attrs.fields(Options))
    with pytest.raises(InputError, match=r"no setting rouds \(did you mean 'rounds'\?\); it has: rounds, failures"):
        calibrate(problem, keep=100, selector="exchange", selector_settings={"rouds": 3})


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True, 2**63])
def test_a_seed_that_is_none_is_refused_wherever_it_comes_in(problem, seed):
    for make in (
        lambda: calibrate(problem, seed=seed),
        lambda: calibrate(problem, keep=100, selector="hard_concrete", selector_settings={"seed": seed}),
        lambda: calibrate(problem, keep=100, selector="sample", selector_settings={"seed": seed}),
        lambda: Machine(seed=seed),
        lambda: TrainingOptions(seed=seed),
    ):
        with pytest.raises(InputError, match="seed must be a whole number from 0"):
            make()


def test_a_seed_may_be_one_of_numpys():
    assert type(Options(seed=np.int64(3)).seed) is int
    assert TrainingOptions(seed=np.uint8(3), epochs=np.int64(4)).epochs == 4


@pytest.mark.parametrize(("keep", "share", "largest"), [(None, None, 6.0), (2, None, 4.0), (None, 0.7, 4.0)])
def test_tables_of_a_run_by_hand(keep, share, largest):
    targets = pd.DataFrame({"name": ["a", "b", "c", "d"], "target": [100.0, 100.0, -10.0, 0.5], "area": list("xyyx")})
    targets = targets.assign(estimate=[110.0, 50.0, -12.0, 0.4], initial_estimate=0.0)
    records = pd.DataFrame({"record_id": [1, 2, 3], "initial_weight": [1.0, 2.0, 3.0], "weight": [6.0, 2.0, 0.0]})
    run = RunTables({"options": {"keep": keep, "share": share}}, targets, records)
    np.testing.assert_allclose(run.errors_after, [0.1, -0.5, -0.2, -0.1])
    np.testing.assert_allclose(run.errors_before, [-1.0, -1.0, 1.0, -0.5])
    assert run.worst(3)["name"].tolist() == ["b", "c", "a"]
    groups = run.groups()["area"]
    assert groups.index.tolist() == ["y", "x"]  # the one with the larger errors first
    np.testing.assert_allclose(groups[["before", "after", "share"]], [[1.0, 0.35, 0.7 / 0.9], [0.75, 0.1, 0.2 / 0.9]])
    assert run.heaviest(1)["share"].tolist() == [0.75]
    assert run.diagnostics.max_ratio == largest
    assert run.ratio == "weight / " + ("initial weight" if keep is share else "(initial weight x records / kept)")
    assert run.diagnostics_before.max_ratio == 1.0


def test_diagnostics_by_hand():
    weights = np.concatenate((np.zeros(50), np.full(198, 1.0), [5.0, 7.0]))
    errors = np.array([0.1, -0.1, 3.0, 0.0, 0.2])
    found = diagnostics_of(errors, weights, np.full(250, 0.5))
    assert found.loss == pytest.approx(3.4 / 5)
    assert found.loss_capped == pytest.approx(1.4 / 5)
    assert found.within_10_percent == 3 / 5  # 10 % is within 10 %
    assert found.worst_error == 3.0
    assert found.kept == 200
    assert found.ess == pytest.approx(210**2 / (198 + 25 + 49))
    assert found.design_effect == pytest.approx(200 / found.ess)
    assert found.max_ratio == pytest.approx(7 / (0.5 * 250 / 200))
    assert found.top_share == pytest.approx(12 / 210)  # two of the 200 kept
    assert diagnostics_of(errors, weights[-20:], np.ones(20)).top_share == pytest.approx(7 / 30)


def test_the_report_is_one_offline_page(problem, tmp_path):
    pytest.importorskip("matplotlib")
    result = calibrate(problem, keep=300)
    result.save(tmp_path / "run")
    page = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    for text in ("300 of 5,000 records", "soi/interest/usd/US/agi1", "By group", "data:image/png;base64", "absolute"):
        assert text in page
    assert "http" not in page
    again = report_of_folder(tmp_path / "run", tmp_path / "again.html").read_text(encoding="utf-8")
    assert again == page
    with pytest.raises(InputError, match=r"not the folder of a run \(there is no result.json in it\); give what fit"):
        report_of_folder(tmp_path, tmp_path / "no.html")
    assert not (tmp_path / "no.html").exists()
    with pytest.raises(InputError, match=r"mistyped is not the folder of a run"):
        report_of_folder(tmp_path / "mistyped", tmp_path / "mistyped" / "report.html")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "result.json").write_text("[1]"), "result.json holds no object"),
        (lambda folder: _rewrite(folder, lambda summary: summary.pop("options")), "no usable 'options'"),
        (lambda folder: _rewrite(folder, lambda summary: summary["options"].pop("keep")), "no usable 'options'"),
        (lambda folder: _rewrite(folder, lambda summary: summary["timings"].clear()), "no usable total"),
        (
            lambda folder: _retable(folder / "targets.parquet", lambda t: t.drop(columns="estimate")),
            "no column 'estimate'",
        ),
        (lambda folder: _retable(folder / "targets.parquet", lambda t: t.assign(target="x")), "'target' is not one of"),
        (lambda folder: _retable(folder / "targets.parquet", lambda t: t.assign(dual="x")), "'dual' is not one of"),
        (lambda folder: _retable(folder / "weights.parquet", lambda t: t.assign(weight=np.nan)), "'weight' has values"),
        (lambda folder: _retable(folder / "weights.parquet", lambda t: t[:3]), r"has 3 rows, result.json says 4"),
    ],
)
def test_a_damaged_folder_of_a_run_is_refused_with_what_is_wrong(tmp_path, damage, says):
    pytest.importorskip("matplotlib")
    calibrate(CalibrationProblem(np.eye(4), np.ones(4))).save(tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(InputError, match=rf"not the folder of a run \(.*{says}"):
        report_of_folder(tmp_path / "run", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def _rewrite(folder, change):
    summary = json.loads((folder / "result.json").read_text())
    change(summary)
    (folder / "result.json").write_text(json.dumps(summary))


def _retable(path, change):
    change(pd.read_parquet(path)).to_parquet(path)


def test_names_in_a_report_are_text_and_not_markup(tmp_path):
    pytest.importorskip("matplotlib")
    names = [f"<script>{i}</script>" for i in range(3)]
    problem = CalibrationProblem(np.eye(3), np.arange(1.0, 4.0), target_names=names)
    page = calibrate(problem).report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;0" in page
    assert "<script" not in page


def test_a_wanted_effective_sample_size_is_reached_from_no_weight_at_all():
    rng = np.random.default_rng(0)
    matrix = rng.uniform(0.5, 2.0, (3, 12))
    away = CalibrationProblem(sp.csr_array(matrix), -matrix.sum(axis=1))  # every weight is best at 0
    assert calibrate(away).ess < 1
    assert calibrate(away, ess_at_least=5.0).ess >= 5.0


def test_a_result_is_judged_when_somebody_asks_and_by_its_own_weights(monkeypatch):
    """Copies, pickles and results with other weights too."""
    result = calibrate(load_demo(), keep=50, max_weight_ratio=5)
    loss = result.loss
    judged = []
    monkeypatch.setattr(result_module, "diagnose", lambda *asked: judged.append(asked) or diagnose(*asked))
    again = [attrs.evolve(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))]
    doubled = attrs.evolve(result, weights=2.0 * result.weights)
    assert not judged
    assert [other.loss for other in again] == [loss] * 3
    assert doubled.diagnostics.total_weight == 2.0 * result.diagnostics.total_weight
    count = len(judged)
    assert doubled.loss != loss
    assert len(judged) == count


def test_a_sample_size_far_above_that_of_the_initial_weights_is_found():
    """Where initial weights are very unequal, no weights near them have it: then weights are made even, not ratios."""
    rng = np.random.default_rng(0)
    w0 = rng.lognormal(3, 1.5, 400)
    matrix = np.vstack([np.ones(400), rng.gamma(2, 1, 400) * (rng.random((30, 400)) < 0.3)])
    problem = CalibrationProblem(matrix, matrix @ np.full(400, w0.sum() / 400), initial_weights=w0)
    assert calibrate(problem, spread=1.0).ess < 100
    # The weights of the least squares that meet all totals, from the normal equations.
    even = matrix.T @ np.linalg.solve(matrix @ matrix.T, problem.targets)
    assert even.min() > 0
    most = even.sum() ** 2 / (even @ even)
    assert most > 250
    for wanted in (100, 0.98 * most):
        result = calibrate(problem, ess_at_least=wanted)
        assert result.ess >= wanted
        assert result.loss < 1e-3
        assert any(note.startswith("no weights near the initial ones have") for note in result.notes)
    assert not any("near the initial" in note for note in calibrate(problem, ess_at_least=50).notes)


def test_records_in_no_target_keep_their_weight_where_weights_are_made_even():
    rng = np.random.default_rng(0)
    w0 = rng.lognormal(3, 1.5, 300)
    matrix = np.ones((1, 300)) * (np.arange(300) >= 20)
    problem = CalibrationProblem(matrix, matrix @ w0, initial_weights=w0)
    result = calibrate(problem, ess_at_least=200)
    assert result.ess >= 200
    np.testing.assert_allclose(result.weights[:20], w0[:20])


@pytest.mark.parametrize("solver", ["auto", "interior_point", "primal_dual"])
def test_where_no_ratio_can_move_the_certificate_is_exact(solver):
    problem = CalibrationProblem(np.eye(3), [1.0, 2.0, 3.0], tolerances=[0.0, 0.1, 0.0])
    result = calibrate(problem, min_weight_ratio=1, max_weight_ratio=1, solver=solver, spread=0.0)
    assert result.status == "optimal"
    assert result.gap < 1e-9


def test_loss_weights_whose_sum_is_too_large_for_a_double_count_all_the_same():
    weights = CalibrationProblem(np.ones((3, 4)), [1.0, 2.0, 3.0], loss_weights=[1e308, 1e308, 5e307]).loss_weights
    np.testing.assert_allclose(weights, [1.2, 1.2, 0.6])


@pytest.mark.parametrize("keep", [None, 30])
def test_a_fit_tells_of_totals_in_other_units(keep):
    amounts = np.random.default_rng(4).gamma(2.0, 1e5, 40)
    matrix = np.vstack([amounts, np.ones(40), np.zeros(40)])
    true = np.array([amounts.sum(), 40.0, 5.0])
    names = ["wages", "persons", "nobody"]

    def notes(targets):
        result = calibrate(CalibrationProblem(matrix, targets, target_names=names), keep=keep, max_weight_ratio=5)
        return [note for note in result.notes if "times off" in note]

    assert notes(true) == []
    assert notes(true / [1000.0, 1.0, 1.0]) == [
        "the initial estimate of 1 target is more than 100 times off, as of totals in thousands: wages; check the units"
    ]
    (both,) = notes(true * [1000.0, 1 / 500.0, 1.0])
    assert "estimates of 2 targets are" in both
    assert "wages, persons" in both

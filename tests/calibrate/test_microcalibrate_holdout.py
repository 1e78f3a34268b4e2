"""Hold-outs and tuning: families stay together, nothing leaks, a study that was cut off ends as one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from l0_calibrate.microcalibrate import (
    Calibration,
    evaluate_holdout_robustness,
    robustness,
    tune_l0_hyperparameters,
)
from l0_calibrate.microcalibrate.holdout import EVALUATION, TUNING, holdout_sets
from l0_calibrate.microcalibrate.tuning import ObjectiveBalance, SearchRanges
from l0_calibrate.problem.dependence import determined_rows
from l0_core import InputError

optuna_there = pytest.importorskip("optuna", reason="optuna is not installed")
FAMILIES = ["north", "north", "north", "south", "south", "south", "all", "all"]


def calibration(**options):
    """Eight targets over sixty records: two regions of three, and two totals that are the sums of the regions'."""
    rng = np.random.default_rng(0)
    amounts = rng.random((60, 3)) * (rng.random((60, 3)) < 0.7)
    north = np.arange(60) < 30
    parts = np.column_stack([amounts * north[:, None], amounts * ~north[:, None]])
    matrix = np.column_stack([parts, parts[:, 0] + parts[:, 3], parts[:, 1] + parts[:, 4]])
    names = ["north/x", "north/y", "north/z", "south/x", "south/y", "south/z", "all/x", "all/y"]
    weights = rng.uniform(1, 5, 60)
    targets = matrix.T @ (weights * rng.uniform(0.7, 1.5, 60))
    defaults = {} if "keep" in options else {"epochs": 60, "learning_rate": 0.05, "noise_level": 0.0}
    return Calibration(weights, targets, estimate_matrix=pd.DataFrame(matrix, columns=names), **{**defaults, **options})


def test_determined_rows_are_those_that_least_squares_explains():
    found = calibration()
    kept = np.array([True, True, False, True, False, True, False, False])
    dense = found.columns.toarray()
    expected = np.zeros(8, dtype=bool)
    for i in np.flatnonzero(~kept):
        solution = np.linalg.lstsq(dense[kept].T, dense[i], rcond=None)[0]
        expected[i] = np.linalg.norm(dense[kept].T @ solution - dense[i]) < 1e-8
    assert expected.tolist() == [False] * 6 + [True, False]
    assert determined_rows(found.columns, kept).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_combinations_are_found_whatever_their_units(seed):
    rng = np.random.default_rng(seed)
    base = rng.random((30, 200)) * (rng.random((30, 200)) < 0.3) * 10.0 ** rng.uniform(-6, 6, 30)[:, None]
    mixed = np.array([base[rng.choice(30, 4, replace=False)].sum(axis=0) for _ in range(10)])
    rows = np.vstack([base, mixed, base[:2] + 1e-3 * base[:2].max(), np.zeros((1, 200))])
    kept = np.arange(len(rows)) < 30
    rows = sp.csr_array(rows)
    found = determined_rows(rows, kept)
    assert found.tolist() == [False] * 30 + [True] * 10 + [False] * 2 + [True]
    assert not determined_rows(rows, np.zeros(kept.size, dtype=bool))[:-1].any()
    assert not determined_rows(rows, np.ones(kept.size, dtype=bool)).any()


def test_families_are_held_out_whole():
    found = calibration()
    for each in holdout_sets(found, 12, 0.3, FAMILIES, EVALUATION):
        for family in set(FAMILIES):
            members = np.array(FAMILIES) == family
            assert each.held_out[members].all() or not each.held_out[members].any()
        assert 3 <= each.held_out.sum() < 8 or each.held_out[np.array(FAMILIES) == "all"].all()
        assert (each.scored <= each.held_out).all()


def test_a_total_whose_parts_are_kept_is_not_scored():
    sets = holdout_sets(calibration(), 30, 0.2, None, EVALUATION)
    total = [each for each in sets if each.held_out[6] and not each.held_out[0] and not each.held_out[3]]
    assert total
    assert not any(each.scored[6] for each in total)
    # Of three rows, each the sum or difference of the others, one or two held out: one is determined, two are not.
    three = calibration(excluded_targets=["north/y", "north/z", "south/y", "south/z", "all/y"])
    assert all(each.held_out.sum() == each.scored.sum() == 2 for each in holdout_sets(three, 9, 0.1, None, EVALUATION))
    twins = Calibration(np.ones(3), np.ones(2), ["a", "b"], np.ones((3, 2)))
    with pytest.raises(InputError, match="give families"):
        holdout_sets(twins, 1, 0.5, None, EVALUATION)


@pytest.mark.parametrize(("fraction", "count"), [(0.2, 2), (0.5, 4), (0.6, 5)])
def test_a_set_holds_out_the_share_asked_for_and_no_more(fraction, count):
    """Of eight targets; a set of totals alone grows, which few do."""
    sizes = [int(each.held_out.sum()) for each in holdout_sets(calibration(), 12, fraction, None, EVALUATION)]
    assert min(sizes) == np.median(sizes) == count


def test_sets_follow_the_seed_and_the_purpose():
    def drawn(stream, **options):
        return [each.held_out.tolist() for each in holdout_sets(calibration(**options), 4, 0.3, None, stream)]

    assert drawn(EVALUATION) == drawn(EVALUATION)
    assert drawn(EVALUATION) != drawn(TUNING)
    assert drawn(EVALUATION) != drawn(EVALUATION, seed=1)


def test_robustness_scores_what_was_left_out_and_touches_nothing(tmp_path):
    found = calibration()
    before = found.weights.copy()
    path = tmp_path / "robustness.json"
    results = found.evaluate_holdout_robustness(4, 0.3, path)
    assert np.array_equal(found.weights, before)
    assert found.performance_df is None
    assert found.excluded_targets == []
    detail = results["detailed_results"][0]
    trial = calibration(excluded_targets=detail["holdout_target_names"])
    trial.calibrate()
    scored = [name for name in detail["holdout_target_names"] if name not in detail["not_scored"]]
    errors = {
        name: abs(trial.estimates_of(trial.weights)[i] - found.named.values[i]) / max(abs(found.named.values[i]), 1.0)
        for i, name in enumerate(found.named.names)
        if name in scored
    }
    assert detail["holdout_loss"] == pytest.approx(np.mean(list(errors.values())))
    assert {one["target_name"]: abs(one["relative_error"]) for one in detail["target_details"]} == pytest.approx(errors)
    assert detail["n_holdout_targets"] + detail["n_train_targets"] == 8
    estimates, goals = trial.estimates_of(trial.weights), found.named.values
    close = np.abs(estimates - goals) <= 0.1 * np.abs(goals)
    for one in detail["target_details"]:
        i = found.named.names.tolist().index(one["target_name"])
        assert (one["relative_error"] > 0) == (estimates[i] > goals[i])
        assert one["within_10pct"] == close[i]
    fitted = trial.named.included
    off = np.abs(estimates - goals)[fitted] / np.maximum(np.abs(goals[fitted]), 1.0)
    assert detail["train_loss"] == pytest.approx(off.mean())
    assert detail["generalization_gap"] == pytest.approx(detail["holdout_loss"] - off.mean())
    assert detail["train_accuracy"] == pytest.approx(close[fitted].mean())
    assert detail["accuracy_gap"] == pytest.approx(close[fitted].mean() - detail["holdout_accuracy"])
    assert detail["weights_sparsity"] == 0.0
    overall = results["overall_metrics"]
    losses = [each["holdout_loss"] for each in results["detailed_results"]]
    assert overall["mean_holdout_loss"] == pytest.approx(np.mean(losses))
    assert overall["std_holdout_loss"] == pytest.approx(np.std(losses))
    assert overall["worst_holdout_loss"] == max(losses)
    assert overall["mean_train_loss"] < overall["mean_holdout_loss"]
    assert overall["n_successful_evaluations"] == 4
    frame = results["target_robustness"]
    assert frame["mean_holdout_loss"].is_monotonic_decreasing
    assert frame["times_held_out"].sum() == sum(len(one["target_details"]) for one in results["detailed_results"])
    assert "Worst when held out" in results["recommendation"]
    assert json.loads(path.read_text())["overall_metrics"] == overall
    assert [p.name for p in tmp_path.iterdir()] == ["robustness.json"]


def test_robustness_of_a_budget_tells_how_sparse_the_weights_are():
    detail = evaluate_holdout_robustness(calibration(keep=15), 1, 0.3)["detailed_results"][0]
    assert detail["weights_sparsity"] == pytest.approx(45 / 60)


@pytest.mark.parametrize(("gap", "train", "warned"), [(0.2, 0.1, True), (0.2, 0.3, False), (0.04, 0.01, False)])
def test_a_fit_that_does_not_carry_over_is_told(gap, train, warned):
    overall = {"mean_holdout_accuracy": 0.4, "mean_holdout_loss": train + gap, "mean_train_loss": train}
    said = robustness._recommend(
        {**overall, "mean_generalization_gap": gap}, pd.DataFrame({"target_name": list("abcd")})
    )
    assert "40% of held-out targets" in said
    assert "Worst when held out: a, b, c." in said
    assert ("does not carry over" in said) == warned


def test_robustness_in_tables(tmp_path):
    results = calibration().evaluate_holdout_robustness(2, 0.3, tmp_path / "robust.csv")
    names = ["robust_detailed.csv", "robust_overall.csv", "robust_target_robustness.csv"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    detailed, overall, by_target = (pd.read_csv(tmp_path / name) for name in names)
    assert overall.iloc[0].to_dict() == pytest.approx(results["overall_metrics"])
    pd.testing.assert_frame_equal(by_target, results["target_robustness"], check_dtype=False)
    assert detailed.groupby("holdout_set_idx")["holdout_loss"].first().tolist() == pytest.approx(
        [one["holdout_loss"] for one in results["detailed_results"]]
    )


def test_robustness_of_families_and_bad_requests():
    results = evaluate_holdout_robustness(calibration(), 2, 0.3, families=FAMILIES)
    for detail in results["detailed_results"]:
        held_out = detail["holdout_target_names"]
        prefixes = {name.split("/")[0] for name in held_out}
        kept = {name.split("/")[0] for name in calibration().named.names if name not in held_out}
        assert not prefixes & kept
    for arguments, message in [
        ({"n_holdout_sets": 0}, "n_holdout_sets"),
        ({"holdout_fraction": 1.0}, "holdout_fraction"),
        ({"families": ["one"] * 8}, "two families"),
        ({"families": ["one"] * 3}, r"shape \(8,\)"),
    ]:
        with pytest.raises(InputError, match=message):
            evaluate_holdout_robustness(calibration(), **arguments)


def tuned(trials, storage=None, **options):
    return tune_l0_hyperparameters(
        calibration(epochs=20), trials, n_holdout_sets=2, holdout_fraction=0.3, storage=storage, **options
    )


def plain(found):
    """Without what says where the trials stand in the storage."""
    history = found["evaluation_history"].drop(columns="trial_number").to_dict(orient="list")
    return {**found, "n_trials": None, "evaluation_history": history}


@pytest.fixture
def _quiet_optuna():
    optuna_there.logging.set_verbosity(optuna_there.logging.WARNING)


on_storage = pytest.mark.filterwarnings("ignore::DeprecationWarning:sqlalchemy.*", "ignore::ResourceWarning")


@pytest.mark.usefixtures("_quiet_optuna")
@on_storage
def test_a_study_that_goes_on_is_one_without_a_break(tmp_path):
    whole = tuned(7)
    path = tmp_path / "study.db"
    seen = []
    tuned(3, path, progress=lambda number, value, best: seen.append((number, best <= value)))
    resumed = tuned(7, path, progress=lambda number, value, best: seen.append((number, best <= value)))
    assert plain(resumed) == plain(whole)
    assert resumed["n_trials"] == 7
    assert [number for number, _ in seen] == list(range(7))
    assert all(good for _, good in seen)
    assert plain(tuned(7, path)) == plain(whole)  # nothing left to do
    with pytest.raises(InputError, match="another problem"):
        tune_l0_hyperparameters(calibration(epochs=20, seed=1), 7, n_holdout_sets=2, storage=path)
    with pytest.raises(InputError, match="another problem"):
        tuned(7, path, aggregation="worst")
    with pytest.raises(InputError, match="load_if_exists=True"):
        tuned(7, path, load_if_exists=False)


@pytest.mark.usefixtures("_quiet_optuna")
@on_storage
def test_a_trial_that_was_cut_off_is_done_anew(tmp_path):
    whole, path = tuned(5), tmp_path / "study.db"
    calls = []

    def cut_off(number, value, best):
        calls.append(number)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(5, path, progress=cut_off)
    study = optuna_there.load_study(study_name="l0-calibrate", storage=f"sqlite:///{path}")
    study.ask()  # a trial that runs for ever, as one whose process was killed
    found = tuned(5, path)
    assert plain(found) == plain(whole)
    assert found["n_trials"] == 6
    assert found["evaluation_history"]["trial_number"].unique().tolist() == [0, 1, 3, 4, 5]


@pytest.mark.usefixtures("_quiet_optuna")
def test_what_tuning_finds_can_be_used():
    found = calibration()
    best = found.tune_l0_hyperparameters(4, {"sparsity": 2.0}, 10, n_holdout_sets=2)
    history = best["evaluation_history"]
    assert len(history) == 8
    winner = history[history["trial_number"] == history.groupby("trial_number")["objective"].mean().idxmin()]
    assert best["holdout_objectives"] == winner["objective"].tolist()
    assert best["objective"] == pytest.approx(winner["objective"].mean())
    assert best["mean_val_loss"] == pytest.approx(winner["val_loss"].mean())
    assert best["mean_val_accuracy"] == pytest.approx(winner["val_accuracy"].mean())
    assert (best["n_holdout_sets"], best["aggregation"], best["n_trials"]) == (2, "mean", 4)
    np.testing.assert_allclose(
        history["objective"],
        history["val_loss"] + (1 - history["val_accuracy"]) + 2.0 * history["n_nonzero_weights"] / 60,
    )
    assert 0 <= best["sparsity"] <= 1
    for name in ("l0_lambda", "init_mean", "temperature"):
        setattr(found, name, best[name])
    found.regularize_with_l0 = True
    found.calibrate()
    with pytest.raises(InputError, match="nothing to tune"):
        calibration(keep=10).tune_l0_hyperparameters(1)


@pytest.mark.usefixtures("_quiet_optuna")
def test_aggregation_sampler_and_pruner():
    options = {"epochs_per_trial": 5, "n_holdout_sets": 3}
    for aggregation, function in [("worst", max), ("median", np.median)]:
        best = calibration().tune_l0_hyperparameters(3, aggregation=aggregation, **options)
        by_trial = best["evaluation_history"].groupby("trial_number")["objective"].agg(function)
        assert best["objective"] == pytest.approx(by_trial.min())
    sampler = optuna_there.samplers.RandomSampler(seed=3)
    drawn = calibration().tune_l0_hyperparameters(2, sampler=sampler, **options)
    again = calibration().tune_l0_hyperparameters(2, sampler=optuna_there.samplers.RandomSampler(seed=3), **options)
    assert plain(drawn) == plain(again)
    assert drawn["l0_lambda"] != calibration().tune_l0_hyperparameters(2, **options)["l0_lambda"]
    pruner = optuna_there.pruners.ThresholdPruner(upper=-1.0)  # nothing is below: all trials are pruned
    with pytest.raises(InputError, match="no trial was completed"):
        calibration().tune_l0_hyperparameters(2, pruner=pruner, **options)
    with pytest.raises(InputError, match="unknown aggregation 'best'"):
        calibration().tune_l0_hyperparameters(1, aggregation="best")
    with pytest.raises(InputError, match="direction must be 'minimize'"):
        calibration().tune_l0_hyperparameters(1, direction="maximize")
    with pytest.raises(InputError, match="n_trials must be"):
        calibration().tune_l0_hyperparameters(0)
    with pytest.warns(UserWarning, match="one after the other"):
        calibration().tune_l0_hyperparameters(1, n_jobs=2, epochs_per_trial=2, n_holdout_sets=1)


@pytest.mark.usefixtures("_quiet_optuna")
def test_what_is_held_out_has_no_part_in_a_fit():
    """Other values for the held-out targets change what they are scored by, and not one weight."""
    from l0_calibrate.microcalibrate.holdout import score

    for options in ({"regularize_with_l0": True, "l0_lambda": 1e-4}, {"keep": 20}):
        one, two = calibration(**options), calibration(**options)
        held_out = holdout_sets(one, 1, 0.3, FAMILIES, TUNING)[0]
        two.named.values[held_out.held_out] *= 1e3
        first, second = score(one, held_out), score(two, held_out)
        np.testing.assert_array_equal(first.estimates, second.estimates)
        assert (first.kept, first.train_loss) == (second.kept, second.train_loss)
        assert first.loss != second.loss


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SearchRanges(init_mean=(0.9, 0.5)), "init_mean must be .from, to., two numbers strictly between 0"),
        (lambda: SearchRanges(l0_lambda=(0.0, 1.0)), "l0_lambda must be .from, to., two positive numbers"),
        (lambda: SearchRanges(temperature=0.5), "temperature must be .from, to."),
        (lambda: ObjectiveBalance(loss=float("nan")), "loss must be a number of at least 0"),
        (
            lambda: calibration().tune_l0_hyperparameters(1, {"losss": 1.0}),
            "unknown part of objectives_balance losss .did you mean 'loss'",
        ),
    ],
)
def test_ranges_and_balances_that_cannot_be_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()

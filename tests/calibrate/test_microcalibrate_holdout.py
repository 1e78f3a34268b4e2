"""Hold-outs and tuning: families stay together, nothing leaks, a study that was cut off ends as one that was not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from l0_calibrate.microcalibrate import Calibration, evaluate_holdout_robustness, tune_l0_hyperparameters
from l0_calibrate.microcalibrate.analytical import determined_rows, scaled_gram
from l0_calibrate.microcalibrate.holdout import EVALUATION, TUNING, holdout_sets
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
    defaults = {"epochs": 60, "learning_rate": 0.05, "noise_level": 0.0}
    return Calibration(weights, targets, estimate_matrix=pd.DataFrame(matrix, columns=names), **{**defaults, **options})


def test_determined_rows_are_those_that_least_squares_explains():
    found = calibration()
    gram = scaled_gram(found.columns, found.named.values)[0]
    kept = np.array([True, True, False, True, False, True, False, False])
    dense = found.columns.toarray()
    expected = np.zeros(8, dtype=bool)
    for i in np.flatnonzero(~kept):
        solution = np.linalg.lstsq(dense[kept].T, dense[i], rcond=None)[0]
        expected[i] = np.linalg.norm(dense[kept].T @ solution - dense[i]) < 1e-8
    assert expected.tolist() == [False] * 6 + [True, False]
    assert determined_rows(gram, kept).tolist() == expected.tolist()


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
    trial = calibration(excluded_targets=detail["held_out"])
    trial.calibrate()
    scored = [name for name in detail["held_out"] if name not in detail["not_scored"]]
    errors = [
        abs(trial.estimates_of(trial.weights)[i] - found.named.values[i]) / max(abs(found.named.values[i]), 1.0)
        for i, name in enumerate(found.named.names)
        if name in scored
    ]
    assert detail["holdout_loss"] == pytest.approx(np.mean(errors))
    overall = results["overall_metrics"]
    assert overall["mean_holdout_loss"] == pytest.approx(
        np.mean([each["holdout_loss"] for each in results["detailed_results"]])
    )
    assert overall["worst_holdout_loss"] >= overall["mean_holdout_loss"] >= 0
    assert overall["mean_train_loss"] < overall["mean_holdout_loss"]
    frame = results["target_robustness"]
    assert frame["mean_error"].is_monotonic_decreasing
    assert "Worst when held out" in results["recommendation"]
    assert json.loads(path.read_text())["overall_metrics"] == overall
    assert [p.name for p in tmp_path.iterdir()] == ["robustness.json"]


def test_robustness_of_families_and_bad_requests():
    results = evaluate_holdout_robustness(calibration(), 2, 0.3, families=FAMILIES)
    for detail in results["detailed_results"]:
        prefixes = {name.split("/")[0] for name in detail["held_out"]}
        kept = {name.split("/")[0] for name in calibration().named.names if name not in detail["held_out"]}
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


@pytest.fixture
def _quiet_optuna():
    optuna_there.logging.set_verbosity(optuna_there.logging.WARNING)


@pytest.mark.usefixtures("_quiet_optuna")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:sqlalchemy.*", "ignore::ResourceWarning")
def test_a_study_that_goes_on_is_one_without_a_break(tmp_path):
    whole = tuned(7)
    path = tmp_path / "study.db"
    seen = []
    tuned(3, path, progress=lambda number, value, best: seen.append((number, best <= value)))
    resumed = tuned(7, path, progress=lambda number, value, best: seen.append((number, best <= value)))
    assert resumed == whole
    assert [number for number, _ in seen] == list(range(7))
    assert all(good for _, good in seen)
    assert tuned(7, path) == whole  # nothing left to do
    with pytest.raises(InputError, match="another problem"):
        tune_l0_hyperparameters(calibration(epochs=20, seed=1), 7, n_holdout_sets=2, storage=path)


@pytest.mark.usefixtures("_quiet_optuna")
def test_what_tuning_finds_can_be_used():
    found = calibration()
    best = found.tune_l0_hyperparameters(4, n_holdout_sets=1, epochs_per_trial=10, objectives_balance={"sparsity": 2.0})
    assert set(best) == {
        "l0_lambda",
        "init_mean",
        "temperature",
        "objective",
        "holdout_loss",
        "holdout_accuracy",
        "sparsity",
        "n_trials",
    }
    assert 0 <= best["sparsity"] <= 1
    settings = {name: best[name] for name in ("l0_lambda", "init_mean", "temperature")}
    calibration(regularize_with_l0=True, **settings).calibrate()
    with pytest.raises(InputError, match="nothing to tune"):
        calibration(keep=10).tune_l0_hyperparameters(1)


def test_a_large_problem_stays_small():
    """40,000 records and 2,268 targets with 1.2 million numbers: dense it would be 0.7 GB."""
    import tracemalloc

    rng = np.random.default_rng(0)
    matrix = sp.random_array((40_000, 2_268), density=1.2e6 / (40_000 * 2_268), rng=rng, format="csc")
    frame = pd.DataFrame.sparse.from_spmatrix(matrix)
    tracemalloc.start()
    large = Calibration(np.ones(40_000), np.ones(2_268), estimate_matrix=frame, epochs=2)
    large.calibrate()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6

"""Hold-outs by family: fits that do not see what they are scored on."""

from __future__ import annotations

import sys

import attrs
import numpy as np
import pandas as pd
import pytest

from l0_calibrate import CalibrationProblem, calibrate, holdouts
from l0_calibrate.cli import main
from l0_calibrate.holdouts import hold_out
from l0_calibrate.options import Options
from l0_core import InputError

RECORDS = 120


def problem() -> CalibrationProblem:
    """Counts and incomes of two places, their sum, and rents: the family of the sum is determined by the places."""
    rng = np.random.default_rng(8)
    west = (np.arange(RECORDS) % 3 == 0).astype(float)
    income, rent = rng.gamma(2.0, 30.0, RECORDS), rng.gamma(3.0, 10.0, RECORDS)
    matrix = np.vstack((west, 1 - west, np.ones(RECORDS), income * west, income * (1 - west), rent))
    weights = rng.uniform(5.0, 15.0, RECORDS)
    totals = matrix @ (weights * rng.uniform(0.8, 1.3, RECORDS))
    info = pd.DataFrame({"family": ["places", "places", "nation", "income", "income", "rent"]})
    names = ["west", "east", "all", "income west", "income east", "rent"]
    return CalibrationProblem(matrix, totals, initial_weights=weights, target_names=names, target_info=info)


def test_a_time_limit_is_shared_by_the_fit_of_all_targets_and_those_without_a_family(monkeypatch):
    limits = []

    def fit(asked, options, **how):
        limits.append(options.time_limit)
        return calibrate(asked, options, **how)

    monkeypatch.setattr(holdouts, "calibrate", fit)
    hold_out(problem(), "family", Options(time_limit=500.0))
    assert len(limits) == 5
    assert limits[0] == pytest.approx(100.0, abs=1.0)  # what the first leaves of its part is the others'


def test_each_family_is_scored_by_a_fit_that_did_not_see_it():
    asked = problem()
    found = hold_out(asked, "family", Options(keep=80)).set_index("family")
    everything = calibrate(asked, keep=80)
    for family in ("rent", "income", "nation", "places"):
        members = (asked.target_info["family"] == family).to_numpy()
        rest = asked.subset(~members, np.ones(RECORDS, dtype=bool))
        assert not set(rest.target_names) & set(asked.target_names[members])
        weights = calibrate(rest, keep=80).weights
        row = found.loc[family]
        assert row["held_out"] == members.sum()
        assert row["kept"] == 80
        # A nation whose places are known is determined; of the places one is, by the other and the nation: neither is
        # where both are held out.
        scored = members if family != "nation" else np.zeros(6, dtype=bool)
        assert row["scored"] == scored.sum()
        if not scored.any():
            assert np.isnan(row["error_held_out"])
            assert np.isnan(row["within_10_percent"])
            continue
        errors = np.abs(asked.relative_errors(weights))
        assert row["error_held_out"] == pytest.approx(errors[scored].mean())
        assert row["within_10_percent"] == (errors[scored] <= 0.1).mean()
        assert row["loss"] == pytest.approx(errors[~members].mean())
        assert row["error_initial"] == pytest.approx(
            np.abs(asked.relative_errors(asked.initial_weights))[scored].mean()
        )
        assert row["error_fitted"] == pytest.approx(np.abs(asked.relative_errors(everything.weights))[scored].mean())
    scores = found["error_held_out"].dropna()
    assert scores.is_monotonic_decreasing
    assert found.index[-1] == "nation"


def test_a_target_of_no_weight_determines_none():
    """It is in no fit: what it would determine is scored."""
    asked = attrs.evolve(problem(), loss_weights=[0, 1, 1, 1, 1, 1])
    found = hold_out(asked, "family").set_index("family")
    assert found.loc["nation", "scored"] == 1


def test_families_that_are_none_are_refused():
    asked = problem()
    with pytest.raises(InputError, match="no column 'familly'; did you mean 'family'"):
        hold_out(asked, "familly")
    asked.target_info["family"] = "one"
    with pytest.raises(InputError, match="has one value for all targets, 'one'"):
        hold_out(asked, "family")
    asked.target_info["family"] = ["a", "b", None, "a", "b", None]
    with pytest.raises(InputError, match="targets without a value of 'family': all, rent"):
        hold_out(asked, "family")


def test_a_refusal_names_the_family():
    """Without the one target that counts there is nothing to fit."""
    asked = attrs.evolve(problem(), loss_weights=[0, 0, 0, 0, 0, 1])
    with pytest.raises(InputError, match=r"^without family = 'rent': "):
        hold_out(asked, "family")


def test_watching_names_the_fits():
    seen = []
    hold_out(problem(), "family", watch=lambda event: seen.append(event.domain))
    assert list(dict.fromkeys(seen)) == [
        "all targets",
        "without family places, 1 of 4",
        "without family nation, 2 of 4",
        "without family income, 3 of 4",
        "without family rent, 4 of 4",
    ]


def test_the_command(tmp_path, monkeypatch, capsys):
    problem().save(tmp_path / "problem")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["l0-calibrate", "holdout", str(tmp_path / "problem"), *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr()

    out = tmp_path / "scores.csv"
    code, told = run("--by", "family", "--keep", 80, "--out", out)
    assert code == 0
    assert "Targets held out by family" in told.out
    expected = hold_out(CalibrationProblem.load(tmp_path / "problem"), "family", Options(keep=80))
    pd.testing.assert_frame_equal(pd.read_csv(out), expected)
    code, told = run("--by", "family", "--out", tmp_path / "scores.parquet")
    assert code == 2
    assert "must name a .csv file" in told.err
    before = (tmp_path / "problem" / "targets.csv").read_bytes()
    code, told = run("--by", "family", "--out", tmp_path / "problem" / "targets.csv")
    assert code == 2
    assert "targets.csv" in told.err
    assert (tmp_path / "problem" / "targets.csv").read_bytes() == before

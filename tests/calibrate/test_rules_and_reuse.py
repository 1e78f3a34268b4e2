"""Targets chosen and balanced by rule; a selection of an earlier run used again, by record id."""

from __future__ import annotations

import sys

import attrs
import numpy as np
import pandas as pd
import pytest

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.cli import main
from l0_calibrate.options import Options
from l0_calibrate.problem import balance_targets, choose_targets
from l0_calibrate.reuse import kept_ids, reuse_selection
from l0_core import InputError


def made(seed=0, records=90, ids=None):
    rng = np.random.default_rng(seed)
    matrix = (rng.random((8, records)) < 0.5) * rng.integers(1, 9, (8, records)).astype(float)
    info = pd.DataFrame({"level": ["nation"] * 2 + ["state"] * 6, "unit": ["count", "usd"] * 4})
    return CalibrationProblem(
        matrix,
        matrix @ rng.uniform(0.5, 2, records),
        target_names=[f"t{i}" for i in range(8)],
        target_info=info,
        record_ids=np.arange(records) + 1000 if ids is None else ids,
    )


def test_rules_choose_targets_and_must_match_some():
    problem = made()
    some = choose_targets(problem, only="level == 'state'", exclude="unit == 'usd' and value > 0")
    assert list(some.target_names) == ["t2", "t4", "t6"]
    assert np.array_equal(some.matrix.toarray(), problem.matrix.toarray()[[2, 4, 6]])
    assert choose_targets(problem) is problem
    with pytest.raises(InputError, match=r"no target matches .*; the columns of targets are name, value, "):
        choose_targets(problem, exclude="level == 'county'")
    with pytest.raises(InputError, match="no target is left"):
        choose_targets(problem, only="level == 'nation'", exclude="level == 'nation'")
    with pytest.raises(InputError, match="levl"):
        choose_targets(problem, only="levl == 'nation'")


def test_multipliers_from_the_command_line(tmp_path, monkeypatch, capsys):
    problem = made()
    problem.target_info["level"] = [1, 1, 2, 2, 2, 2, 2, 2]
    problem.save(tmp_path / "problem")
    fit = ("fit", tmp_path / "problem", "--quiet", "--balance-by", "level", "--out", tmp_path / "run")

    def told(*arguments):
        monkeypatch.setattr(sys, "argv", ["l0-calibrate", *map(str, fit), *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr().err

    assert told("--multiplier", "1=5", "--multiplier", "2=0.5") == (0, "")
    expected = calibrate(balance_targets(CalibrationProblem.load(tmp_path / "problem"), "level", {1: 5.0, 2: 0.5}))
    weights = pd.read_parquet(tmp_path / "run" / "weights.parquet")["weight"]
    np.testing.assert_array_equal(weights, expected.weights)
    for wrong, says in (
        ("1", "must be VALUE=FACTOR"),
        ("=5", "must be VALUE=FACTOR"),
        ("1=much", "must be VALUE=FACTOR"),
        ("3=2", "there is no group '3' to multiply; the groups: 1, 2"),
        ("1=-2", "must be finite and not negative"),
    ):
        code, error = told("--multiplier", wrong)
        assert code == 2
        assert says in error.replace("\n", " ")
    assert "given twice" in told("--multiplier", "1=2", "--multiplier", "1=3")[1]
    fit = (*fit[:3], "--out", tmp_path / "run")
    assert "goes with --balance-by" in " ".join(told("--multiplier", "1=2")[1].split())


def test_balanced_groups_count_the_same():
    weights = balance_targets(made(), "level").loss_weights
    assert weights[:2].sum() == pytest.approx(weights[2:].sum())
    assert weights.mean() == pytest.approx(1.0)
    tripled = balance_targets(made(), "level", {"nation": 3.0}).loss_weights
    assert tripled[:2].sum() == pytest.approx(3 * tripled[2:].sum())
    own = np.arange(1.0, 9.0)
    weights = balance_targets(attrs.evolve(made(), loss_weights=own), "level").loss_weights
    assert weights[:2].sum() == pytest.approx(weights[2:].sum())
    for group in (slice(2), slice(2, 8)):  # within a group targets count as they did
        np.testing.assert_allclose(weights[group] / weights[group].sum(), own[group] / own[group].sum())
    with pytest.raises(InputError, match="no column 'levels'; did you mean 'level'"):
        balance_targets(made(), "levels")


def test_an_earlier_selection_is_kept_first_whatever_the_order_of_the_records():
    problem = made()
    first = calibrate(problem, keep=20)
    ids = problem.record_ids[first.selection.indices]
    order = np.random.default_rng(1).permutation(90)[5:]  # five records are gone, the others moved
    later = problem.subset(np.arange(8), order)
    stay = set(ids) & set(later.record_ids)

    def again(keep):
        options, said = reuse_selection(later, Options(keep=keep), ids)
        assert said.startswith(f"{len(stay)} of 20 records")
        return set(later.record_ids[calibrate(later, options).selection.indices])

    assert stay < again(25)
    assert again(10) < stay


def test_reuse_says_what_cannot_be(tmp_path):
    problem = made()
    with pytest.raises(InputError, match="under a budget"):
        reuse_selection(problem, Options(), [1000])
    with pytest.raises(InputError, match="none of the 2 records"):
        reuse_selection(problem, Options(keep=5), [1, 2])
    never = np.zeros(90, dtype=bool)
    never[0] = True
    options, said = reuse_selection(problem, Options(keep=5, never_keep=never), [1000, 1001])
    assert said.startswith("1 of 2")
    assert options.must_keep is not None
    assert np.flatnonzero(options.must_keep).tolist() == [1]
    pd.DataFrame({"record_id": [1, 2], "weight": [0.0, 0.0]}).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(InputError, match="keeps no record"):
        kept_ids(tmp_path / "none.csv")


def test_all_of_it_from_the_command_line(tmp_path, monkeypatch, capsys):
    made().save(tmp_path / "problem")

    def fit(out, *extra):
        command = ["l0-calibrate", "fit", str(tmp_path / "problem"), "--keep", "20", "--out", str(tmp_path / out)]
        monkeypatch.setattr(sys, "argv", [*command, *extra])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code

    assert fit("first", "--only-targets", "level == 'state'", "--balance-by", "unit") == 0
    assert len(pd.read_parquet(tmp_path / "first" / "targets.parquet")) == 6
    capsys.readouterr()
    assert fit("second", "--reuse", str(tmp_path / "first" / "weights.parquet")) == 0
    assert "note: 20 of 20 records of the earlier selection" in capsys.readouterr().out
    first, second = (pd.read_parquet(tmp_path / run / "weights.parquet")["kept"] for run in ("first", "second"))
    assert first.equals(second)
    assert fit("third", "--exclude-targets", "level == 'county'") == 2
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("weights", "message"),
    [(["1.5", "heavy"], "weight must be real numbers"), ([1.0, np.nan], "weight of record 1001 .* is nan")],
)
def test_an_earlier_selection_has_weights_that_are_numbers(tmp_path, weights, message):
    path = tmp_path / "weights.parquet"
    pd.DataFrame({"record_id": [1000, 1001], "weight": weights}).to_parquet(path)
    with pytest.raises(InputError, match=f"weights.parquet: .*{message}"):
        kept_ids(path)

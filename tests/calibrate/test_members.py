"""Targets over what records consist of: persons' totals on households' weights, beside sums by pandas."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_calibrate import CalibrationProblem, Target, calibrate
from l0_calibrate.cli import main
from l0_core import InputError

HOUSEHOLDS = pd.DataFrame(
    {
        "record_id": ["a", "b", "c", "d"],
        "initial_weight": [10.0, 20.0, 30.0, 40.0],
        "state": ["CA", "NY", "CA", "NY"],
        "rent": [900.0, 0.0, 1200.0, 700.0],
        "age": [-1, -1, -1, -1],
    }
)
PERSONS = pd.DataFrame(
    {
        "record_id": ["c", "a", "a", "b", "c", "c"],  # d is empty
        "age": [70, 8, 35, 41, 12, 3],
        "wages": [0.0, 0.0, 52_000.5, 31_000.0, 0.0, 0.0],
        "vote": [True, False, True, True, False, False],
    }
)


def built(*targets: Target, persons: pd.DataFrame = PERSONS) -> CalibrationProblem:
    return CalibrationProblem.from_microdata(HOUSEHOLDS, targets, members={"person": persons})


@pytest.mark.parametrize(
    ("target", "row"),
    [
        ({"count_of": "*"}, [2, 1, 3, 0]),
        ({"count_of": "*", "where": "age < 18"}, [1, 0, 2, 0]),
        ({"count_of": "wages"}, [1, 1, 0, 0]),
        ({"count_of": "vote"}, [1, 1, 1, 0]),
        ({"sum_of": "wages", "where": "vote"}, [52_000.5, 31_000, 0, 0]),
        ({"sum_of": "age + wages"}, [52_043.5, 31_041, 85, 0]),
        ({"count_of": "*", "where": "state == 'CA' and age >= 18"}, [1, 0, 1, 0]),  # a column of the household
        ({"sum_of": "rent"}, [1800, 0, 3600, 0]),  # each person counts the household's
        ({"sum_of": "age"}, [43, 41, 85, 0]),  # the person's own, not the household's of that name
    ],
)
def test_members_are_added_up_by_record(target: dict[str, str], row: list[float]) -> None:
    problem = built(Target("t", 1.0, entity="person", **target))
    assert problem.matrix.toarray().tolist() == [row]


def test_targets_of_records_and_of_members_stand_side_by_side() -> None:
    problem = built(
        Target("children", 50, entity="person", count_of="*", where="age < 18"),
        Target("households/CA", 35, count_of="*", where="state == 'CA'"),
        Target("adults", 90, entity="person", count_of="*", where="age >= 18"),
    )
    assert problem.matrix.toarray().tolist() == [[1, 0, 2, 0], [1, 0, 1, 0], [1, 1, 1, 0]]
    assert problem.matrix.dtype == np.float32
    assert problem.record_ids.tolist() == ["a", "b", "c", "d"]
    result = calibrate(problem, spread=0)
    assert result.loss < 1e-6
    of_persons = PERSONS.assign(weight=pd.Series(result.weights, HOUSEHOLDS["record_id"])[PERSONS["record_id"]].values)
    assert of_persons.loc[of_persons["age"] < 18, "weight"].sum() == pytest.approx(50, rel=1e-5)


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_any_order_of_members_gives_what_pandas_adds_up(seed: int, households: int, persons: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(households * 3)[:households]
    frame = pd.DataFrame({"record_id": ids, "initial_weight": 1.0, "region": rng.integers(0, 3, households)})
    members = pd.DataFrame(
        {
            "record_id": rng.choice(ids, persons),
            "income": rng.normal(0, 1e4, persons),
            "sex": rng.choice(["f", "m"], persons),
        }
    )
    target = Target("t", 1.0, entity="p", sum_of="income", where="sex == 'f' and region != 1")
    row = CalibrationProblem.from_microdata(frame, [target], members={"p": members}).matrix.toarray()[0]
    joined = members.merge(frame, on="record_id")
    chosen = joined[(joined["sex"] == "f") & (joined["region"] != 1)]
    expected = chosen.groupby("record_id")["income"].sum().reindex(ids, fill_value=0.0)
    np.testing.assert_allclose(row, expected.to_numpy(), rtol=1e-12, atol=1e-9)


def test_sums_that_float32_does_not_hold_stay_whole() -> None:
    """2^24 is exact in float32, and so is 1; their sum is not."""
    persons = pd.DataFrame({"record_id": ["a", "a"], "amount": np.array([2**24, 1], dtype=np.float32)})
    problem = built(Target("t", 1.0, entity="person", sum_of="amount"), persons=persons)
    assert problem.matrix.dtype == np.float64
    assert problem.matrix.toarray()[0, 0] == 2**24 + 1


@pytest.mark.parametrize(
    ("persons", "target", "message"),
    [
        (PERSONS, {"entity": "persons", "count_of": "*"}, "target 't' adds up 'persons', but there are 'person'"),
        (PERSONS, {"entity": "person", "sum_of": "wage"}, "target 't': members 'person' have no column 'wage'"),
        (PERSONS, {"entity": "person", "count_of": "*", "where": "sex == 1"}, "target 't': there is no column 'sex'"),
        (
            PERSONS.assign(record_id=["c", "a", "z", "b", "y", "c"]),
            {"count_of": "*"},
            "2 of the 6 rows of members 'person' belong to no record of the microdata "
            "(the first is row 2, record_id 'z')",
        ),
        (PERSONS.drop(columns="record_id"), {"count_of": "*"}, "have no column 'record_id' that says whose they are"),
        (
            PERSONS.assign(wages=[0, 1, np.nan, 3, 4, 5]),
            {"entity": "person", "sum_of": "wages"},
            "wages is missing or infinite in row 2 of members 'person'",
        ),
        (pd.concat([PERSONS, PERSONS[["age"]]], axis=1), {"count_of": "*"}, "members 'person' have the column 'age' twice"),
        ([1], {"count_of": "*"}, "members 'person' must be a DataFrame"),
    ],
)  # fmt: skip
def test_members_that_fit_no_record_are_refused(persons: pd.DataFrame, target: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        built(Target("t", 1.0, **target), persons=persons)


def test_records_need_ids_of_their_own() -> None:
    target = [Target("t", 1.0, entity="person", count_of="*")]
    for frame, message in (
        (HOUSEHOLDS.drop(columns="record_id"), "need a column record_id"),
        (HOUSEHOLDS.assign(record_id=["a", "b", "a", "d"]), "the id 'a' is that of several records"),
    ):
        with pytest.raises(InputError, match=message):
            CalibrationProblem.from_microdata(frame, target, members={"person": PERSONS})
    with pytest.raises(InputError, match="no members are given"):
        CalibrationProblem.from_microdata(HOUSEHOLDS, target)
    with pytest.raises(InputError, match="entity must be the name"):
        Target("t", 1.0, entity="", count_of="*")


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    monkeypatch.setattr(sys, "argv", ["l0-calibrate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def test_members_come_from_files_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    households = HOUSEHOLDS.rename(columns={"record_id": "hh"})
    households.to_csv(tmp_path / "h.csv", index=False)
    PERSONS.rename(columns={"record_id": "hh"}).to_parquet(tmp_path / "p.parquet")
    pd.DataFrame(
        {
            "name": ["children", "households"],
            "value": [50, 101],
            "entity": ["person", None],
            "count_of": ["*", "*"],
            "where": ["age < 18", None],
        }
    ).to_csv(tmp_path / "t.csv", index=False)
    source = ["--microdata", str(tmp_path / "h.csv"), "--targets", str(tmp_path / "t.csv"), "--record-id", "hh"]
    members = ["--members", f"person={tmp_path / 'p.parquet'}"]
    assert command(monkeypatch, "fit", *source, *members, "--out", str(tmp_path / "run"), "--quiet") == 0
    weights = pd.read_parquet(tmp_path / "run" / "weights.parquet")
    assert weights["weight"] @ [1, 0, 2, 0] == pytest.approx(50, rel=1e-3)
    for wrong, message in (
        (["--members", "person"], "must be NAME=FILE"),
        ([*members, *members], "given twice"),
        ([], "no members are given"),
    ):
        assert command(monkeypatch, "check", *source, *wrong) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert command(monkeypatch, "check", str(tmp_path), *members) == 2
    assert "--members go with --microdata" in " ".join(capsys.readouterr().err.split())


def test_the_small_file_has_the_kept_records_and_their_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    households = pd.DataFrame({"hh": np.arange(60) * 7, "base": rng.uniform(1, 9, 60), "rent": rng.gamma(2, 400, 60)})
    persons = pd.DataFrame({"hh": rng.choice(households["hh"], 150), "age": rng.integers(0, 90, 150)})
    children = persons["hh"][persons["age"] < 18].map(households.set_index("hh")["base"]).sum()
    table = {"name": ["children", "rent"], "value": [1.1 * children, households["base"] @ households["rent"]]}
    table |= {
        "entity": ["person", None],
        "count_of": ["*", None],
        "sum_of": [None, "rent"],
        "where": ["age < 18", None],
    }
    pd.DataFrame(table).to_csv(tmp_path / "t.csv", index=False)
    households.to_parquet(tmp_path / "h.parquet")
    persons.to_csv(tmp_path / "p.csv", index=False)
    run = ("fit", "--microdata", tmp_path / "h.parquet", "--targets", tmp_path / "t.csv", "--record-id", "hh")
    run += ("--weight", "base", "--members", f"person={tmp_path / 'p.csv'}", "--keep", "20", "--small-file")
    assert command(monkeypatch, *run, "--out", tmp_path / "run") == 0
    shown = "".join(capsys.readouterr().out.split())
    assert "small.parquet" in shown
    assert "small_person.parquet" in shown
    small, weights = (pd.read_parquet(tmp_path / "run" / f"{name}.parquet") for name in ("small", "weights"))
    assert list(small.columns) == ["record_id", "initial_weight", "weight", "rent"]
    kept = weights[weights["kept"]].merge(households, left_on="record_id", right_on="hh")
    assert len(small) == 20
    pd.testing.assert_frame_equal(small, kept[list(small.columns)])
    of_persons = pd.read_parquet(tmp_path / "run" / "small_person.parquet")
    expected = persons[persons["hh"].isin(small["record_id"])].reset_index(drop=True)
    expected["weight"] = expected["hh"].map(small.set_index("record_id")["weight"])
    pd.testing.assert_frame_equal(of_persons, expected)
    assert of_persons.loc[of_persons["age"] < 18, "weight"].sum() == pytest.approx(1.1 * children, rel=0.02)
    assert command(monkeypatch, *(each for each in run if each != "--small-file"), "--out", tmp_path / "run") == 0
    left = "".join(capsys.readouterr().out.split()).partition("leftasitis:")[2]
    assert "small.parquet" in left
    assert "small_person.parquet" in left
    persons.assign(weight=1.0).to_csv(tmp_path / "p.csv", index=False)
    assert command(monkeypatch, *run, "--out", tmp_path / "other") == 2
    assert "members 'person' have the column 'weight'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "other").exists()


def test_tables_beside_a_run_have_names_of_their_own(tmp_path: Path) -> None:
    result = calibrate(built(Target("t", 100.0, count_of="*")))
    small = result.small_file()
    assert small["state"].tolist() == ["CA", "NY", "CA", "NY"]
    assert list(small) == ["record_id", "initial_weight", "weight", *result.problem.record_info]
    for name in ("weights.parquet", "../x.parquet", "x.csv"):
        with pytest.raises(InputError, match="of its own"):
            result.save(tmp_path / "run", {name: result.small_file()})
        assert not (tmp_path / "run").exists()
    clash = CalibrationProblem.from_microdata(HOUSEHOLDS.assign(weight=1.0), [Target("t", 100.0, count_of="*")])
    with pytest.raises(InputError, match="the records have the column 'weight'"):
        calibrate(clash).small_file()

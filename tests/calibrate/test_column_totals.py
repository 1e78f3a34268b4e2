"""Totals of columns that no target is about, before and after."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.cli.app import app
from l0_calibrate.result.column_totals import column_totals
from l0_core import InputError


def survey(info: pd.DataFrame | None = None) -> CalibrationProblem:
    rng = np.random.default_rng(0)
    matrix = rng.gamma(1.0, 1.0, (3, 40))
    w = rng.uniform(5, 20, 40)
    return CalibrationProblem(
        matrix,
        matrix @ w * [1.1, 0.9, 1.0],
        initial_weights=w,
        record_ids=[f"r{i}" for i in range(40)],
        record_info=info,
    )


def columns() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "income": np.where(np.arange(40) == 3, np.nan, rng.normal(0, 100, 40)),
            "owner": rng.random(40) < 0.5,
            "state": [["CA", "NY", None][i % 3] for i in range(40)],
            "name": [f"person {i}" for i in range(40)],
            "born": pd.date_range("2000-01-01", periods=40),
            "none": np.zeros(40, dtype=np.int64),
        }
    )


def test_totals_are_weighted_sums_and_counts_before_and_after() -> None:
    frame = columns()
    result = calibrate(survey(frame), keep=12)
    before, after = result.problem.initial_weights, result.weights
    table = result.column_totals().set_index(["column", "value"])
    is_there = frame["income"].notna().to_numpy()
    expected = {
        ("income", None): (frame["income"].to_numpy()[is_there], is_there),
        ("owner", None): (frame["owner"].to_numpy(dtype=float), np.ones(40, bool)),
        ("state", "CA"): ((frame["state"] == "CA").to_numpy(dtype=float), np.ones(40, bool)),
        ("state", "NY"): ((frame["state"] == "NY").to_numpy(dtype=float), np.ones(40, bool)),
        ("none", None): (np.zeros(40), np.ones(40, bool)),
    }
    assert len(table) == len(expected)  # no rows for names and dates
    for (column, value), (counted, rows) in expected.items():
        [row] = [r for (c, v), r in table.iterrows() if c == column and (v == value or (value is None and pd.isna(v)))]
        old, new = counted @ before[rows], counted @ after[rows]
        assert (row["before"], row["after"]) == pytest.approx((old, new), rel=1e-12)
        assert row["change"] == pytest.approx((new - old) / abs(old) if old else np.nan, rel=1e-12, nan_ok=True)
        assert row["missing"] == {"income": 1, "state": 13}.get(column, 0)


def test_a_table_by_record_ids_may_be_in_any_order() -> None:
    result = calibrate(survey(), keep=12)
    frame = columns()[["income", "state"]]
    straight = result.column_totals(frame)
    shuffled = frame.assign(record_id=[f"r{i}" for i in range(40)]).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(result.column_totals(shuffled), straight)


def test_tables_that_do_not_fit_are_refused() -> None:
    result = calibrate(survey(), keep=12)
    with pytest.raises(InputError, match="the problem has no columns of its records; give some"):
        result.column_totals()
    with pytest.raises(InputError, match="the columns have 39 rows, the problem 40 records"):
        result.column_totals(columns().iloc[1:])
    named = columns().assign(record_id=[f"r{i}" for i in range(40)])
    with pytest.raises(InputError, match="the table of columns has no row for 1 records of the problem: r0"):
        result.column_totals(named.iloc[1:])
    more = pd.concat([named, named.iloc[:1].assign(record_id="r40")])
    with pytest.raises(InputError, match="the table of columns has 1 records that the problem does not have: r40"):
        result.column_totals(more)


def test_evaluate_shows_what_became_of_columns(tmp_path: Path) -> None:
    problem, frame = survey(), columns().assign(record_id=[f"r{i}" for i in range(40)])
    result = calibrate(problem, keep=12)
    problem.save(tmp_path / "p")
    result.save(tmp_path / "run")
    frame.to_parquet(tmp_path / "columns.parquet", index=False)
    call = [
        "evaluate",
        str(tmp_path / "run/weights.parquet"),
        str(tmp_path / "p"),
        "--columns",
        f"{tmp_path}/columns.parquet",
    ]
    shown = CliRunner().invoke(app, call)
    assert shown.exit_code == 0, shown.output
    table = result.column_totals(frame).set_index(["column", "value"])
    change = table.loc[("state", "CA"), "change"]
    assert f"{100 * change:+.1f} %" in next(line for line in shown.output.splitlines() if "state = CA" in line)
    said = json.loads(CliRunner().invoke(app, [*call, "--json"]).output)
    assert said["kept"] == 12
    assert [row["after"] for row in said["columns"]] == pytest.approx(table["after"].tolist())
    assert [row["value"] for row in said["columns"] if row["column"] == "income"] == [None]


def test_truth_values_with_empty_fields_are_counted_as_a_csv_file_brings_them() -> None:
    result = calibrate(survey(), keep=12)
    flags = pd.Series([True, False, None, True] * 10, dtype=object)
    table = result.column_totals(pd.DataFrame({"owns": flags, "empty": pd.Series([None] * 40, dtype=object)}))
    owns, empty = table.itertuples(index=False)
    assert owns.after == pytest.approx(result.weights[flags == True].sum())  # noqa: E712
    assert owns.missing == 10
    assert (empty.column, empty.before, empty.after, empty.missing) == ("empty", 0.0, 0.0, 40)


@pytest.mark.parametrize(("records", "values", "rows"), [(124, 60, 60), (124, 61, 0), (40, 20, 20), (40, 21, 0)])
def test_texts_are_counted_one_by_one_up_to_sixty_of_them_and_half_the_records(
    records: int, values: int, rows: int
) -> None:
    asked = CalibrationProblem(np.ones((1, records)), [1.0 * records])
    frame = pd.DataFrame({"place": [f"p{i % values}" for i in range(records)]})
    assert len(column_totals(asked, np.ones(records), frame)) == rows


def test_an_infinite_field_is_named() -> None:
    frame = columns()[["income"]].astype(float)
    frame.loc[3, "income"] = np.inf
    with pytest.raises(InputError, match="column 'income' of record 'r3' is not finite and has no total"):
        calibrate(survey(), keep=12).column_totals(frame)


def test_columns_may_name_their_ids_as_the_microdata_do(tmp_path: Path) -> None:
    """Without it a table in another order was taken for one in the problem's."""
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        {"hid": [f"h{i}" for i in range(40)], "initial_weight": 5.0, "wages": rng.gamma(2.0, 9.0, 40)}
    )
    people.to_parquet(tmp_path / "people.parquet", index=False)
    people.sample(frac=1, random_state=0).to_parquet(tmp_path / "columns.parquet", index=False)
    pd.DataFrame({"name": ["wages"], "value": [4000.0], "sum_of": ["wages"]}).to_csv(tmp_path / "t.csv", index=False)
    source = ["--microdata", f"{tmp_path}/people.parquet", "--targets", f"{tmp_path}/t.csv", "--record-id", "hid"]
    weights = people.rename(columns={"hid": "record_id"}).assign(weight=rng.gamma(2.0, 3.0, 40))
    weights.to_parquet(tmp_path / "w.parquet", index=False)
    call = ["evaluate", f"{tmp_path}/w.parquet", *source, "--columns", f"{tmp_path}/columns.parquet", "--json"]
    said = CliRunner().invoke(app, call)
    assert said.exit_code == 0, said.output
    (wages,) = [row for row in json.loads(said.output)["columns"] if row["column"] == "wages"]
    assert wages["after"] == pytest.approx(float(weights["weight"] @ weights["wages"]))


def test_a_table_of_the_command_line_has_ids(tmp_path: Path) -> None:
    problem = survey()
    problem.save(tmp_path / "p")
    calibrate(problem, keep=12).save(tmp_path / "run")
    columns().to_parquet(tmp_path / "columns.parquet", index=False)
    call = ["evaluate", f"{tmp_path}/run/weights.parquet", f"{tmp_path}/p", "--columns", f"{tmp_path}/columns.parquet"]
    refused = CliRunner().invoke(app, call)
    assert isinstance(refused.exception, InputError)
    assert "columns.parquet has no column 'record_id'; there are: income, owner" in str(refused.exception)

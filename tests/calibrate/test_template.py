"""The totals that margins ask for, to be filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, target_template
from l0_calibrate.cli.app import app
from l0_core import InputError


def people(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "record_id": np.arange(rows),
            "initial_weight": rng.uniform(1, 9, rows),
            "state": rng.choice(["CA", "O'x\\", 'a "b"', "true"], rows),
            "in": rng.choice([1.0, 2.5, -3.0], rows),
            "a code": rng.choice(["01", "1"], rows),
            "veteran": rng.uniform(0, 1, rows) < 0.4,
            "wages": rng.choice([0.0, 1e3, 2e3], rows),
        }
    )


def test_each_cell_is_a_total_of_its_rows_and_the_table_can_be_filled_in(tmp_path: Path) -> None:
    frame = people()
    margins: list[Any] = ["state", ("in", "a code"), ["veteran"]]
    table = target_template(frame, margins, sums=["wages"], counts=["*", "wages"], overall=True)
    path = tmp_path / "totals.csv"
    table.assign(value=np.arange(len(table)) + 1.0).to_csv(path, index=False)
    frame.to_parquet(tmp_path / "people.parquet")
    problem = CalibrationProblem.load_microdata(tmp_path / "people.parquet", path)
    w = frame["initial_weight"].to_numpy()
    wages = frame["wages"].to_numpy()
    measures = [wages, np.ones(len(frame)), (wages != 0).astype(float)]
    expected: list[tuple[float, int]] = []
    for margin in [[], ["state"], ["in", "a code"], ["veteran"]]:
        rows = frame.groupby(margin).indices.values() if margin else [np.arange(len(frame))]
        expected += [(float(w[r] @ y[r]), np.count_nonzero(y[r])) for y in measures for r in rows]
    assert table["microdata_total"].to_numpy() == pytest.approx([total for total, _ in expected])
    assert table["microdata_records"].tolist() == [count for _, count in expected]
    assert problem.estimates(w) == pytest.approx(table["microdata_total"].to_numpy())
    assert table["name"].is_unique
    assert {"count", "wages/state=CA", "count of wages/veteran=False", "count/in=-3,a code=01"} <= set(table["name"])
    assert table["value"].isna().all()


def test_rows_of_members_are_counted_by_their_own_columns_and_those_of_their_records() -> None:
    frame = people(4).assign(state=["CA", "CA", "NY", "NY"], initial_weight=[1.0, 2.0, 4.0, 8.0])
    persons = pd.DataFrame({"record_id": [0, 0, 1, 3, 3, 3], "adult": [1, 0, 1, 1, 1, 0]})
    table = target_template(frame, [("state", "adult")], entity="person", members={"person": persons})
    assert dict(zip(table["name"], table["microdata_total"], strict=True)) == {
        "count/state=CA,adult=0": 1.0,
        "count/state=CA,adult=1": 3.0,
        "count/state=NY,adult=0": 8.0,
        "count/state=NY,adult=1": 16.0,
    }
    assert table["microdata_records"].tolist() == [1, 2, 1, 1]
    assert set(table["entity"]) == {"person"}
    by_index = frame.set_index("record_id")
    pd.testing.assert_frame_equal(
        target_template(by_index, [("state", "adult")], entity="person", members={"person": persons}), table
    )


@pytest.mark.parametrize(
    ("margins", "more", "says"),
    [
        (["stat"], {}, "no column 'stat'.*did you mean 'state'"),
        ([("state", "state")], {}, "several different ones"),
        ([("state", "in"), ("in", "state")], {}, "in,state is given twice"),
        ([()], {}, "a column or several"),
        (["initial_weight"], {}, "120 cells of 120 rows"),
        (["gap"], {}, r"'gap' is missing in row 3 \(and 0 more\)"),
        (["weight"], {}, "would stand for a column of the table of targets"),
        (["day"], {}, "margins are of text, numbers, or true and false"),
        (["mixed"], {}, "values of several kinds"),
        (["tick`"], {}, "cannot stand in a condition"),
        (["state"], {"sums": ["state"]}, "'state' of dtype .* cannot be summed"),
        (["state"], {"entity": "person"}, "add up 'person', but no members are given"),
        (["state"], {"weight": "w"}, "no column 'w'"),
    ],
)
def test_what_no_table_can_be_made_of_is_refused(margins: list[Any], more: dict[str, Any], says: str) -> None:
    frame = people(120).assign(
        gap=[None if i == 3 else "x" for i in range(120)],
        weight="x",
        day=pd.Timestamp("2026-01-01"),
        mixed=pd.Series([1, "x"] * 60, dtype=object),
    )
    frame["tick`"] = 1
    with pytest.raises(InputError, match="microdata must be a DataFrame, got dict"):
        target_template({"state": ["CA"]}, margins, **more)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=says):
        target_template(frame, margins, **more)


def test_the_command_writes_a_table_that_is_checked_once_it_is_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    people().to_csv("people.csv", index=False)
    wanted = ["template", "--microdata", "people.csv", "--by", "a code", "--by", "in, veteran", "--out", "totals.csv"]
    made = CliRunner().invoke(app, wanted)
    assert made.exit_code == 0, made.exception
    assert "totals.csv: 8 targets" in made.output
    table = pd.read_csv("totals.csv", dtype={"a code": str})
    assert table["a code"].tolist()[:2] == ["01", "1"]
    check = ["check", "--microdata", "people.csv", "--targets", "totals.csv"]
    empty = CliRunner().invoke(app, check)
    assert isinstance(empty.exception, InputError)
    assert "has no value; fill it in" in str(empty.exception)
    table.assign(value=table["microdata_total"]).to_csv("totals.csv", index=False)
    assert CliRunner().invoke(app, check).exit_code == 0
    for arguments, says in [
        (wanted, "totals.csv is there already"),
        ([*wanted[:-1], "totals.txt"], "must name a .csv file"),
        ([*wanted[:-1], "more.csv", "--sum", "wages,"], "--sum 'wages,' must be columns"),
    ]:
        again = CliRunner().invoke(app, arguments)
        assert isinstance(again.exception, InputError)
        assert says in str(again.exception)
    assert not Path("more.csv").exists()

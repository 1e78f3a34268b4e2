"""Declared targets: the grammar beside Python's own, the matrix beside the given one, and what is refused."""

from __future__ import annotations

import contextlib
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_calibrate.problem import CalibrationProblem, Target, parse_condition
from l0_calibrate.problem.evaluation import Evaluator
from l0_core import InputError

BUNDLED = Path(__file__).parents[2] / "packages/l0-calibrate/src/l0_calibrate/demo/us_national_small"
SHARED = Path(__file__).parents[3] / "shared/data/us_state_soi_medium"

FRAME = pd.DataFrame(
    {
        "record_id": [7, 8, 9, 10, 11],
        "initial_weight": [1.0, 2.0, 3.0, 4.0, 5.0],
        "age": [10, 20, 30, 40, 50],
        "wages": [0.0, 1.5, -2.0, 0.0, 7.0],
        "people": np.array([1, 2, 3, 4, 5], dtype=np.int8),
        "elderly": np.array([0, 0, 1, 1, 2], dtype=np.int8),
        "filer": [True, False, True, True, False],
        "owner": [True, True, False, False, False],
        "state": ["CA", "NY", "CA", "o'x", "NA"],
        "a + b": [1, 1, 1, 1, 1],
        "holes": [1.0, np.nan, 3.0, 4.0, 5.0],
    }
)


def mask(text: str) -> list[bool]:
    return Evaluator(FRAME).mask(parse_condition(text)).tolist()


def test_columns_of_text_are_compared_by_their_text() -> None:
    frame = pd.DataFrame({"home": ["CA", "NY", "TX"], "work": ["NY", "NY", "TX"]})
    assert Evaluator(frame).mask(parse_condition("home == work")).tolist() == [False, True, True]
    assert Evaluator(frame).mask(parse_condition("home != work")).tolist() == [True, False, False]


# ---------------------------------------------------------------------- the grammar


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("filer", [0, 2, 3]),
        ("not filer", [1, 4]),
        ("not not filer", [0, 2, 3]),
        ("filer and owner", [0]),
        ("filer or owner", [0, 1, 2, 3]),
        ("not filer and owner", [1]),  # not binds before and
        ("not (filer and owner)", [1, 2, 3, 4]),
        ("owner or filer and age > 30", [0, 1, 3]),  # and binds before or
        ("(owner or filer) and age > 30", [3]),
        ("state == 'CA'", [0, 2]),
        ("'CA' == state", [0, 2]),
        ("state != 'CA'", [1, 3, 4]),
        ("state == 'o\\'x'", [3]),
        ('state == "o\'x"', [3]),
        ("state == 'nowhere'", []),
        ("state in ('CA', 'NA')", [0, 2, 4]),
        ("state not in ['CA', 'NA',]", [1, 3]),
        ("age in (10, 50)", [0, 4]),
        ("20 <= age < 50", [1, 2, 3]),
        ("wages == -2", [2]),
        ("wages > -1e0", [0, 1, 3, 4]),
        ("filer == False", [1, 4]),
        ("filer != owner", [1, 2, 3]),
        ("people > elderly", [0, 1, 2, 3, 4]),
        ("`a + b` == 1", [0, 1, 2, 3, 4]),
        ("age == 300", []),
        ("people == 300", []),  # beyond int8: no wrap-around
        ("state == state", [0, 1, 2, 3, 4]),
    ],
)
def test_conditions_choose_the_records_that_they_say(text: str, rows: list[int]) -> None:
    assert np.flatnonzero(mask(text)).tolist() == rows


_TESTS = st.sampled_from(
    ["filer", "owner", "age > 20", "age == 30", "wages <= 0", "people != 2", "10 < age <= 40", "age in (10, 20)"]
)
_TREES = st.recursive(
    _TESTS,
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        inner.map(lambda text: f"(not {text})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})"),
    ),
    max_leaves=8,
)


@given(_TREES)
@settings(max_examples=150, deadline=None)
def test_precedence_is_that_of_python(text: str) -> None:
    rows = FRAME[["filer", "owner", "age", "wages", "people"]].to_dict("records")
    assert mask(text) == [bool(eval(text, {"__builtins__": {}}, row)) for row in rows]


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_condition_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(InputError):
        Evaluator(FRAME).mask(parse_condition(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be text"),
        ("age = 3", "equality is written =="),
        ("filer & owner", "'and'"),
        ("age == ", "found the end"),
        ("(filer", "bracket is not closed"),
        ("filer owner", "expected 'and', 'or' or the end"),
        ("state in ()", "list is empty"),
        ("state in 'CA'", "needs a list in brackets"),
        ("state in (CA)", "bare word 'CA'"),
        ("state in ('CA' 'NY')", "expected ',' or ')' in the list"),
        ("3 in (3, 4)", "'in' needs a column on its left"),
        ("age not 3", "expected 'in' after 'not'"),
        ("3", "compare a column"),
        ("1 < 2", "needs a column"),
        ("__import__('os')", "expected 'and', 'or' or the end"),
        ("age.__class__", "no column 'age.__class__'"),
        ("stat == 'CA'", "no column 'stat'; did you mean 'state'"),
        ("state == 3", "holds text, 3 is a number"),
        ("age == 'x'", "holds numbers, 'x' is a text"),
        ("age == True", "holds numbers, True is a truth value"),
        ("filer == 1", "holds truth values, 1 is a number"),
        ("age", "holds numbers; compare"),
        ("state < 'CA'", "there is no order of text"),
        ("age == state", "differ"),
        ("holes > 1", "1 missing values (the first in row 1)"),
        ("(" * 5000 + "filer" + ")" * 5000, "nested too deeply"),
        ("state == 'CA", "'"),
    ],
)
def test_what_a_condition_cannot_mean_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        mask(text)


def test_the_place_of_the_error_is_shown() -> None:
    with pytest.raises(InputError) as caught:
        parse_condition("filer and age = 3")
    *_, text, marker = str(caught.value).splitlines()
    assert text[marker.index("^")] == "="


# ---------------------------------------------------------------------- the matrix


def problem(**target: object) -> CalibrationProblem:
    return CalibrationProblem.from_microdata(FRAME, [Target("t", 1.0, **target)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "row"),
    [
        ({"count_of": "*"}, [1, 1, 1, 1, 1]),
        ({"count_of": "*", "where": "filer"}, [1, 0, 1, 1, 0]),
        ({"count_of": "wages"}, [0, 1, 1, 0, 1]),
        ({"count_of": "filer"}, [1, 0, 1, 1, 0]),
        ({"sum_of": "wages", "where": "age >= 30"}, [0, 0, -2, 0, 7]),
        ({"sum_of": ["people", "elderly"]}, [1, 2, 4, 5, 7]),
        ({"sum_of": "people + elderly"}, [1, 2, 4, 5, 7]),
        ({"sum_of": "a + b"}, [1, 1, 1, 1, 1]),
        ({"sum_of": "holes", "where": "age != 20"}, [1, 0, 3, 4, 5]),
    ],
)
def test_a_target_sums_or_counts_what_it_says(target: dict[str, object], row: list[float]) -> None:
    assert problem(**target).matrix.toarray().tolist() == [row]


def test_float32_is_kept_only_where_it_is_exact() -> None:
    assert problem(sum_of=["people", "elderly"]).matrix.dtype == np.float32
    assert problem(sum_of="wages").matrix.dtype == np.float64
    wide, narrow = Target("w", 1.0, sum_of="wages"), Target("p", 1.0, count_of="people")
    for both in ([wide, narrow], [narrow, wide]):
        assert CalibrationProblem.from_microdata(FRAME, both, weight="initial_weight").matrix.dtype == np.float64


def test_ids_weights_and_information_come_along() -> None:
    targets = [
        Target("a", 1, count_of="*", weight=3.0, tolerance=0.1),
        Target("b", 2.0, sum_of="wages", where="state == 'CA'"),
    ]
    built = CalibrationProblem.from_microdata(FRAME, targets)
    assert built.record_ids.tolist() == [7, 8, 9, 10, 11]
    assert built.initial_weights.tolist() == [1, 2, 3, 4, 5]
    assert built.loss_weights.tolist() == [1.5, 0.5]
    assert built.tolerances.tolist() == [0.1, 0.0]
    assert built.record_info is not None
    assert "state" in built.record_info.columns
    assert not {"record_id", "initial_weight"} & set(built.record_info.columns)
    assert CalibrationProblem.from_microdata(FRAME, targets, weight=None).initial_weights.tolist() == [1] * 5


def test_a_table_declares_the_same_targets() -> None:
    table = pd.DataFrame(
        {
            "name": ["a", "b"],
            "value": [1.0, 2.0],
            "sum_of": [None, "people + elderly"],
            "count_of": ["*", ""],
            "where": ["", "state == 'CA'"],
            "geography": ["US", "CA"],
        }
    )
    built = CalibrationProblem.from_microdata(FRAME, table)
    assert built.matrix.toarray().tolist() == [[1, 1, 1, 1, 1], [1, 0, 4, 0, 0]]
    assert built.target_info is not None
    assert built.target_info["geography"].tolist() == ["US", "CA"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"sum_of": "wage"}, "target 't': the microdata have no column 'wage'; did you mean 'wages'"),
        ({"sum_of": "state"}, "target 't': column 'state'"),
        ({"count_of": "state"}, "target 't': column 'state'"),
        ({"sum_of": "holes"}, "target 't': holes is missing or infinite in row 1"),
        ({"count_of": "holes"}, "target 't': holes is missing or infinite in row 1 of the microdata"),
        ({"sum_of": "worse"}, "target 't': worse is missing or infinite in row 0 (and 2 more) of the microdata"),
        ({"sum_of": "text"}, "target 't': column 'text' of dtype"),
        ({"sum_of": "text"}, "cannot be summed or counted: it holds numbers as text; convert it to numbers"),
        (
            {"count_of": "*", "where": "day == '2024-01-01'"},
            "make a column of one of them (of a date its year, or text)",
        ),
        ({"count_of": "*", "where": "agee > 1"}, "target 't': there is no column 'agee'"),
        ({"count_of": "*", "where": "state == QQ"}, "no column 'QQ'; there are: "),
        ({"count_of": "*", "where": "state == QQ"}, "; if a text is meant, write it in quotes: 'QQ'\n"),
    ],
)
def test_microdata_that_do_not_fit_are_refused(target: dict[str, object], message: str) -> None:
    frame = FRAME.assign(worse=[np.nan, 1.0, np.nan, np.inf, 2.0], text=list("12345"), day=pd.Timestamp("2024-01-01"))
    with pytest.raises(InputError, match=re.escape(message)):
        CalibrationProblem.from_microdata(frame, [Target("t", 1.0, **target)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one of sum_of and count_of"),
        ({"sum_of": "wages", "count_of": "*"}, "one of sum_of and count_of"),
        ({"sum_of": "*"}, "count_of='*'"),
        ({"sum_of": []}, "sum_of must"),
        ({"count_of": "*", "where": "a ="}, "found the end|understood|=="),
        ({"count_of": "*", "tolerance": -1}, "tolerance must not be negative"),
        ({"count_of": "*", "weight": float("nan")}, "weight must be"),
        ({"count_of": "*", "entity": 3}, "entity must be the name of a table of members, got 3"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Target("wages/CA", 1.0, **settings)  # type: ignore[arg-type]
    assert "'wages/CA'" in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", None, 7])
def test_a_target_has_a_name(name: object) -> None:
    with pytest.raises(InputError, match="a target needs a name of its own"):
        Target(name, 1.0, count_of="*")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", None])
def test_the_value_of_a_target_is_a_finite_number(value: object) -> None:
    with pytest.raises(InputError, match="value must be"):
        Target("t", value, count_of="*")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CalibrationProblem.from_microdata(FRAME, []), "no targets"),
        (lambda: CalibrationProblem.from_microdata(FRAME, ["t"]), "Target objects"),
        (lambda: CalibrationProblem.from_microdata(FRAME, pd.DataFrame({"name": ["a"]})), "no column 'value'"),
        (lambda: CalibrationProblem.from_microdata(FRAME, pd.DataFrame({"name": ["a"], "value": [1]})), "sum_of"),
        (
            lambda: CalibrationProblem.from_microdata(FRAME.iloc[:0], [Target("t", 1, count_of="*")]),
            "there are no records",
        ),
        (
            lambda: CalibrationProblem.from_microdata(FRAME, [Target("t", 1, count_of="*")], weight="w"),
            "no column 'w'; give the right one as weight",
        ),
    ],
)
def test_calls_that_cannot_be_meant_are_refused(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]


def _same(left: CalibrationProblem, right: CalibrationProblem) -> bool:
    return left.matrix.dtype == right.matrix.dtype and left.digest == right.digest


def test_the_bundled_microdata_give_the_bundled_matrix() -> None:
    built = CalibrationProblem.load_microdata(BUNDLED / "microdata.parquet", BUNDLED / "targets_declared.csv")
    given_ = CalibrationProblem.load(BUNDLED)
    assert built.matrix.dtype == np.float32
    assert np.array_equal(built.matrix.data, given_.matrix.data)
    assert np.array_equal(built.matrix.indices, given_.matrix.indices)
    assert np.array_equal(built.matrix.indptr, given_.matrix.indptr)
    assert _same(built, given_)


def _declared(name: str, value: float) -> Target:
    """A target of the state problem in the words of its microdata (the rule is that of the data's README)."""
    _, variable, unit, geography, income = name.split("/")
    where = ["filer"]
    if geography != "US":
        where.append(f"state == '{geography}'")
    if income != "all":
        where.append(f"agi_class == {income.removeprefix('agi')}")
    if variable in ("single", "joint", "head"):
        where.append(f"filing_status == '{variable}'")
    summed = unit == "usd" or variable in ("people", "elderly")
    counted = "*" if variable in ("returns", "single", "joint", "head") else variable
    return Target(
        name,
        value,
        sum_of=variable if summed else None,
        count_of=None if summed else counted,
        where=" and ".join(where),
    )


@pytest.mark.data
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is absent")
def test_the_microdata_of_the_states_give_their_matrix() -> None:
    given_ = CalibrationProblem.load(SHARED)
    targets = [_declared(name, value) for name, value in zip(given_.target_names, given_.targets, strict=True)]
    built = CalibrationProblem.from_microdata(pd.read_parquet(SHARED / "microdata.parquet"), targets)
    assert _same(built, given_)


@pytest.mark.parametrize(
    ("values", "text", "rows"),
    [
        (pd.Categorical([3, 1, 3]), "x >= 2", [0, 2]),
        (pd.Categorical(["b", "a", "b"]), "x in ('b',)", [0, 2]),
        (pd.Categorical([True, False, True]), "x", [0, 2]),
        (pd.array([3, 1, 3], dtype="Int32"), "x == 3", [0, 2]),
        (pd.array([True, False, True], dtype="boolean"), "not x", [1]),
        (pd.array(["b", "a", "b"], dtype="string"), "x != 'b'", [1]),
        (np.array([2**53, 2**53 + 1, 2**53]), f"x == {2**53 + 1}", [1]),  # not through float64
    ],
    ids=["categories of numbers", "of text", "of truth", "nullable", "nullable truth", "text", "long ids"],
)
def test_columns_of_every_dtype(values: object, text: str, rows: list[int]) -> None:
    frame = pd.DataFrame({"x": values})
    assert np.flatnonzero(Evaluator(frame).mask(parse_condition(text))).tolist() == rows


def test_targets_can_be_copied_and_described_by_any_word() -> None:
    table = pd.DataFrame({"name": ["a"], "value": [1.0], "count_of": ["*"], "self": ["x"], "info": [2]})
    info = CalibrationProblem.from_microdata(FRAME, table).target_info
    assert info is not None
    assert info.to_dict("list") == {"self": ["x"], "info": [2]}
    target = Target("a", 1.0, sum_of="wages", where="filer", geography="CA")
    again = pickle.loads(pickle.dumps(target))
    assert (again.name, again.sum_of, again.where, again.info) == ("a", ("wages",), "filer", {"geography": "CA"})
    assert again.condition == target.condition


@pytest.mark.parametrize(
    ("written", "meant"),
    [("were", "where"), ("Where", "where"), ("weights", "weight"), ("tolerence", "tolerance"), ("sumof", "sum_of")],
)
def test_a_field_that_is_misspelt_is_not_taken_for_a_description(written: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"target 't': '{written}' is no field: did you mean '{meant}'"):
        Target("t", 1, count_of="*", **{written: 1})
    table = pd.DataFrame({"name": ["t"], "value": [1.0], "count_of": ["*"], written: [0.5]})
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        CalibrationProblem.from_microdata(FRAME, table)


def test_what_only_describes_a_target_may_be_named_freely() -> None:
    info = {"source": "soi", "geo": "CA", "variable": "x", "height": 1, "filter": "a", "priority": 2, "counts": 3}
    assert Target("t", 1, count_of="*", **info).info == info


def test_ids_may_be_the_index() -> None:
    """Text and the name asked for are ids; row numbers, such as those that a filter leaves, are none."""
    target = [Target("t", 1, count_of="*")]
    bare = FRAME.drop(columns="record_id")

    def ids(frame: pd.DataFrame, record_id: str | None = None) -> list[object]:
        return CalibrationProblem.from_microdata(frame, target, record_id=record_id).record_ids.tolist()

    text = pd.Index(["007", "8", "9", "x", "y"], name="household")
    assert ids(bare.set_index(text)) == text.tolist()
    assert ids(bare.set_index(text), "household") == text.tolist()
    assert ids(FRAME.set_index("record_id")) == [7, 8, 9, 10, 11]
    assert ids(FRAME.set_index(text)) == [7, 8, 9, 10, 11]  # the column comes first
    assert ids(bare[bare["age"] > 20]) == [0, 1, 2]
    with pytest.raises(InputError, match="no column 'person'"):
        ids(bare.set_index(text), "person")


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_tables_of_other_libraries_are_taken(library: str) -> None:
    made = pytest.importorskip(library)

    def table(frame: pd.DataFrame) -> object:
        return made.Table.from_pandas(frame) if library == "pyarrow" else made.from_pandas(frame)

    targets = pd.DataFrame(
        {"name": ["a", "b"], "value": [1.0, 2.0], "count_of": ["*", "wages"], "where": ["filer", None]}
    )
    ours, theirs = (
        CalibrationProblem.from_microdata(kind(FRAME.drop(columns="holes")), kind(targets), members={"person": kind(FRAME)})
        for kind in (lambda frame: frame, table)
    )  # fmt: skip
    assert theirs.digest == ours.digest
    assert theirs.record_ids.tolist() == ours.record_ids.tolist()
    assert theirs.record_info is not None
    assert list(theirs.record_info.columns) == list(ours.record_info.columns)  # type: ignore[union-attr]
    numbers = pd.DataFrame({"r1": [1.0, 0.0], "r2": [2.0, 3.0]})
    matrices = [CalibrationProblem(kind, [1.0, 2.0]) for kind in (numbers, table(numbers))]
    assert (matrices[0].matrix != matrices[1].matrix).nnz == 0
    assert matrices[1].record_ids.tolist() == ["r1", "r2"]

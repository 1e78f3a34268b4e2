"""Classical estimators on whole problems: weights, replicates, standard errors, the command line."""

from __future__ import annotations

import json
from types import SimpleNamespace

import attrs
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, calibrate, survey_calibrate
from l0_calibrate.cli.app import app
from l0_calibrate.memory import physical_memory
from l0_calibrate.replicates import calibrate_replicates
from l0_calibrate.result.column_totals import column_totals
from l0_calibrate.result.replicates import Replicates
from l0_calibrate.survey import (
    CalibrationNotConverged,
    ConflictingTotals,
    calibrate_survey,
    estimator,
    exactness,
    sample,
    tightest_bounds,
)
from l0_calibrate.survey.newton import Search
from l0_core import InputError

N = 30


def problem(**changes) -> CalibrationProblem:
    rng = np.random.default_rng(5)
    young = rng.random(N) < 0.4
    matrix = np.vstack([np.ones(N), young, rng.gamma(2.0, 10.0, N)])
    design = rng.uniform(5, 20, N)
    info = pd.DataFrame({"size": rng.uniform(1, 4, N), "rent": rng.gamma(3.0, 100.0, N)})
    given = {
        "initial_weights": design,
        "target_names": ["people", "young", "income"],
        "record_ids": [f"h{i}" for i in range(N)],
        "record_info": info,
    }
    return CalibrationProblem(matrix, matrix @ design * [1.0, 1.2, 0.9], **(given | changes))


@pytest.fixture
def folder(tmp_path):
    problem().save(tmp_path / "problem")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)


@pytest.mark.parametrize(("method", "bounds"), [("linear", None), ("raking", (0.5, 3.0)), ("logit", (0.2, 4.0))])
@pytest.mark.parametrize("q", [None, "size"])
def test_weights_and_replicates_are_those_of_the_function(method, bounds, q):
    asked = problem()
    again = np.random.default_rng(1).uniform(0.8, 1.25, (N, 2)) * asked.initial_weights[:, None]
    events = []
    result = calibrate_survey(
        asked,
        method,
        bounds,
        q=q,
        replicate_weights=np.column_stack([asked.initial_weights, again]),
        watch=events.append,
    )
    assert [event.domain for event in events] == [f"replicate {r} of 3" for r in (1, 2, 3)]
    assert [event.fraction for event in events] == pytest.approx([1 / 3, 2 / 3, 1.0])
    factor = None if q is None else asked.record_info[q]
    for weights, design in (
        (result.weights, asked.initial_weights),
        (result.replicates[:, 1], again[:, 0]),
        (result.replicates[:, 2], again[:, 1]),
    ):
        expected = survey_calibrate(design, asked.matrix.T, asked.targets, method, bounds, factor)
        np.testing.assert_array_equal(weights, expected)
    np.testing.assert_array_equal(result.replicates[:, 0], result.weights)
    assert result.replicate_names == ("replicate_1", "replicate_2", "replicate_3")
    assert result.diagnostics.worst_error < 1e-9
    assert result.g_weights.max() == result.max_ratio


def test_a_replicate_that_stops_short_is_named(monkeypatch):
    asked, fits = problem(), []

    def stopping(*arguments):
        fits.append(estimator_nearest(*arguments))
        if len(fits) == 3:
            raise CalibrationNotConverged("it stopped", np.array([0.0, 0.5, 0.0]))
        return fits[-1]

    estimator_nearest = estimator.nearest
    monkeypatch.setattr(estimator, "nearest", stopping)
    replicates = pd.DataFrame({"first": asked.initial_weights, "second": asked.initial_weights})
    with pytest.raises(CalibrationNotConverged, match=r"second.*: it stopped") as fault:
        calibrate_survey(asked, replicate_weights=replicates)
    assert fault.value.misses.tolist() == [0.0, 0.5, 0.0]


def test_standard_errors_of_a_jackknife_are_those_of_a_mean():
    """Leaving out one record at a time and calibrating to their number: the textbook's ``N s / sqrt(n)``."""
    rng = np.random.default_rng(3)
    y = rng.gamma(2.0, 50.0, N)
    asked = CalibrationProblem(np.ones((1, N)), [900.0], initial_weights=np.full(N, 2.0))
    left_out = np.where(np.eye(N, dtype=bool), 0.0, 2.0)
    result = calibrate_survey(asked, replicate_weights=left_out)
    table = result.column_totals(pd.DataFrame({"y": y}), replicate_scale=(N - 1) / N)
    assert table["after"].iloc[0] == pytest.approx(900.0 * y.mean())
    assert table["standard_error"].iloc[0] == pytest.approx(900.0 * y.std(ddof=1) / np.sqrt(N))
    assert "standard_error" not in result.column_totals(pd.DataFrame({"y": y}))


def test_replicates_and_their_scale_are_checked():
    asked = problem()
    result = calibrate_survey(asked)
    with pytest.raises(InputError, match="no replicate weights"):
        result.column_totals(replicate_scale=0.1)
    with pytest.raises(InputError, match="positive and finite, got 0"):
        Replicates(np.ones((N, 2)), 0.0)
    with pytest.raises(InputError, match="shape"):
        column_totals(asked, result.weights, None, Replicates(np.ones((N - 1, 2)), 0.5))
    none = np.where(asked.matrix.toarray()[1] > 0, 0.0, 5.0)
    with pytest.raises(ConflictingTotals, match=r"^replicate 2 \('b'\): no weights meet 'young'") as conflict:
        calibrate_survey(asked, replicate_weights=pd.DataFrame({"a": asked.initial_weights, "b": none}))
    assert conflict.value.columns == ("young",)
    fighting = CalibrationProblem([[1.0, 1.0], [1.0, 1.0]], [2.0, 3.0])
    with pytest.raises(InputError, match="replicate weights must have shape"):  # at the door, before the totals are
        calibrate_survey(fighting, replicate_weights=np.ones((3, 2)))
    with pytest.raises(InputError, match="no column 'sise'"):
        calibrate_survey(asked, q="sise")


def test_what_has_no_part_in_it_is_told():
    plain, odd = problem(), problem(tolerances=[0.0, 0.1, 0.0], loss_weights=[1.0, 2.0, 1.0])
    assert calibrate_survey(plain).notes == ()
    tolerances, counts = calibrate_survey(odd).notes
    assert "tolerances" in tolerances
    assert "how much each target counts" in counts
    np.testing.assert_array_equal(calibrate_survey(odd).weights, calibrate_survey(plain).weights)
    far = CalibrationProblem([[1.0, 1.0], [0.0, 1.0]], [2.0, 3.0])
    assert calibrate_survey(far).weights.tolist() == pytest.approx([-1.0, 3.0])
    assert calibrate_survey(far).notes[0].startswith("1 weight is negative (0)")
    assert calibrate_survey(far).small_file()["weight"].tolist() == pytest.approx([-1.0, 3.0])


def test_exactness_says_by_which_bounds_or_what_fights():
    asked = problem()
    found = exactness(asked)
    lower, upper = tightest_bounds(asked.initial_weights, asked.matrix.T, asked.targets)
    assert (found.code, found.severity) == ("exact", "info")
    assert f"between {lower:.4g} and {upper:.4g}" in found.message
    calibrate_survey(asked, "linear", (lower - 1e-6, upper + 1e-6))
    with pytest.raises(ConflictingTotals):
        calibrate_survey(asked, "linear", (lower + 1e-3, upper - 1e-3))
    fought = exactness(CalibrationProblem([[1.0, 1.0], [1.0, 1.0]], [2.0, 3.0], target_names=["a", "b"]))
    assert (fought.code, fought.severity, fought.names) == ("not_exact", "warning", ("a", "b"))


def test_the_command_writes_what_the_function_finds(folder):
    asked = problem()
    pd.DataFrame({"record_id": asked.record_ids[::-1], "r1": asked.initial_weights[::-1]}).to_csv(
        folder / "replicates.csv", index=False
    )
    done = run(
        "survey", folder / "problem", "--method", "logit", "--lower", 0.2, "--upper", 4, "--q", "size",
        "--replicates", folder / "replicates.csv", "--out", folder / "run",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "method: logit, g-weights from" in done.output
    assert "exact" in done.output
    expected = calibrate_survey(asked, "logit", (0.2, 4.0), q="size").weights
    weights = pd.read_parquet(folder / "run" / "weights.parquet")
    np.testing.assert_array_equal(weights["weight"], expected)
    assert weights["kept"].all()
    np.testing.assert_array_equal(pd.read_parquet(folder / "run" / "replicates.parquet")["r1"], expected)
    told = json.loads((folder / "run" / "result.json").read_text())
    assert told["options"] == {"method": "logit", "lower": 0.2, "upper": 4.0, "q": "size", "keep": None, "share": None}
    assert (told["status"], told["gap"], told["replicates"]) == ("exact", None, ["r1"])
    assert run("report", folder / "run").exit_code == 0
    assert "Every total is met exactly" in (folder / "run" / "report.html").read_text()
    scored = run("evaluate", folder / "run" / "weights.parquet", folder / "problem", "--json")
    assert json.loads(scored.output)["worst_error"] < 1e-9


def test_one_bound_alone_and_some_of_the_targets(folder):
    some = ("--only-targets", "name != 'income'", "--out", folder / "run", "--json")
    told = json.loads(run("survey", folder / "problem", "--upper", 1.5, *some).output)
    assert (told["targets"], told["options"]["lower"], told["options"]["upper"]) == (2, None, 1.5)
    told = json.loads(run("survey", folder / "problem", "--method", "raking", "--lower", 0.6, *some).output)
    assert (told["options"]["lower"], told["options"]["upper"]) == (0.6, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "rake"), "unknown method 'rake'"),
        (("--method", "logit"), "needs bounds (L, U) of the g-weights"),
        (("--lower", "1.2"), "L < 1 < U"),
        (("--upper", "1.01", "--lower", "0.99"), "no g-weights between 0.99 and 1.01 meet"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(folder, arguments, message):
    done = run("survey", folder / "problem", *arguments, "--out", folder / "run")
    assert done.exit_code != 0
    assert message in str(done.exception)
    assert not (folder / "run").exists()


def test_check_exactly_from_the_command_line(folder):
    plain = json.loads(run("check", folder / "problem", "--json").output)
    more = json.loads(run("check", folder / "problem", "--json", "--exactly").output)
    assert [finding["code"] for finding in more if finding not in plain] == ["exact"]


@pytest.mark.parametrize("fight", [False, True])
def test_what_a_time_limit_cuts_off_is_not_decided(fight: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is that of every linear programme, and one that ends by it says nothing of the totals."""
    asked = problem()
    if fight:
        asked = attrs.evolve(asked, targets=asked.targets * [1.0, 9.0, 1.0])  # more of the young than people
        assert exactness(asked, 60.0).code == "not_exact"
    limits = []

    def cut_off(*_args, options, **_kwargs):
        limits.append(options["time_limit"])
        return SimpleNamespace(status=1)

    assert exactness(asked, 1e-9).message.endswith("not decided within 1e-09 s")
    monkeypatch.setattr(scipy.optimize, "linprog", cut_off)
    finding = exactness(asked, 60.0)
    assert (finding.code, finding.severity) == ("exactness_unknown", "warning")
    assert finding.message.endswith("not decided within 60 s")
    assert len(limits) == 1
    assert 0.0 < limits[0] < 60.0
    with pytest.raises(InputError, match="seconds must be a positive number, got 0"):
        exactness(asked, 0)


def test_check_exactly_shows_that_it_is_at_work_and_keeps_to_its_limit(folder):
    timed = run("check", folder / "problem", "--exactly", "--time-limit", 1e-9)
    assert "whether all targets can be met exactly ..." in timed.stderr
    assert "decided within 1e-09 s" in timed.stdout
    assert not run("check", folder / "problem", "--exactly", "--json").stderr
    assert "--time-limit is for --exactly" in str(run("check", folder / "problem", "--time-limit", 1).exception)


def test_standard_errors_from_the_command_line(folder):
    asked = problem()
    again = np.random.default_rng(1).uniform(0.5, 1.5, (N, 4)) * asked.initial_weights[:, None]
    pd.DataFrame(again, columns=list("abcd")).assign(record_id=asked.record_ids).to_parquet(folder / "r.parquet")
    asked.record_info.assign(record_id=asked.record_ids).to_csv(folder / "columns.csv", index=False)
    run("survey", folder / "problem", "--replicates", folder / "r.parquet", "--out", folder / "run")
    score = ("evaluate", folder / "run" / "weights.parquet", folder / "problem")
    columns = ("--columns", folder / "columns.csv")
    replicates = ("--replicates", folder / "run" / "replicates.parquet")
    told = json.loads(run(*score, *columns, *replicates, "--replicate-scale", 0.25, "--json").output)
    result = calibrate_survey(asked, replicate_weights=again)
    rent = asked.record_info["rent"].to_numpy()
    expected = np.sqrt(0.25 * ((rent @ result.replicates - rent @ result.weights) ** 2).sum())
    assert told["columns"][1]["standard_error"] == pytest.approx(expected)
    assert "standard error" in run(*score, *columns, *replicates, "--replicate-scale", 0.25).output
    for arguments in ((*columns, *replicates), (*columns, "--replicate-scale", 0.25)):
        assert "go together" in str(run(*score, *arguments).exception)
    assert "give both" in str(run(*score, *replicates, "--replicate-scale", 0.25).exception)


def test_standard_errors_of_weights_that_may_be_negative(folder):
    """GREG gives negative weights to replicates too; its standard errors are theirs."""
    asked = CalibrationProblem(
        [[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]], [30.0, 55.0], initial_weights=[10.0, 10.0, 10.0], record_ids=["a", "b", "c"]
    )
    again = np.array([[10.0, 12.0], [12.0, 10.0], [8.0, 9.0]])
    result = calibrate_survey(asked, replicate_weights=pd.DataFrame(again, columns=["r1", "r2"]))
    assert result.replicates.min() < 0
    rent = np.array([1.0, 5.0, 2.0])
    expected = np.sqrt(0.5 * ((rent @ result.replicates - rent @ result.weights) ** 2).sum())
    table = result.column_totals(pd.DataFrame({"rent": rent}), replicate_scale=0.5)
    assert table["standard_error"].iloc[0] == pytest.approx(expected, rel=1e-12)
    asked.save(folder / "asked")
    run_files = result.save(folder / "greg")
    pd.DataFrame({"record_id": list("abc"), "rent": rent}).to_csv(folder / "rent.csv", index=False)
    score = ("evaluate", run_files[0], folder / "asked", "--columns", folder / "rent.csv", "--replicate-scale", 0.5)
    told = json.loads(run(*score, "--replicates", run_files[3], "--json").output)
    assert told["columns"][0]["standard_error"] == pytest.approx(expected, rel=1e-12)
    refused = run("survey", folder / "asked", "--replicates", run_files[3], "--out", folder / "again")
    assert "replicate 1 ('r1') of record a is -" in str(refused.exception)


def test_arrays_are_for_survey_calibrate():
    with pytest.raises(InputError, match="takes a CalibrationProblem, got ndarray; survey_calibrate takes arrays"):
        calibrate_survey(np.ones(3))


def test_no_replicates_have_no_standard_error():
    asked = problem()
    with pytest.raises(InputError, match="at least one column"):
        column_totals(asked, asked.initial_weights, None, Replicates(np.ones((N, 0)), 0.5))


def test_messages_name_records_and_replicates_as_the_problem_does():
    asked = problem(record_ids=1000 + np.arange(N), record_info=pd.DataFrame({"q": [1.0] * (N - 1) + [0.0]}))
    with pytest.raises(InputError, match=r"record 1029 has 0$"):
        calibrate_survey(asked, q="q")
    with pytest.raises(InputError, match=r"record 1029 has inf$"):
        calibrate_survey(asked, q=np.r_[np.ones(N - 1), np.inf])
    with pytest.raises(InputError, match=r"^replicate 2 \('b'\): all design weights are 0"):
        calibrate_survey(asked, replicate_weights=pd.DataFrame({"a": asked.initial_weights, "b": np.zeros(N)}))


def test_a_series_of_q_has_the_records_in_their_order():
    asked = problem()
    size = pd.Series(asked.record_info["size"].to_numpy(), index=asked.record_ids)
    np.testing.assert_array_equal(calibrate_survey(asked, q=size).weights, calibrate_survey(asked, q="size").weights)
    with pytest.raises(InputError, match="order"):
        calibrate_survey(asked, q=size[::-1])


def test_check_goes_on_where_rounding_hides_whether_totals_can_be_met(folder):
    CalibrationProblem([[1.0, 1.0], [1.0, 1.0]], [2.0, 2.0 * (1 + 3e-8)]).save(folder / "near")
    done = run("check", folder / "near", "--json", "--exactly")
    assert "exactness_unknown" in [finding["code"] for finding in json.loads(done.output)]


def test_totals_that_rounding_keeps_from_being_met_are_a_fault_of_the_input(folder):
    CalibrationProblem([[1.0, 1.0], [1.0, 1.0]], [2.0, 2.0 * (1 + 3e-8)]).save(folder / "near")
    done = run("survey", folder / "near", "--out", folder / "run")
    assert isinstance(done.exception, InputError)
    assert "totals nearly repeat one another" in str(done.exception)
    assert "bounds" not in str(done.exception)
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("method", "bounds", "has_bounds"),
    [("linear", None, False), ("raking", None, False), ("linear", (0.0, np.inf), True), ("raking", (0.0, 3.0), True)],
)
def test_bounds_that_nobody_set_are_not_to_be_widened(method, bounds, has_bounds):
    fought = CalibrationProblem([[1.0, 1.0], [1.0, 1.0]], [2.0, 3.0])
    with pytest.raises(ConflictingTotals) as conflict:
        calibrate_survey(fought, method, bounds)
    assert ("widen the bounds" in str(conflict.value)) is has_bounds


@pytest.mark.parametrize("scale", [float("nan"), -1, np.inf])
def test_the_scale_is_positive_and_finite(scale):
    with pytest.raises(InputError, match="a number, positive and finite, got"):
        Replicates(np.ones((N, 2)), scale)


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        ("1/4", "a number, or one a replicate, got '1/4'"),
        (True, "a number, or one a replicate, got True"),
        (None, "a number, or one a replicate, got None"),
        ([[0.5, 0.5]], "a number, or one a replicate"),
        ([0.5, -0.5], r"scale of replicate 2 must be finite and not negative, got -0\.5"),
        (pd.Series([0.5, np.nan], index=["a", "b"]), r"scale of replicate 2 \('b'\) must be finite"),
        ([0.0, 0.0], "all scales of replicates are 0"),
        (["a", "b"], "scales of replicates must be real numbers"),
    ],
)
def test_scales_that_make_no_variance_are_refused(scale, says):
    with pytest.raises(InputError, match=says):
        Replicates(np.ones((N, 2)), scale)


def stratified():
    """A jackknife within two strata: each record left out once, the others of its stratum scaled up for it."""
    stratum = np.arange(N) % 3 == 0
    sizes = np.where(stratum, stratum.sum(), N - stratum.sum())
    same = stratum[:, None] == stratum[None, :]
    again = np.where(np.eye(N, dtype=bool), 0.0, np.where(same, 2.0 * sizes / (sizes - 1), 2.0))
    return stratum, pd.DataFrame(again, columns=[f"r{j}" for j in range(N)]), (sizes - 1) / sizes


def test_standard_errors_of_a_stratified_jackknife_are_the_textbooks():
    """Without calibration: the root of ``sum_h n_h s_h^2`` with weights of 2, twice over."""
    stratum, again, scales = stratified()
    y = np.random.default_rng(5).gamma(2.0, 50.0, N)
    asked = CalibrationProblem(np.ones((1, N)), [2.0 * N], initial_weights=np.full(N, 2.0))
    by_name = pd.Series(scales, index=again.columns).sample(frac=1.0, random_state=0)
    expected = 2.0 * np.sqrt(sum(part.size * part.var(ddof=1) for part in (y[stratum], y[~stratum])))
    for weights, scale in ((again, by_name), (again.to_numpy(), scales), (again, list(scales))):
        table = column_totals(asked, asked.initial_weights, pd.DataFrame({"y": y}), Replicates(weights, scale))
        assert table["standard_error"].iloc[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        ([0.5], "1 scales for 2 replicates"),
        (pd.Series([0.5, 0.5], index=["a", "c"]), r"no scale for 1 of 2 replicates: b"),
        (pd.Series([0.5] * 3, index=["a", "b", "c"]), r"scales for 1 replicates that there are not: c"),
        (pd.Series([0.5] * 3, index=["a", "b", "b"]), "'b' is given twice"),
    ],
)
def test_each_replicate_has_one_scale(scale, says):
    asked = problem()
    with pytest.raises(InputError, match=says):
        column_totals(
            asked, asked.initial_weights, None, Replicates(pd.DataFrame(np.ones((N, 2)), columns=["a", "b"]), scale)
        )


def test_scales_from_the_command_line(folder):
    asked, (_, again, scales) = problem(), stratified()
    result = calibrate_survey(asked, replicate_weights=again)
    expected = result.column_totals(replicate_scale=pd.Series(scales, index=again.columns))["standard_error"]
    result.save(folder / "run")
    asked.record_info.assign(hh=asked.record_ids).to_csv(folder / "columns.csv", index=False)
    table = pd.DataFrame({"replicate": again.columns, "scale": scales})
    table[::-1].to_csv(folder / "scales.csv", index=False)
    score = (
        "evaluate", folder / "run" / "weights.parquet", folder / "problem",
        "--columns", folder / "run" / "columns.parquet", "--replicates", folder / "run" / "replicates.parquet",
    )  # fmt: skip
    asked.record_info.assign(record_id=asked.record_ids).to_parquet(folder / "run" / "columns.parquet")
    told = json.loads(run(*score, "--replicate-scale", folder / "scales.csv", "--json").output)
    np.testing.assert_allclose([row["standard_error"] for row in told["columns"]], expected, rtol=1e-12)
    assert "a number, or a .csv or .parquet file" in str(run(*score, "--replicate-scale", "1/4").exception)
    table.rename(columns={"scale": "rscale"}).to_csv(folder / "other.csv", index=False)
    assert "no column 'scale'; did you mean 'rscale'?" in str(
        run(*score, "--replicate-scale", folder / "other.csv").exception
    )
    table.assign(scale=-1.0).to_csv(folder / "bad.csv", index=False)
    refused = str(run(*score, "--replicate-scale", folder / "bad.csv").exception)
    assert "bad.csv: the scale of replicate 1 ('r0') must be finite" in refused


def test_replicates_may_have_the_ids_of_the_microdata_under_their_own_name(folder):
    """--record-id names the column of the ids in every file that comes with the microdata."""
    people = pd.DataFrame(
        {"hh": [11, 12, 13, 14], "initial_weight": [2.0, 3.0, 2.0, 3.0], "rent": [1.0, 2.0, 3.0, 4.0]}
    ).assign(one=1.0)
    people.to_csv(folder / "people.csv", index=False)
    targets = pd.DataFrame({"name": ["all", "rent"], "value": [11.0, 28.0], "sum_of": ["one", "rent"]})
    targets.to_csv(folder / "wanted.csv", index=False)
    again = people[["hh"]].assign(a=[2.0, 2.0, 3.0, 3.0], b=[3.0, 2.0, 2.0, 3.0])
    again[::-1].to_csv(folder / "again.csv", index=False)
    source = ("--microdata", folder / "people.csv", "--targets", folder / "wanted.csv", "--record-id", "hh")
    done = run("survey", *source, "--replicates", folder / "again.csv", "--out", folder / "run")
    assert done.exit_code == 0, done.exception
    kept = pd.read_parquet(folder / "run" / "replicates.parquet")
    expected = survey_calibrate(again["b"].to_numpy(), [[1.0, r] for r in people["rent"]], [11.0, 28.0])
    np.testing.assert_allclose(kept.set_index("record_id")["b"].to_numpy(), expected, rtol=1e-9)
    fitted = run("fit", *source, "--replicates", folder / "again.csv", "--out", folder / "fitted")
    assert fitted.exit_code == 0, fitted.exception
    columns = ("--columns", folder / "people.csv", "--replicates", folder / "again.csv", "--replicate-scale", 0.5)
    kept.rename(columns={"record_id": "hh"}).to_csv(folder / "again.csv", index=False)
    told = run("evaluate", folder / "run" / "weights.parquet", *source, *columns, "--json")
    assert told.exit_code == 0, told.exception
    again.rename(columns={"hh": "id"}).to_csv(folder / "again.csv", index=False)
    refused = run("survey", *source, "--replicates", folder / "again.csv", "--out", folder / "run2")
    assert "again.csv has no column 'hh'" in str(refused.exception)


@pytest.mark.parametrize("names", [["a", "a"], ["a", "record_id"]])
def test_replicates_that_no_file_could_keep_are_refused_before_any_is_calibrated(names):
    asked = problem()
    again = pd.DataFrame(np.tile(asked.initial_weights[:, None], 2), columns=names)
    with pytest.raises(InputError, match=f"names of their own.*{names[1]!r}"):
        calibrate_survey(asked, replicate_weights=again)


def test_a_total_far_below_its_entries_is_said_to_be_met_less_exactly():
    rng = np.random.default_rng(0)
    asked = CalibrationProblem(
        np.vstack([np.ones(N), rng.normal(size=N) * 1e12]), [300.0, 1.0], initial_weights=np.full(N, 10.0),
        target_names=["people", "balance"],
    )  # fmt: skip
    result = calibrate_survey(asked)
    assert result.diagnostics.worst_error > 1e-6
    assert any(
        note.startswith("1 total is met, but not to many digits") and "(balance)" in note for note in result.notes
    )


def test_columns_of_the_records_are_no_replicates(folder):
    """A survey file that carries its replicate weights among its columns: they are named, or it is refused."""
    people = pd.DataFrame(
        {"record_id": [1, 2, 3, 4], "initial_weight": [2.0, 3.0, 2.0, 3.0], "rent": [1.0, 2.0, 3.0, 4.0]}
    ).assign(repwt1=[2.0, 2.0, 3.0, 3.0], repwt2=[3.0, 2.0, 2.0, 3.0], one=1.0)
    people.to_csv(folder / "people.csv", index=False)
    targets = pd.DataFrame({"name": ["all", "rent"], "value": [11.0, 28.0], "sum_of": ["one", "rent"]})
    targets.to_csv(folder / "wanted.csv", index=False)
    source = ("--microdata", folder / "people.csv", "--targets", folder / "wanted.csv")
    again = ("--replicates", folder / "people.csv")
    for command in (("survey",), ("fit", "--keep", 3)):
        refused = run(*command, *source, *again, "--out", folder / "none")
        assert "has columns that the records have too (initial_weight, rent, repwt1" in str(refused.exception)
    done = run("survey", *source, *again, "--replicate-columns", "repwt*", "--out", folder / "run")
    assert done.exit_code == 0, done.exception
    kept = pd.read_parquet(folder / "run" / "replicates.parquet")
    assert list(kept.columns) == ["record_id", "repwt1", "repwt2"]
    expected = survey_calibrate(people["repwt2"].to_numpy(), people[["one", "rent"]].to_numpy(), [11.0, 28.0])
    np.testing.assert_allclose(kept["repwt2"], expected, rtol=1e-9)
    one = run("fit", *source, *again, "--replicate-columns", "repwt2,repwt1", "--out", folder / "one")
    assert one.exit_code == 0, one.exception
    assert list(pd.read_parquet(folder / "one" / "replicates.parquet").columns) == ["record_id", "repwt1", "repwt2"]
    missing = run("survey", *source, *again, "--replicate-columns", "repwt1,rep_wt*", "--out", folder / "none")
    assert "has no column 'rep_wt*'" in str(missing.exception)
    alone = run("survey", *source, "--replicate-columns", "repwt*", "--out", folder / "none")
    assert "give both" in str(alone.exception)
    assert not (folder / "none").exists()


def test_replicates_of_other_sums_than_the_weights_are_asked_about():
    asked = problem()
    again = pd.DataFrame({"a": 1.9 * asked.initial_weights, "age": 40.0 + np.zeros(N)})
    sums = again["age"].sum() / asked.initial_weights.sum()
    said = f"1 replicate adds up to something else than the initial weights do: age ({sums:.3g} times)"
    assert any(note.startswith(said) for note in calibrate_survey(asked, replicate_weights=again).notes)
    fitted = calibrate_replicates(calibrate(asked), again)
    assert any(note.startswith(said) for note in fitted.notes)
    assert not any("adds up" in note for note in calibrate_survey(asked, replicate_weights=again[["a"]]).notes)


def test_more_totals_than_the_memory_holds_are_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three arrays of 3 x 3 numbers are 216 bytes."""
    asked = problem()
    monkeypatch.setattr(sample, "physical_memory", lambda: 216)
    calibrate_survey(asked)
    assert exactness(asked).code == "exact"
    monkeypatch.setattr(sample, "physical_memory", lambda: 215)
    monkeypatch.setattr(Search, "of", lambda _problem: pytest.fail("work was begun"))
    for work in (
        lambda: calibrate_survey(asked),
        lambda: survey_calibrate(asked.initial_weights, asked.matrix.T, asked.targets),
        lambda: tightest_bounds(asked.initial_weights, asked.matrix.T, asked.targets),
    ):
        with pytest.raises(InputError, match=r"3 totals exactly takes 3 dense arrays .* fit the weights instead"):
            work()
    finding = exactness(asked)
    assert finding.code == "exactness_unknown"
    assert finding.remedy.startswith("fit the weights instead")
    monkeypatch.undo()
    monkeypatch.setattr(sample, "physical_memory", lambda: None)  # a system that does not tell
    calibrate_survey(asked)


def test_the_memory_of_this_machine_is_told() -> None:
    memory = physical_memory()
    assert memory is None or memory > 2**28

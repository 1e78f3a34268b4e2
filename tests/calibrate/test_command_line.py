"""What the command line adds to the library: options in groups, columns that flag records, what is shown where."""

from __future__ import annotations

import html
import json
import shlex
import sys

import numpy as np
import pandas as pd
import pytest

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.cli import display, main
from l0_calibrate.cli.app import app
from l0_calibrate.cli.display import progress
from l0_calibrate.cli.sources import Source
from l0_calibrate.result.diagnostics import share_text
from l0_calibrate.selectors.random import RandomSelector
from l0_calibrate.watch import Progress
from l0_core import InputError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(5)
    matrix = (rng.random((6, 80)) < 0.5) * rng.integers(1, 9, (6, 80)).astype(float)
    info = pd.DataFrame({"panel": np.arange(80) % 10 == 0, "frozen": (np.arange(80) % 7 == 3).astype(int)})
    info["half"] = np.where(np.isin(np.arange(80), [4, 9]), 0.5, 1.0)
    problem = CalibrationProblem(matrix, matrix @ np.full(80, 1.3), record_info=info)
    problem.save(tmp_path / "problem")
    return tmp_path


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["l0-calibrate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def test_columns_of_the_records_flag_what_is_kept_and_left_out(folder, monkeypatch, capsys):
    run = ("fit", folder / "problem", "--keep", 20, "--never-keep", "frozen", "--out", folder / "run", "--json")
    assert command(monkeypatch, *run, "--must-keep", "panel") == 2
    assert "1 of the 8 records that must be kept cannot be: 1 ruled out by never_keep (10)" in capsys.readouterr().err
    records = pd.read_parquet(folder / "problem" / "records.parquet")
    records.loc[records["frozen"] == 1, "panel"] = False
    records.to_parquet(folder / "problem" / "records.parquet")
    assert command(monkeypatch, *run, "--must-keep", "panel") == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 20
    kept = pd.read_parquet(folder / "run" / "weights.parquet")["kept"].to_numpy()
    assert kept[records["panel"]].all()
    assert not kept[records["frozen"] == 1].any()


@pytest.mark.parametrize(
    ("column", "says"),
    [("panels", "did you mean 'panel'"), ("half", "true/false or 1/0; record 4 has 0.5 (and 1 more have")],
)
def test_a_column_that_flags_nothing_is_refused(folder, monkeypatch, capsys, column, says):
    code = command(monkeypatch, "fit", folder / "problem", "--keep", 9, "--must-keep", column, "--out", folder / "run")
    assert code == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (folder / "run").exists()


def test_what_an_earlier_run_left_in_the_folder_is_named(folder, monkeypatch, capsys):
    run = ("fit", folder / "problem", "--keep", 20, "--out", folder / "run")
    assert command(monkeypatch, *run) == 0
    assert "earlier run" not in capsys.readouterr().out
    (folder / "run" / "report.html").write_text("of the first run")
    assert command(monkeypatch, *run, "--csv", "--small-file") == 0
    said, left = capsys.readouterr().out.replace("\n", "").split("of an earlier run, left as it is: ")
    assert "report.html" in left
    for name in ("weights.csv", "targets.csv", "small.csv"):
        assert name in said.split("written: ")[1]
        assert name not in left
    assert command(monkeypatch, *run) == 0
    left = capsys.readouterr().out.replace("\n", "").split("earlier run")[1]
    assert [name for name in ("weights.csv", "targets.csv", "small.csv", "weights.parquet") if name not in left] == [
        "weights.parquet"
    ]


def test_a_survey_calibration_as_text_too(folder, monkeypatch):
    problem, run = folder / "problem", folder / "run"
    assert command(monkeypatch, "survey", problem, "--method", "linear", "--out", run, "--csv") == 0
    table, text = pd.read_parquet(run / "weights.parquet"), pd.read_csv(run / "weights.csv")
    pd.testing.assert_frame_equal(text, table, check_exact=True)


def test_piped_progress_says_how_each_stage_went_and_ended(monkeypatch, capsys):
    """However long the stage before took: the seconds of an event begin anew with each."""
    clock = 1000.0
    monkeypatch.setattr(display.time, "monotonic", lambda: clock)

    def event(stage, fraction, seconds):
        return Progress(stage, 1, fraction, 0.5, None, 9, seconds)

    with progress(quiet=False) as watch:
        for stage, fraction, now, seconds in [
            ("select", 0.0, 0.0, 0.0), ("select", 0.4, 1.9, 1.9), ("select", 1.0, 1.95, 1.95),
            ("refit", 0.0, 1.98, 0.0), ("refit", 0.5, 2.4, 0.4), ("refit", 0.6, 2.5, 0.5), ("refit", 1.0, 2.6, 0.6),
        ]:  # fmt: skip
            clock = 1000.0 + now
            watch(event(stage, fraction, seconds))
    seen = [line.split()[:2] for line in capsys.readouterr().err.splitlines()]
    assert seen == [["select", "0"], ["select", "100"], ["refit", "50"], ["refit", "100"]]
    with progress(quiet=True) as watch:
        watch(event("fit", 0.0, 9.0))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", [command.name or command.callback.__name__ for command in app.registered_commands])
def test_every_command_helps_with_an_example(monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "200")
    assert command(monkeypatch, name, "--help") == 0
    shown = capsys.readouterr().out
    assert f"Example: l0-calibrate {name}" in shown
    assert "--json" in shown
    assert "--resume needs" not in shown


def test_an_option_of_two_commands_stands_under_the_heading_of_each(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    for name, heading in (("template", "The microdata"), ("fit", "The problem")):
        assert command(monkeypatch, name, "--help") == 0
        panels = capsys.readouterr().out.split("╭─ ")
        assert [panel.startswith(heading) for panel in panels if "--record-id" in panel] == [True]


def test_options_that_do_not_go_together_are_refused(folder, monkeypatch, capsys):
    fit = ("fit", folder / "problem", "--out", folder / "run")
    for extra in (("--resume",), ("--keep", 5, "--share", 0.5), ("--setting", "rounds"), ("--keep", 0)):
        assert command(monkeypatch, *fit, *extra) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_check_lists_totals_that_contradict_each_other(tmp_path, monkeypatch, capsys):
    half = np.repeat([1.0, 0.0], 40)
    names = ["persons", "women", "men"]
    CalibrationProblem([half + half[::-1], half, half[::-1]], [100, 60, 50], target_names=names).save(tmp_path / "p")
    assert command(monkeypatch, "check", tmp_path / "p") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Totals that contradict each other" in shown
    assert "women + men" in shown
    assert "rescale the parts by 0.909091" in shown
    assert command(monkeypatch, "check", tmp_path / "p", "--json") == 0
    found = {finding["code"]: finding for finding in json.loads(capsys.readouterr().out)}
    (entry,) = found["sums_disagree"]["disagreements"]
    assert (entry["whole"], entry["parts"], entry["difference"]) == ("persons", ["women", "men"], 10.0)


def test_check_bounds_ratios_as_fit_does_with_the_same_count(tmp_path, monkeypatch, capsys):
    """Of 80 records 20 are kept: each may have 4 x 2 times its initial weight."""
    CalibrationProblem(np.ones((1, 80)), [500.0], target_names=["persons"]).save(tmp_path / "p")
    for count, reached in (((), False), (("--keep", "20"), True), (("--share", "0.25"), True)):
        assert command(monkeypatch, "check", tmp_path / "p", "--max-weight-ratio", "2", *count, "--json") == 0
        codes = {finding["code"] for finding in json.loads(capsys.readouterr().out)}
        assert ("out_of_reach" not in codes) == reached
    for ratio, reached in (("6", True), ("7", False)):  # 80 records of at least so much
        assert command(monkeypatch, "check", tmp_path / "p", "--min-weight-ratio", ratio, "--json") == 0
        codes = {finding["code"] for finding in json.loads(capsys.readouterr().out)}
        assert ("out_of_reach" not in codes) == reached


def test_a_run_knows_how_it_was_asked_for_and_replicates_keep_their_names(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    matrix = rng.uniform(0.5, 2.0, (3, 60))
    problem = CalibrationProblem(matrix, matrix.sum(axis=1) * 1.05)
    problem.save(tmp_path / "p")
    frame = pd.DataFrame({"record_id": problem.record_ids, "rep_b": 1.0, "rep_a": rng.uniform(0.5, 1.5, 60)})
    frame.to_parquet(tmp_path / "reps.parquet")
    out = tmp_path / "run"
    asked = ("fit", tmp_path / "p", "--keep", "20", "--replicates", tmp_path / "reps.parquet", "--out", out)
    assert command(monkeypatch, *asked) == 0
    assert list(pd.read_parquet(out / "replicates.parquet").columns) == ["record_id", "rep_b", "rep_a"]
    result = json.loads((out / "result.json").read_text())
    assert result["replicates"] == ["rep_b", "rep_a"]
    assert result["command"] == [str(word) for word in asked]
    asked = ("fit", tmp_path / "p", "--only-targets", "name != 'x'", "--out", out)
    assert command(monkeypatch, *asked) == 0
    assert command(monkeypatch, "report", out) == 0
    assert shlex.join(str(word) for word in asked) in html.unescape((out / "report.html").read_text())
    del result["command"]  # as a run of an earlier version
    (out / "result.json").write_text(json.dumps(result))
    capsys.readouterr()
    assert command(monkeypatch, "report", out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(out / "report.html")}
    assert "<code>l0-calibrate " not in (out / "report.html").read_text()


def test_weights_are_checked_and_scored_on_the_targets_that_are_wanted(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    matrix = rng.uniform(0.5, 2.0, (3, 60))
    totals = np.append(matrix[:2].sum(axis=1), 1e6)
    CalibrationProblem(matrix, totals, target_names=["a", "b", "far"]).save(tmp_path / "p")
    fitted = ("fit", tmp_path / "p", "--exclude-targets", "name == 'far'", "--out", tmp_path / "run", "--quiet")
    assert command(monkeypatch, *fitted) == 0
    losses = []
    for rule in ((), ("--exclude-targets", "name == 'far'"), ("--only-targets", "name == 'far'")):
        assert command(monkeypatch, "evaluate", tmp_path / "run/weights.parquet", tmp_path / "p", "--json", *rule) == 0
        losses.append(json.loads(capsys.readouterr().out)["loss"])
        ratio = ("--max-weight-ratio", "3")
        assert command(monkeypatch, "check", tmp_path / "p", "--json", *ratio, *rule) == 0
        codes = {finding["code"] for finding in json.loads(capsys.readouterr().out)}
        assert ("out_of_reach" in codes) == (rule[:1] != ("--exclude-targets",))
    assert losses[1] < 0.01
    assert losses[2] > 0.9
    assert losses[0] == pytest.approx((2 * losses[1] + losses[2]) / 3)


def test_ids_of_microdata_are_called_as_asked(tmp_path, monkeypatch, capsys):
    households = pd.DataFrame({"household": ["007", "08", "9"], "w": 2.0, "county": ["06037", "06037", "36061"]})
    households.to_csv(tmp_path / "m.csv", index=False)
    totals = pd.DataFrame({"name": ["la"], "value": [6.0], "count_of": ["*"], "where": ["county == '06037'"]})
    totals.assign(filter="x").to_csv(tmp_path / "t.csv", index=False)
    source = ("--microdata", tmp_path / "m.csv", "--targets", tmp_path / "t.csv", "--weight", "w")
    named = (*source, "--record-id", "household")
    assert command(monkeypatch, "fit", *named, "--out", tmp_path / "run", "--quiet") == 0
    weights = pd.read_parquet(tmp_path / "run" / "weights.parquet")
    assert households.merge(weights, left_on="household", right_on="record_id").shape[0] == 3
    assert command(monkeypatch, "check", *named) == 0
    assert "columns that describe the targets, and say nothing else: filter" in capsys.readouterr().out
    assert command(monkeypatch, "fit", *source, "--record-id", "hausehold", "--out", tmp_path / "x") == 2
    assert "did you mean 'household'" in capsys.readouterr().err


def test_ids_of_a_problem_are_its_own(folder, monkeypatch, capsys):
    assert command(monkeypatch, "check", folder / "problem", "--record-id", "household") == 2
    assert "--record-id names a column of --microdata" in capsys.readouterr().err


def test_a_problem_in_separate_files_is_the_one_in_a_folder(folder):
    whole = folder / "problem"
    (targets,) = whole.glob("targets.*")
    parts = {"matrix": whole / "matrix.npz", "targets": targets, "records": whole / "records.parquet"}
    assert Source(**parts).load().digest == Source(whole).load().digest
    for left_out in parts:
        with pytest.raises(InputError, match="no problem given: name a folder, or"):
            Source(**{name: path for name, path in parts.items() if name != left_out}).load()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no problem given: name a folder, or"),
        ({"problem": "p", "matrix": "m"}, "a PROBLEM folder or --matrix/--targets/--records, not both"),
        ({"problem": "p", "targets": "t"}, "a PROBLEM folder or --matrix/--targets/--records, not both"),
        ({"problem": "p", "records": "r"}, "a PROBLEM folder or --matrix/--targets/--records, not both"),
        ({"problem": "p", "weight": "w"}, "--weight names a column of --microdata"),
        ({"problem": "p", "members": ["person=f.csv"]}, "--members go with --microdata"),
        ({"microdata": "f"}, "--microdata FILE goes with --targets FILE and with nothing else"),
        ({"microdata": "f", "targets": "t", "problem": "p"}, "goes with --targets FILE and with nothing else"),
        ({"microdata": "f", "targets": "t", "matrix": "m"}, "goes with --targets FILE and with nothing else"),
        ({"microdata": "f", "targets": "t", "records": "r"}, "goes with --targets FILE and with nothing else"),
    ],
)
def test_what_names_no_problem_or_two_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        Source(**given).load()


def test_domains_are_named_while_they_run_and_their_notes_do_not_flood(tmp_path, monkeypatch, capsys):
    """Each of twenty states keeps too few records for its targets, and notes what bounds it."""
    rng = np.random.default_rng(8)
    states = np.repeat([f"S{k:02d}" for k in range(20)], 12)
    rows = np.vstack([(states == state) * rng.gamma(2.0, 9.0, 240) for state in np.unique(states) for _ in range(6)])
    info = pd.DataFrame({"state": states})
    CalibrationProblem(rows, rows @ rng.uniform(1, 2, 240), record_info=info).save(tmp_path / "p")
    fit = ("fit", tmp_path / "p", "--keep", 60, "--by", "state", "--max-weight-ratio", 5, "--out", tmp_path / "run")
    clock = iter(range(10**6))
    monkeypatch.setattr(display.time, "monotonic", lambda: 0.001 * next(clock))
    assert command(monkeypatch, *fit) == 0
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert lines[-1].endswith("  state S19, 20 of 20")
    assert len(lines) < 20
    notes = [line for line in shown.out.splitlines() if line.startswith("note: ")]
    told = json.loads((tmp_path / "run" / "result.json").read_text())["notes"]
    assert notes[-1] == f"note: {len(told) - 10} more notes are in result.json"
    assert len(notes) == 11
    assert len(told) >= 20


def test_a_share_is_all_or_nothing_only_where_it_is():
    assert [share_text(share) for share in (1.0, 1999 / 2000, 0.99949, 0.0, 1e-9, 0.5)] == [
        "100.0 %", "99.9 %", "99.9 %", "0.0 %", "0.1 %", "50.0 %",
    ]  # fmt: skip
    assert [share_text(share, 0) for share in (1.0, 0.999, 0.001)] == ["100 %", "99 %", "1 %"]
    assert share_text(float("nan")) == "-"


def test_who_interrupts_is_told_what_is_left(folder, monkeypatch, capsys):
    """The selection is on disk once it is made, and the run is cut off after it."""
    fit = ("fit", folder / "problem", "--keep", 20, "--out", folder / "run")
    checkpoint = folder / "ck.npz"

    def stop(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("l0_calibrate.budgeted.refit_task", stop)
    assert command(monkeypatch, *fit) == 130
    assert "interrupted: no result was written" in capsys.readouterr().err
    assert command(monkeypatch, *fit, "--checkpoint", checkpoint) == 130
    assert f"the same command with --resume goes on from {checkpoint}" in " ".join(capsys.readouterr().err.split())
    assert not (folder / "run").exists()


def test_who_interrupts_replicates_is_told_too(folder, monkeypatch, capsys):
    """Most of a run with replicates is after its selection."""
    records, checkpoint = pd.read_parquet(folder / "problem" / "records.parquet"), folder / "ck.npz"
    records[["record_id"]].assign(r1=1.0).to_parquet(folder / "r.parquet")

    def stop(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("l0_calibrate.replicates.calibrate_replicates", stop)
    fit = ("fit", folder / "problem", "--keep", 20, "--out", folder / "run", "--replicates", folder / "r.parquet")
    assert command(monkeypatch, *fit, "--checkpoint", checkpoint) == 130
    assert f"the same command with --resume goes on from {checkpoint}" in " ".join(capsys.readouterr().err.split())


def test_an_interruption_while_the_parts_are_imported_is_no_fault(monkeypatch, capsys):
    class Interrupted:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "l0_calibrate.cli.app", Interrupted())
    assert command(monkeypatch, "--version") == 130
    assert capsys.readouterr().err == "interrupted: nothing was begun\n"


def test_who_forgets_to_resume_is_told_that_the_selection_is_there(folder, monkeypatch, capsys):
    fit = ("fit", folder / "problem", "--keep", 20, "--out", folder / "run", "--checkpoint", folder / "ck.npz")
    assert command(monkeypatch, *fit) == 0
    assert "--resume" not in capsys.readouterr().err
    assert command(monkeypatch, *fit) == 0
    assert "ck.npz holds the selection of this very run" in " ".join(capsys.readouterr().err.split())
    assert command(monkeypatch, *fit, "--resume") == 0
    assert "very run" not in capsys.readouterr().err
    assert command(monkeypatch, *fit, "--seed", 5) == 2
    assert "its options have seed=0, this run's seed=5" in " ".join(capsys.readouterr().err.split())


def test_a_run_never_takes_the_place_of_what_it_reads(folder, monkeypatch, capsys):
    problem, here = folder / "problem", folder / "here"
    here.mkdir()
    pd.read_csv(problem / "targets.csv").to_parquet(here / "targets.parquet")
    pd.DataFrame({"record_id": np.arange(80), "r1": 1.5}).to_parquet(here / "replicates.parquet")
    pd.DataFrame({"record_id": np.arange(80), "r1": 1.5}).to_csv(here / "replicates.csv", index=False)
    three = ["--matrix", problem / "matrix.npz", "--records", problem / "records.parquet", "--keep", 20]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for run, says in [
        ((problem, "--keep", 20, "--out", problem), "problem holds a problem (matrix.npz)"),
        ((*three, "--targets", here / "targets.parquet", "--out", here), "here/targets.parquet is read, and would be"),
        (
            (problem, "--keep", 20, "--replicates", here / "replicates.csv", "--csv", "--out", here),
            "here/replicates.csv is read, and would be written over",
        ),
        (
            (problem, "--keep", 20, "--replicates", here / "replicates.parquet", "--out", folder / "." / "here"),
            "here/replicates.parquet is read, and would be written over; choose another",
        ),
    ]:
        assert command(monkeypatch, "fit", *run) == 2
        assert says in " ".join(capsys.readouterr().err.split())
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    run = ("fit", problem, "--keep", 20, "--out", folder / "run")
    assert command(monkeypatch, *run) == 0
    assert command(monkeypatch, *run, "--reuse", folder / "run" / "weights.parquet") == 2
    assert command(monkeypatch, *run) == 0  # again into its own folder
    with pytest.raises(InputError, match="choose another output folder"):
        calibrate(CalibrationProblem.load(problem), keep=9).save(problem)


def test_a_fault_of_a_plugin_has_a_code_of_its_own(folder, monkeypatch, capsys):
    monkeypatch.setattr(RandomSelector, "select", lambda self, budget, machine, watch: None)
    asked = ("fit", folder / "problem", "--keep", 9, "--selector", "random", "--out", folder / "run")
    assert command(monkeypatch, *asked) == 70
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "a fault of L0 or of a plugin, not of the input: selector 'random' gave a NoneType" in told
    assert not (folder / "run").exists()


def test_evaluate_tells_of_negative_weights(folder, monkeypatch, capsys):
    problem = CalibrationProblem.load(folder / "problem")
    weights = np.where(np.arange(80) == 5, -2.0, 1.0)
    frame = pd.DataFrame({"record_id": problem.record_ids, "weight": weights})
    frame.to_parquet(folder / "w.parquet")
    assert command(monkeypatch, "evaluate", folder / "w.parquet", folder / "problem") == 0
    assert f"1 weight is negative: {problem.record_ids[5]}" in capsys.readouterr().out
    frame.assign(weight=-np.ones(80)).to_parquet(folder / "w.parquet")
    assert command(monkeypatch, "evaluate", folder / "w.parquet", folder / "problem", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["negative"] == said["kept"] == 80
    assert said["ess"] == pytest.approx(80.0)


def test_evaluate_takes_the_small_file(folder, monkeypatch, capsys):
    asked = ("fit", folder / "problem", "--keep", 20, "--small-file", "--out", folder / "run", "--quiet")
    assert command(monkeypatch, *asked) == 0
    said = []
    for how in (["weights.parquet"], ["small.parquet", "--small"]):
        assert command(monkeypatch, "evaluate", folder / "run" / how[0], folder / "problem", "--json", *how[1:]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert said[0]["kept"] == 20
    assert command(monkeypatch, "evaluate", folder / "run/small.parquet", folder / "problem") == 2
    assert "say that it is a small file (--small)" in " ".join(capsys.readouterr().err.split())
    small = pd.read_parquet(folder / "run/small.parquet")
    small.assign(record_id=np.where(np.arange(20) == 3, 999, small["record_id"])).to_csv(folder / "other.csv")
    assert command(monkeypatch, "evaluate", folder / "other.csv", folder / "problem", "--small") == 2
    assert "has 1 records that the problem does not have: 999" in " ".join(capsys.readouterr().err.split())

"""A set of files is written whole or not at all; weight files are read by record id."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from l0_calibrate import calibrate
from l0_calibrate.folders import check_writable, file_transaction, folder_transaction
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.files import read_weights
from l0_calibrate.result.report import report_of_folder
from l0_core import InputError


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def write(scratch: Path, **files: str) -> None:
    for name, content in files.items():
        path = scratch / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with folder_transaction(out) as scratch:
        write(scratch, a="1", sub__b="2")
        assert not out.exists()
    assert tree(tmp_path) == {"deep/out/a": "1", "deep/out/sub/b": "2"}
    assert out.stat().st_mode & 0o777 == (tmp_path / "deep").stat().st_mode & 0o777  # as any folder, not for us alone


def test_our_files_are_replaced_and_others_left(tmp_path: Path) -> None:
    write(tmp_path, a="old", other="theirs", sub__c="theirs")
    with folder_transaction(tmp_path) as scratch:
        write(scratch, a="new", sub__b="new")
        assert (tmp_path / "a").read_text() == "old"
    assert tree(tmp_path) == {"a": "new", "other": "theirs", "sub/b": "new", "sub/c": "theirs"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("exists", [True, False])
def test_nothing_is_written_where_the_work_fails(tmp_path: Path, error: type[BaseException], exists: bool) -> None:
    out = tmp_path / "out"
    if exists:
        write(out, a="old")
    before = tree(tmp_path)

    def fail(scratch: Path) -> None:
        write(scratch, a="half")
        raise error

    with pytest.raises(error), folder_transaction(out) as scratch:
        fail(scratch)
    assert tree(tmp_path) == before
    assert out.exists() == exists
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("fatal", range(1, 8))
def test_an_interrupt_while_files_move_puts_the_old_ones_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, fatal: int
) -> None:
    write(tmp_path, a="old", b="old", other="theirs")
    before, move, calls = tree(tmp_path), os.replace, 0

    def failing(source: str, target: str) -> None:
        nonlocal calls
        calls += 1
        if calls == fatal:
            raise error
        move(source, target)

    monkeypatch.setattr(os, "replace", failing)
    expected = InputError if isinstance(error, OSError) else KeyboardInterrupt
    if fatal <= 6:  # two files that are there (moved away, then placed) and two that are not
        with pytest.raises(expected), folder_transaction(tmp_path) as scratch:
            write(scratch, a="new", aa="new", b="new", new__c="new")
        assert tree(tmp_path) == before
        assert not (tmp_path / "new").exists()
    else:
        with folder_transaction(tmp_path) as scratch:
            write(scratch, a="new", aa="new", b="new", new__c="new")
        assert tree(tmp_path) == {"a": "new", "aa": "new", "b": "new", "new/c": "new", "other": "theirs"}
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


def test_a_folder_where_a_file_must_go_stops_everything(tmp_path: Path) -> None:
    write(tmp_path, a="old", b__inside="theirs")
    before = tree(tmp_path)
    with pytest.raises(InputError, match="is a folder where a file must go"), folder_transaction(tmp_path) as scratch:
        write(scratch, a="new", b="new")
    assert tree(tmp_path) == before


def _full(path: Path) -> None:
    path.write_text("half")
    raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")


def test_a_disk_that_is_full_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    write(tmp_path, a="old")
    before = tree(tmp_path)
    says = r"cannot be written: No space left on device; nothing was changed$"
    with pytest.raises(InputError, match=says), folder_transaction(tmp_path) as scratch:
        write(scratch, a="new")
        _full(scratch / "b")
    says = r"a cannot be written: No space left on device$"
    with pytest.raises(InputError, match=says), file_transaction(tmp_path / "a") as scratch:
        _full(scratch)
    assert tree(tmp_path) == before
    with file_transaction(tmp_path / "a") as scratch:
        scratch.write_text("new")
    assert tree(tmp_path) == {"a": "new"}


def test_where_even_cleaning_up_is_refused_the_first_fault_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("write_text", "unlink"):
        monkeypatch.setattr(Path, name, refused)
    says = r"cannot be written: Read-only file system$"
    with pytest.raises(InputError, match=says), file_transaction(tmp_path / "a") as scratch:
        scratch.write_text("new")


def test_a_file_that_cannot_be_put_there_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l0_calibrate.result.report._page", lambda *_: pytest.fail("the page was made"))
    result = calibrate(CalibrationProblem([[1.0, 2.0]], [3.0]))
    result.save(tmp_path / "run")
    for name, says in [("run", "it is a folder; name a file"), ("no/x.html", "there is no folder .*no; make it")]:
        with pytest.raises(InputError, match="cannot be written: " + says):
            report_of_folder(tmp_path / "run", tmp_path / name)
        with pytest.raises(InputError, match="cannot be written: " + says):
            result.report(tmp_path / name)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="read-only"):
        result.report(tmp_path / "x.html")


def test_transactions_nest(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with folder_transaction(out) as scratch, folder_transaction(scratch / "inner") as deeper:
        write(deeper, a="1")
    assert tree(tmp_path) == {"out/inner/a": "1"}


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "deep" / "out")
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    write(tmp_path, file="x")
    for path in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError, match="is not a folder; choose another output folder"):
            check_writable(path)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        check_writable(tmp_path / "out")


# ---------------------------------------------------------------------- weights


def problem() -> CalibrationProblem:
    return CalibrationProblem(np.ones((1, 3)), [3.0], record_ids=[10, 20, 30])


def weights(tmp_path: Path, ids: list[object], values: list[object], name: str = "w.parquet") -> Path:
    frame = pd.DataFrame({"record_id": ids, "weight": values})
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["w.parquet", "w.csv"])
def test_weights_are_put_in_the_order_of_the_problem(tmp_path: Path, name: str) -> None:
    assert read_weights(weights(tmp_path, [30, 10, 20], [3.0, 1.0, 0.0], name), problem()).tolist() == [1, 0, 3]


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        ([10, 20], [1.0, 2.0], "no weight for 1 records of the problem: 30; give records that were dropped"),
        ([10, 20, 30, 40], [1.0] * 4, "1 records that the problem does not have: 40"),
        ([10, 20, 20, 30], [1.0] * 4, "record id 20 appears more than once"),
        (["10", "20", "30"], [1.0] * 3, "record ids are text, those of the problem whole numbers"),
        ([10, 20, 30], [1.0, None, 2.0], "record 20 (position 1) is nan"),
        ([10, 20, 30], [1.0, float("inf"), 2.0], "record 20 (position 1) is inf"),
        ([10, 20, 30], ["a", "b", "c"], "weight must be real numbers"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, ids: list[object], values: list[object], message: str) -> None:
    path = weights(tmp_path, ids, values)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_weights(path, problem())
    assert str(path) in str(caught.value)


def test_a_file_without_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    path.write_text("record_id,weigth\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column 'weight'; did you mean 'weigth'"):
        read_weights(path, problem())


def test_tables_as_text_hold_what_the_others_hold(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    problem = CalibrationProblem(
        rng.uniform(0, 1, (2, 30)), [4.0, 5.0], initial_weights=rng.uniform(0, 1, 30),
        target_names=["plain", 'with "quotes", commas'], record_ids=[f"{i:03d}" for i in range(30)],
        record_info=pd.DataFrame({"state": ["CA", "NA", None] * 10}),
    )  # fmt: skip
    result = calibrate(problem, keep=12, max_weight_ratio=20)
    written = result.save(tmp_path / "run", {"small.parquet": result.small_file()}, csv=True)
    assert [path.suffix for path in written] == [*[".parquet", ".csv"] * 2, ".json", ".parquet", ".csv"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(path.name for path in written)
    for name in ("weights", "targets", "small"):
        table = pd.read_parquet(tmp_path / "run" / f"{name}.parquet")
        text = {column: str for column in table if not pd.api.types.is_numeric_dtype(table[column])}
        same = pd.read_csv(tmp_path / "run" / f"{name}.csv", dtype=text, na_values=[""], keep_default_na=False)
        pd.testing.assert_frame_equal(same, table, check_exact=True, check_dtype=False)
    np.testing.assert_array_equal(read_weights(tmp_path / "run" / "weights.csv", problem), result.weights)
    assert {path.suffix for path in result.save(tmp_path / "plain")} == {".parquet", ".json"}

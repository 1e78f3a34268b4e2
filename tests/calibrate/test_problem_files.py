"""Problems in files: what goes in comes back bit by bit, and what cannot be read is named."""

from __future__ import annotations

import contextlib
import gzip
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.problem.files import read_table
from l0_calibrate.problem.npz import read_csr, write_csr
from l0_core import InputError


def sample(dtype: type = np.float32) -> CalibrationProblem:
    rng = np.random.default_rng(0)
    return CalibrationProblem(
        sp.random_array((4, 30), density=0.4, rng=rng, format="csr", dtype=dtype),
        [0.1 + 0.2, -1e300, 0.0, 5e-324],
        initial_weights=rng.uniform(0, 1, 30),
        target_names=["plain", 'with "quotes", commas', "NA", "ünï\nlines"],
        record_ids=[f"{i:03d}" for i in range(30)],
        target_info=pd.DataFrame({"geography": ["US", "NA", "CA", None]}),
        record_info=pd.DataFrame({"state": ["CA", "NA", "null"] * 10}),
        loss_weights=rng.uniform(1, 2, 4),
        tolerances=[0, 0.1, 0, 0],
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_saved_is_loaded_bit_by_bit(tmp_path: Path, dtype: type) -> None:
    problem = sample(dtype)
    assert [path.name for path in problem.save(tmp_path)] == ["matrix.npz", "targets.csv", "records.parquet"]
    again = CalibrationProblem.load(tmp_path)
    assert again.digests == problem.digests
    assert again.matrix.dtype == dtype
    assert again.record_info is not None
    assert again.target_info is not None
    assert again.record_info["state"].tolist() == ["CA", "NA", "null"] * 10
    assert again.target_info["geography"].tolist()[:3] == ["US", "NA", "CA"]
    assert again.target_info["geography"].isna().tolist() == [False, False, False, True]


def test_the_same_from_three_files(tmp_path: Path) -> None:
    problem = sample()
    matrix, targets, records = problem.save(tmp_path)
    assert CalibrationProblem.load(matrix=matrix, targets=targets, records=records).digest == (
        CalibrationProblem.load(tmp_path).digest
    )


@given(
    st.integers(1, 5),
    st.integers(1, 40),
    st.floats(0, 1),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_scipy_reads_what_we_write_and_we_read_it_from_the_file(
    tmp_path_factory: pytest.TempPathFactory, m: int, n: int, density: float, dtype: type, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = sp.random_array((m, n), density=density, rng=rng, format="csr", dtype=dtype)
    path = tmp_path_factory.mktemp("npz") / "matrix.npz"
    write_csr(path, matrix)
    ours, theirs = read_csr(path), sp.load_npz(path)
    for part in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(ours, part), getattr(matrix, part))
        assert np.array_equal(getattr(theirs, part), getattr(matrix, part))
        assert getattr(ours, part).flags.aligned
    if matrix.nnz:
        assert not ours.data.flags.writeable
        assert isinstance(ours.data.base, np.memmap | np.ndarray)


def _mapped(array: object) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


def test_the_matrix_of_a_loaded_problem_stays_in_the_file(tmp_path: Path) -> None:
    sample().save(tmp_path)
    matrix = CalibrationProblem.load(tmp_path).matrix
    assert _mapped(matrix.data)
    assert _mapped(matrix.indices)


def _resident(ending: str) -> int:
    """Bytes of the mapped files of such a path that the kernel counts to this process."""
    lines, counted, there = Path("/proc/self/smaps").read_text().splitlines(), 0, False
    for line in lines:
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            there = line.endswith(ending)
        elif there and line.startswith("Rss:"):
            counted += int(line.split()[1]) * 1024
    return counted


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the kernel tells what is resident on Linux")
@pytest.mark.parametrize("compressed", [False, True])
def test_a_mapped_matrix_takes_no_memory_after_it_was_used(tmp_path: Path, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    matrix = sp.random_array((20, 50_000), density=0.3, rng=rng, format="csr", dtype=np.float32)
    weights = rng.uniform(0.5, 2, 50_000)
    CalibrationProblem(matrix, matrix @ weights, initial_weights=np.ones(50_000)).save(tmp_path)
    path = tmp_path / "matrix.npz"
    if compressed:
        sp.save_npz(path, matrix)
    problem = CalibrationProblem.load(tmp_path)
    mapped = "(deleted)" if compressed else str(path)  # unpacked into a file without a name
    before = _resident(mapped)
    assert before > 8 * matrix.nnz  # it was looked through
    problem.scaled(1)
    assert _resident(mapped) < before - 0.98 * 8 * matrix.nnz
    np.testing.assert_allclose(problem.estimates(weights), matrix.astype(np.float64) @ weights, rtol=1e-12)
    assert not problem.unreachable.size
    assert _resident(mapped) < before - 0.98 * 8 * matrix.nnz
    assert (problem.matrix != matrix).nnz == 0


def _full(*_: object) -> Any:
    return open("/dev/full", "wb")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
@pytest.mark.parametrize("why", ["no room to begin with", "full on the way", "nowhere to write"])
def test_a_compressed_matrix_is_held_in_memory_where_it_cannot_be_unpacked(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = sp.random_array((20, 50_000), density=0.3, rng=np.random.default_rng(0), format="csr")
    sp.save_npz(tmp_path / "matrix.npz", matrix)
    assert _mapped(read_csr(tmp_path / "matrix.npz").data)
    if why == "no room to begin with":
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    elif why == "full on the way":
        monkeypatch.setattr("tempfile.TemporaryFile", _full)
    else:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    read = read_csr(tmp_path / "matrix.npz")
    assert not _mapped(read.data)
    assert (read != matrix).nnz == 0


@pytest.mark.parametrize("compressed", [True, False])
def test_a_matrix_that_cannot_stay_in_the_file_is_read_once(tmp_path: Path, compressed: bool) -> None:
    problem = sample()
    problem.save(tmp_path)
    sp.save_npz(tmp_path / "matrix.npz", problem.matrix, compressed=compressed)
    read = read_csr(tmp_path / "matrix.npz")
    loaded = CalibrationProblem(read, problem.targets, initial_weights=problem.initial_weights).matrix
    assert (loaded != problem.matrix).nnz == 0
    for part in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(loaded, part), getattr(read, part))
        with pytest.raises(ValueError, match="read-only"):
            getattr(read, part)[0] = 1


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("compressed", [True, False])
def test_every_form_that_scipy_writes_is_read(tmp_path: Path, form: str, compressed: bool) -> None:
    matrix = sp.random_array((4, 6), density=0.5, rng=np.random.default_rng(1), format="csr")
    sp.save_npz(tmp_path / "m.npz", matrix.asformat(form), compressed=compressed)
    assert np.array_equal(read_csr(tmp_path / "m.npz").toarray(), matrix.toarray())


# ---------------------------------------------------------------------- tables


def test_ids_in_csv_are_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("record_id,x\n007,1\n8,2\n", encoding="utf-8")
    assert read_table(path)["record_id"].tolist() == ["007", "8"]
    path.write_text("record_id,x\n0,1\n00,2\n", encoding="utf-8")
    assert read_table(path)["record_id"].tolist() == ["0", "00"]
    path.write_text("record_id,x\n7,1\n-8,2\n0,3\n", encoding="utf-8")
    assert read_table(path)["record_id"].tolist() == [7, -8, 0]
    assert read_table(path)["record_id"].dtype == np.int64


def test_only_an_empty_field_of_a_csv_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('record_id,state\n1,NA\n2,\n3,null\n4,""\n', encoding="utf-8")
    assert read_table(path)["state"].isna().tolist() == [False, True, False, True]


def test_a_text_of_several_lines_is_one_field_of_a_csv_of_any_length(tmp_path: Path) -> None:
    notes = pd.Series([f"{i}\n" * 400 for i in range(2_000)])  # several of the blocks that a file is read in
    notes.to_frame("note").to_csv(tmp_path / "r.csv", index=False)
    assert (tmp_path / "r.csv").stat().st_size > 2**21
    assert read_table(tmp_path / "r.csv")["note"].tolist() == notes.tolist()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_numbers_of_a_csv_are_read_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    pd.DataFrame({"x": numbers}).to_csv(path, index=False)
    assert read_table(path)["x"].to_numpy(dtype=float).tolist() == numbers


# ---------------------------------------------------------------------- what cannot be read


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


class _Danger:
    """Unpickling it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return (Path.touch, (self.mark,))


def _pickled(path: Path) -> None:
    mark = path.with_name("mark")
    np.savez(path, data=np.array([_Danger(mark)], dtype=object), format=np.array(b"csr"), shape=[1, 1])
    pickle.loads(pickle.dumps(_Danger(mark)))  # it would leave its mark
    assert mark.exists()
    mark.unlink()


def _outside(path: Path) -> None:
    parts = {"data": np.ones(2), "indices": np.array([0, 10**6]), "indptr": np.array([0, 2, 2, 2, 2])}
    np.savez(path, format=np.array(b"csr"), shape=[4, 30], **parts)


def _backwards(path: Path) -> None:
    parts = {"data": np.ones(2), "indices": np.array([0, 1]), "indptr": np.array([0, 2, -5, 2, 2])}
    np.savez(path, format=np.array(b"csr"), shape=[4, 30], **parts)


_DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("matrix.npz", _cut, "cannot be read"),
    ("matrix.npz", lambda path: path.write_bytes(b""), "cannot be read"),
    ("matrix.npz", lambda path: path.write_text("text"), "cannot be read"),
    ("matrix.npz", lambda path: np.savez(path, a=np.ones(3)), "not a sparse matrix"),
    ("matrix.npz", _pickled, "never unpickled"),
    ("matrix.npz", _outside, "damaged"),
    ("matrix.npz", _backwards, "damaged"),
    ("matrix.npz", Path.unlink, "no matrix.npz"),
    (".", lambda path: [file.unlink() for file in path.iterdir()], "no matrix.npz; it is empty"),
    ("matrix.npz", lambda path: sp.save_npz(path, sp.csr_array(np.ones((30, 4)))), "may be (records, targets)"),
    ("matrix.npz", lambda path: sp.save_npz(path, sp.csr_array(np.ones((4, 29)))), "has shape (4, 29)"),
    ("targets.csv", Path.unlink, "no targets.csv or targets.parquet"),
    ("targets.csv", lambda path: path.write_bytes(b""), "cannot be read as csv"),
    ("targets.csv", lambda path: path.write_bytes(b"name,value\n\xff\xfe,1\n"), "targets.csv"),
    ("targets.csv", lambda path: path.write_text("name,value\na,1\nb,2,3\n"), "cannot be read as csv"),
    ("targets.csv", lambda path: path.write_text("name,val\na,1\n"), "neither 'value' nor 'target'"),
    ("targets.csv", lambda path: path.write_text("name,value,target\na,1,2\n"), "both 'value' and 'target'"),
    ("targets.csv", lambda path: path.write_text("nom,value\na,1\n"), "no column 'name'"),
    ("targets.csv", lambda path: path.write_text("name,value\na,1\nb,x\nc,3\nd,4\n"), "row 1 is 'x'"),
    ("targets.csv", lambda path: path.write_text("name,value\na,1\nb,\nc,3\nd,4\n"), "'b' (position 1) is nan"),
    ("targets.csv", lambda path: path.write_text("name,value\na,1\nb,inf\nc,3\nd,4\n"), "'b' (position 1) is inf"),
    ("targets.csv", lambda path: path.write_text("name,value\na,1\nb,1\na,3\nd,4\n"), "'a' appears more than once"),
    ("targets.csv", lambda path: path.with_name("targets.parquet").touch(), "keep one"),
    ("records.parquet", _cut, "cannot be read as parquet"),
    ("records.parquet", lambda path: path.write_text("record_id\n1\n"), "cannot be read as parquet"),
    ("records.parquet", lambda path: pd.DataFrame({"record_id": range(30)}).to_parquet(path), "'initial_weight'"),
]


@pytest.mark.parametrize(("name", "damage", "message"), _DAMAGE)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    sample().save(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        CalibrationProblem.load(tmp_path)
    assert str(tmp_path) in str(caught.value) or message == "damaged"
    assert not (tmp_path / "mark").exists()


@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
@example(1280, 64, False)  # a member of a zip version to come
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, mapped: bool
) -> None:
    path = tmp_path_factory.mktemp("flip") / "matrix.npz"
    matrix = sp.random_array((4, 30), density=0.4, rng=np.random.default_rng(0), format="csr")
    if mapped:
        write_csr(path, matrix)
    else:
        sp.save_npz(path, matrix)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(bytes(content))
    with contextlib.suppress(InputError):
        CalibrationProblem(read_csr(path), np.ones(4))


def test_a_changed_byte_of_a_mapped_file_is_in_the_digest_of_the_problem(tmp_path: Path) -> None:
    # So many values that reading the header does not come to their end, where zipfile would tell.
    matrix = sp.random_array((4, 3_000), density=0.4, rng=np.random.default_rng(0), format="csr")
    CalibrationProblem(matrix, np.ones(4)).save(tmp_path)
    before = CalibrationProblem.load(tmp_path).digest
    with zipfile.ZipFile(tmp_path / "matrix.npz") as archive:
        member = archive.getinfo("data.npy")
    content = bytearray((tmp_path / "matrix.npz").read_bytes())
    # Names and extra fields have their lengths in the header; the values end where the member does.
    lengths = struct.unpack_from("<HH", content, member.header_offset + 26)
    last = member.header_offset + 30 + sum(lengths) + member.compress_size - 8
    content[last] ^= 1  # the lowest bits of the last value
    (tmp_path / "matrix.npz").write_bytes(bytes(content))
    assert CalibrationProblem.load(tmp_path).digest != before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda folder: CalibrationProblem.load(folder / "absent"), "does not exist"),
        (lambda folder: CalibrationProblem.load(folder / "targets.csv"), "is a file"),
        (lambda folder: CalibrationProblem.load(), "give a folder"),
        (lambda folder: CalibrationProblem.load(folder, matrix=folder / "matrix.npz"), "not both"),
        (lambda folder: CalibrationProblem.load(matrix=folder / "matrix.npz"), "targets= and records="),
        (lambda folder: read_table(folder / "matrix.npz"), "read from .parquet, .csv and .csv.gz"),
        (lambda folder: read_table(folder / "absent.csv"), "does not exist"),
    ],
)
def test_calls_that_name_no_problem(tmp_path: Path, call: Callable[[Path], object], message: str) -> None:
    sample().save(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        call(tmp_path)


def test_saving_leaves_two_problems_apart(tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_text("record_id,initial_weight\n", encoding="utf-8")
    with pytest.raises(InputError, match=re.escape("records.csv of another problem")):
        sample().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["records.csv"]


def test_columns_that_the_files_need_for_themselves(tmp_path: Path) -> None:
    problem = CalibrationProblem(np.ones((1, 2)), [2], target_info=pd.DataFrame({"weight": [3]}))
    with pytest.raises(InputError, match="'weight'"):
        problem.save(tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (["48", "36", "12"], "targets.parquet"),
        (["06", "36", "06"], "targets.csv"),
        (["true", "false", "true"], "targets.parquet"),
        (["1e3", "2", "3"], "targets.parquet"),
        (["2020-01-01", "2021-01-01", "2022-01-01"], "targets.parquet"),
        (["", "a", "b"], "targets.parquet"),
        (["CA", "NA", "WA"], "targets.csv"),
        ([1, 2, 3], "targets.csv"),
        ([1.5, np.nan, 2.0], "targets.csv"),
    ],
)
def test_columns_of_targets_come_back_as_they_were(tmp_path: Path, column: list[Any], name: str) -> None:
    """Codes such as "36" would be numbers, read from text; a zero before one says that it is none."""
    problem = CalibrationProblem(np.eye(3), [1.0, 2.0, 3.0], target_info=pd.DataFrame({"code": column}))
    assert problem.save(tmp_path / "p")[1].name == name
    again = CalibrationProblem.load(tmp_path / "p").target_info
    pd.testing.assert_frame_equal(again, problem.target_info)


def test_codes_of_a_csv_keep_their_leading_zeros(tmp_path: Path) -> None:
    """County 06037 is not 6037; a column without such a code holds numbers as ever, zeros among them."""
    path = tmp_path / "r.csv"
    path.write_text("record_id,county,district,children,wages\n1,06037,007,0,0.5\n2,36061,,2,007.5\n", encoding="utf-8")
    table = read_table(path)
    assert table["county"].tolist() == ["06037", "36061"]
    assert table["district"].tolist()[0] == "007"
    assert table["district"].isna().tolist() == [False, True]
    assert table["children"].dtype == np.int64
    assert table["wages"].tolist() == [0.5, 7.5]
    assert list(table.columns) == ["record_id", "county", "district", "children", "wages"]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"sep": ";"}, r"separated by semicolons; .*read_csv\('t.csv', sep=';'\)"),
        ({"sep": "\t"}, r"separated by tabs; .*read_csv\('t.csv', sep='\\t'\)"),
        (
            {"sep": ";", "decimal": ",", "encoding": "cp1252"},
            "semicolons and its numbers have decimal commas and it is not UTF-8 text; .* sep=';', decimal=',', encoding='cp1252'",
        ),
        (
            {"encoding": "cp1252"},
            r"line 3 is not UTF-8 text; as Windows-1252 it has 'Île A,2.25' there; .* encoding='cp1252'",
        ),
        ({"encoding": "utf-16"}, "UTF-16 text .* encoding='utf-16'"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_csv_of_another_form_is_refused_with_what_it_is_and_how_to_convert_it(
    form: dict[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"name": ["a", "Île A", "c"], "value": [1.5, 2.25, -3.5]})
    table.to_csv("plain.csv", index=False)
    table.to_csv("t.csv", index=False, **form)
    with pytest.raises(InputError, match=r"^t\.csv cannot be read.*" + says) as refused:
        read_table("t.csv")
    recipe = re.search(r"pandas\.(read_csv\(.*?\))\.to_csv", str(refused.value))
    assert recipe is not None
    eval("pd." + recipe[1]).to_csv("new.csv", index=False)
    pd.testing.assert_frame_equal(read_table("new.csv"), read_table("plain.csv"))


def test_a_byte_order_mark_or_signs_of_other_separators_in_a_csv_say_nothing(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": ["a;b;c", "d|e\tf"], "value": [1.5, 2.25]})
    table.to_csv(tmp_path / "t.csv", index=False, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), table, check_dtype=False)
    (tmp_path / "one.csv").write_text("record_id\n1\n")
    assert read_table(tmp_path / "one.csv").shape == (1, 1)


@pytest.mark.parametrize("written", ["7,5", "1.234,5", "1,234.50", "1 234", "7 kg", "€ 12"])
def test_numbers_in_another_form_of_writing_are_named(written: str, tmp_path: Path) -> None:
    records = pd.DataFrame({"initial_weight": ["1.5", "2", written, "3,1"], "wages": ["1", written, "3", "4"]})
    good, declared = records.assign(wages=1.0), pd.DataFrame({"name": ["w"], "value": [9.0], "sum_of": ["wages"]})
    sample().save(tmp_path)
    table = pd.read_csv(tmp_path / "targets.csv")
    table.assign(value=["1.0", written, "3", "4"]).to_csv(tmp_path / "targets.csv", index=False)
    calls: dict[str, Callable[[], object]] = {
        f"row 1 is {written!r}: write": lambda: CalibrationProblem.from_microdata(records, declared),
        f"row 2 is {written!r} (and 1 more): write": lambda: CalibrationProblem.from_microdata(good, declared),
        f"got {written!r}: write": lambda: CalibrationProblem.from_microdata(good, declared.assign(value=written)),
        f"'value' must hold numbers; row 1 is {written!r}: write": lambda: CalibrationProblem.load(tmp_path),
    }
    for says, call in calls.items():
        with pytest.raises(InputError, match=re.escape(says + " numbers with a decimal point")):
            call()


def test_other_text_among_numbers_is_named_alone() -> None:
    declared = pd.DataFrame({"name": ["w"], "value": [9.0], "sum_of": ["wages"]})
    for text in ("n/a", "2024-01-05", "*", "suppressed"):
        with pytest.raises(InputError, match=f"row 1 is {re.escape(repr(text))}$"):
            CalibrationProblem.from_microdata(
                pd.DataFrame({"initial_weight": 1.0, "wages": ["1", text, "3"]}), declared
            )


def test_packed_csv_is_read_as_it_is_unpacked(tmp_path: Path) -> None:
    text = "record_id,code,amount\n007,06037,1.5\n11,,0.1\n"
    (tmp_path / "plain.csv").write_text(text, encoding="utf-8")
    with gzip.open(tmp_path / "packed.csv.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    expected = read_table(tmp_path / "plain.csv")
    assert expected["record_id"].tolist() == ["007", "11"]
    pd.testing.assert_frame_equal(read_table(tmp_path / "packed.csv.gz"), expected)


def test_packed_csv_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    rows = b"a,b\n" + b"1,2\n" * 5_000
    whole = gzip.compress(rows)
    for content, says in (
        (whole[: len(whole) // 2], "cannot be read as csv"),
        (b"a,b\n1,2\n", "cannot be read as csv"),
        (whole[:40] + bytes(8) + whole[48:], "cannot be read as csv"),
        (gzip.compress(b"a;b\n1;2\n"), "separated by semicolons"),
        (gzip.compress("a,b\n1,\xe9\n".encode("latin-1")), "line 2 is not UTF-8 text"),
    ):
        (tmp_path / "bad.csv.gz").write_bytes(content)
        with pytest.raises(InputError, match=rf"bad\.csv\.gz cannot be read.*{says.removeprefix('cannot be read')}"):
            read_table(tmp_path / "bad.csv.gz")

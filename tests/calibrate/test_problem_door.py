"""What a problem takes in, what it refuses and in which words, and that nobody can change it afterwards."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from l0_calibrate.problem import CalibrationProblem, balanced_weights
from l0_core import InputError

MATRIX = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]])
IDS = ["r0", "r1", "r2"]


def problem(matrix=MATRIX, targets=(1.0, 2.0), **more):
    return CalibrationProblem(matrix, list(targets) if isinstance(targets, tuple) else targets, **more)


def torch_forms():
    torch = pytest.importorskip("torch")
    dense = torch.tensor(MATRIX)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch says that its CSR support is in beta
        return {
            "strided": dense,
            "wants gradients": torch.tensor(MATRIX, requires_grad=True),
            "coo": dense.to_sparse(),
            "csr": dense.to_sparse_csr(),
            "csc": dense.to_sparse_csc(),
            "half": dense.half(),
            "bfloat16": dense.bfloat16(),
        }


# ---------------------------------------------------------------------- every kind of matrix


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
@pytest.mark.parametrize("make", [sp.csr_array, sp.csr_matrix])
def test_every_sparse_format_is_the_same_problem(kind, make):
    assert problem(make(MATRIX).asformat(kind)).digest == problem().digest


@pytest.mark.parametrize("form", ["strided", "wants gradients", "coo", "csr", "csc", "half", "bfloat16"])
def test_torch_tensors_of_every_layout(form):
    tensor = torch_forms()[form]
    np.testing.assert_array_equal(problem(tensor).matrix.toarray(), MATRIX)


@pytest.mark.parametrize(
    "matrix",
    [
        MATRIX.tolist(),
        MATRIX.astype(np.int8),
        MATRIX.astype(np.float16),
        pd.DataFrame(MATRIX),
        pd.DataFrame(MATRIX).astype("Int64"),
        pd.DataFrame(MATRIX).astype(pd.SparseDtype(float, 0.0)),
        np.asfortranarray(MATRIX),
        MATRIX[::-1][::-1],
    ],
    ids=["lists", "int8", "float16", "frame", "nullable", "sparse frame", "fortran", "strided view"],
)
def test_dense_kinds(matrix):
    np.testing.assert_array_equal(problem(matrix).matrix.toarray(), MATRIX)


def test_precision_is_kept_and_indices_are_small():
    single = problem(MATRIX.astype(np.float32)).matrix
    assert single.data.dtype == np.float32
    assert single.indices.dtype == single.indptr.dtype == np.int32
    assert problem().matrix.data.dtype == np.float64


def test_repeated_entries_add_up_without_overflow():
    places = ([0, 0, 0], [1, 1, 2])
    small = sp.coo_array((np.array([100, 100, 1], dtype=np.int8), places), shape=(2, 3))
    truth = sp.coo_array((np.array([True, True, True]), places), shape=(2, 3))
    assert problem(small).matrix.toarray()[0, 1] == 200.0
    assert problem(truth).matrix.toarray()[0, 1] == 2.0


def test_explicit_zeros_are_no_entries():
    stored = sp.csr_array((np.array([1.0, 0.0]), np.array([0, 2]), np.array([0, 2, 2])), shape=(2, 3))
    assert problem(stored).matrix.nnz == 1


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.sampled_from([0.0, 1.0, -2.5, 1e300, 3.0]),
    ),
    st.sampled_from(["csr", "csc", "coo", "lil"]),
)
@settings(max_examples=50, deadline=None)
def test_sparse_and_dense_agree(matrix, kind):
    m, _ = matrix.shape
    a, b = CalibrationProblem(matrix, np.ones(m)), CalibrationProblem(sp.csr_array(matrix).asformat(kind), np.ones(m))
    assert a.digest == b.digest
    np.testing.assert_array_equal(a.matrix.toarray(), matrix)


# ---------------------------------------------------------------------- frozen


def test_the_callers_arrays_stay_the_callers():
    dense, weights, targets = MATRIX.copy(), np.ones(3), np.array([1.0, 2.0])
    csr = sp.csr_array(MATRIX)
    made = [problem(dense, targets, initial_weights=weights), problem(csr, targets)]
    digests = [one.digest for one in made]
    dense[0, 0] = weights[0] = targets[0] = csr.data[0] = 77.0
    again = [attributes(one) for one in made]
    assert [one.digest for one in made] == digests
    assert all(77.0 not in values for values in again)


def attributes(one):
    return [*one.matrix.data, *one.targets, *one.initial_weights]


def test_a_read_only_view_of_what_others_write_to_is_copied():
    base = np.array([1.0, 2.0, 1.0, 1.0])
    view = base[:]
    view.setflags(write=False)
    pattern = sp.csr_array(MATRIX)
    made = problem(sp.csr_array((view, pattern.indices, pattern.indptr), shape=(2, 3)))
    base[0] = 77.0
    assert made.matrix.data[0] == 1.0


def test_what_is_frozen_already_is_shared():
    first = problem()
    second = problem(first.matrix)
    assert np.shares_memory(first.matrix.data, second.matrix.data)


@pytest.mark.parametrize("name", ["targets", "initial_weights", "loss_weights", "tolerances", "record_ids"])
def test_arrays_cannot_be_written_to(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(problem(), name)[0] = 5
    with pytest.raises(AttributeError):
        setattr(problem(), name, None)
    with pytest.raises(ValueError, match="read-only"):
        problem().matrix.data[0] = 5


@pytest.mark.parametrize("again", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))], ids=["deepcopy", "pickle"])
def test_copies_are_the_same_problem(again):
    assert again(problem(record_ids=IDS)).digest == problem(record_ids=IDS).digest


# ---------------------------------------------------------------------- refusals, word for word where it matters

REFUSED = {
    "one target for four rows": (
        lambda: CalibrationProblem(np.ones((4, 3)), [1.0]),
        r"targets must have shape \(4,\).*got \(1,\)",
    ),
    "scalar target": (lambda: CalibrationProblem(np.ones((4, 3)), 1.0), r"targets must have shape \(4,\).*got \(\)"),
    "column of targets": (lambda: problem(targets=[[1.0], [2.0]]), r"got \(2, 1\)"),
    "nan target": (
        lambda: problem(targets=[1.0, np.nan], target_names=["a", "b"]),
        "the value of target 'b' .position 1. is nan",
    ),
    "infinite target": (lambda: problem(targets=[-np.inf, 1.0]), "target 'target_0' .position 0. is -inf"),
    "text target": (lambda: problem(targets=["1", "x"]), "targets must be real numbers"),
    "complex target": (lambda: problem(targets=[1j, 1.0]), "imaginary"),
    "masked target": (lambda: problem(targets=np.ma.array([1.0, 2.0], mask=[0, 1])), "masked"),
    "masked matrix": (lambda: problem(np.ma.array(MATRIX, mask=MATRIX == 2)), "masked"),
    "nan entry": (
        lambda: problem(np.where(MATRIX == 2, np.nan, MATRIX), record_ids=IDS),
        "nan for target 'target_0' .row 0. and record 'r1' .column 1.",
    ),
    "infinite entry": (
        lambda: problem(np.where(MATRIX == 2, np.inf, MATRIX)),
        r"inf for target 'target_0' .* record 1 \(column 1\)",
    ),
    "nan entry at the start of a row": (
        lambda: problem(np.array([[1.0, 2.0, 0.0], [0.0, np.nan, 1.0]]), record_ids=IDS),
        "nan for target 'target_1' .row 1. and record 'r1'",
    ),
    "missing entry of a frame": (
        lambda: problem(pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [1, 2]})),
        "record 'a'",
    ),
    "text matrix": (lambda: problem(pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})), "column 'a' has dtype"),
    "ragged": (lambda: problem([[1, 2], [3]]), "cannot be read as an array"),
    "one-dimensional": (lambda: problem(np.ones(3)), "two-dimensional"),
    "no target": (lambda: CalibrationProblem(np.ones((0, 3)), []), "at least one of each"),
    "no record": (lambda: CalibrationProblem(np.ones((2, 0)), [1.0, 2.0]), "at least one of each"),
    "negative weight": (
        lambda: problem(initial_weights=[1, -1, 0], record_ids=IDS),
        "initial weight of record 'r1' .position 1. is -1.0",
    ),
    "nan weight": (lambda: problem(initial_weights=[1, 1, np.nan]), "initial weight of record 2 "),
    "zero weights": (lambda: problem(initial_weights=[0, 0, 0]), "all initial weights are zero"),
    "weights of a wrong length": (lambda: problem(initial_weights=[1, 1]), r"initial_weights must have shape \(3,\)"),
    "duplicate id": (
        lambda: problem(record_ids=["a", "b", "a"]),
        "record id 'a' appears more than once .positions 0 and 2.",
    ),
    "duplicate whole id": (lambda: problem(record_ids=[7, 8, 7]), "record id 7 appears more than once"),
    "duplicate name": (lambda: problem(target_names=["a", "a"]), "target name 'a' appears more than once"),
    "missing id": (lambda: problem(record_ids=["a", None, "b"]), "record id at position 1 is missing"),
    "empty id": (lambda: problem(record_ids=["a", "", "b"]), "record id at position 1 is missing"),
    "mixed ids": (lambda: problem(record_ids=[1, "1", 2]), "mix whole numbers and text"),
    "truth among the ids": (
        lambda: problem(record_ids=np.array([True, 2, 3], dtype=object)),
        "record ids must be whole numbers or text",
    ),
    "lists among the ids": (
        lambda: problem(record_ids=pd.Series([np.array([1, 2])] * 3)),  # as a nested column of parquet is read
        "record ids must be whole numbers or text",
    ),
    "fractional id": (lambda: problem(record_ids=[1.0, 1.5, 2.0]), "1.5 at position 1 is not a whole number"),
    "wrong number of ids": (lambda: problem(record_ids=["a"]), "one record id for each of the 3"),
    "negative tolerance": (lambda: problem(tolerances=-0.1), "must not be negative"),
    "loss weights all zero": (lambda: problem(loss_weights=[0, 0]), "all loss weights are zero"),
    "negative loss weight": (lambda: problem(loss_weights=[2, -1]), "the loss weight of target 'target_1'"),
    "info of a wrong length": (lambda: problem(target_info=pd.DataFrame({"a": [1]})), "target_info must have 2 rows"),
    "info with a column twice": (
        lambda: problem(record_info=pd.DataFrame(np.ones((3, 2)), columns=["a", "a"])),
        "record_info has the column 'a' twice",
    ),
    "unknown group column": (
        lambda: problem(target_info=pd.DataFrame({"family": ["a", "b"]}), groups="famly"),
        "did you mean 'family'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_place_named(case):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        make()


def _csr(indices=(0, 1, 1, 2), indptr=(0, 2, 4)):
    made = sp.csr_array(MATRIX)
    made.indices, made.indptr = np.array(indices, dtype=np.int32), np.array(indptr, dtype=np.int32)
    return made


def _coo_outside():
    made = sp.coo_array(MATRIX)
    made.coords = (made.coords[0], np.array([0, -1, 1, 2], dtype=np.int32))
    return made


@pytest.mark.parametrize(
    "matrix",
    [_csr(indices=(0, 9, 1, 2)), _csr(indptr=(0, 3, 2)), _coo_outside()],
    ids=["index", "pointer", "coordinate"],
)
def test_damaged_sparse_matrices_are_refused(matrix):
    with pytest.raises(InputError, match="damaged"):
        problem(matrix)


# ---------------------------------------------------------------------- labels


def test_a_frame_names_targets_and_records():
    frame = pd.DataFrame(MATRIX, index=["a", "b"], columns=[7, 8, 9])
    made = problem(frame)
    assert made.target_names.tolist() == ["a", "b"]
    assert made.record_ids.tolist() == [7, 8, 9]
    with pytest.raises(InputError, match="not those that the DataFrame carries"):
        problem(frame, target_names=["a", "c"])


@pytest.mark.parametrize(
    "misplaced",
    [
        {"targets": pd.Series([1.0, 2.0], index=["b", "a"])},
        {"targets": pd.Series([1.0, 2.0], index=["a", "c"])},
        {"initial_weights": pd.Series([1.0, 2.0, 3.0], index=[9, 8, 7])},
        {"tolerances": pd.Series([0.1, 0.2], index=["b", "a"])},
        {"loss_weights": pd.Series([0.1, 0.2], index=["b", "a"])},
        {"target_info": pd.DataFrame({"x": [1, 2]}, index=["b", "a"])},
        {"record_info": pd.DataFrame({"x": [1, 2, 3]}, index=[8, 7, 9])},
    ],
    ids=lambda m: next(iter(m)),
)
def test_values_labelled_in_another_order_are_not_taken_by_position(misplaced):
    frame = pd.DataFrame(MATRIX, index=["a", "b"], columns=[7, 8, 9])
    with pytest.raises(InputError, match=f"{next(iter(misplaced))} is indexed by"):
        problem(frame, **misplaced)


def test_row_numbers_of_a_filtered_table_are_no_labels():
    table = pd.DataFrame({"id": ["a", "b", "c"], "w": [1.0, 2.0, 3.0]}, index=[9, 4, 6])
    made = problem(initial_weights=table["w"], record_ids=table["id"], record_info=table)
    assert made.initial_weights.tolist() == [1.0, 2.0, 3.0]
    assert made.record_info.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "ids",
    [[1.0, 2.0, 3.0], np.array([1, 2, 3], dtype=np.uint8), pd.array([1, 2, 3], dtype="Int64"), pd.Index([1, 2, 3])],
    ids=["floats", "uint8", "nullable", "index"],
)
def test_whole_ids_in_every_dress_are_int64(ids):
    assert problem(record_ids=ids).record_ids.dtype == np.int64


# ---------------------------------------------------------------------- numbers


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_relative_errors_against_their_formula(m, n, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.5)
    targets = rng.standard_normal(m) * 10.0 ** rng.integers(-3, 6, m)
    weights = rng.random(n)
    made = CalibrationProblem(matrix, targets)
    # summation order differs: a few ulps of the largest term
    np.testing.assert_allclose(made.estimates(weights), matrix @ weights, rtol=1e-12, atol=1e-12)
    expected = (matrix @ weights - targets) / np.maximum(np.abs(targets), 1.0)
    np.testing.assert_allclose(made.relative_errors(weights), expected, rtol=1e-9, atol=1e-12)


def test_estimates_of_a_float32_matrix_are_summed_in_float64():
    made = CalibrationProblem(np.full((1, 3), 0.1, dtype=np.float32), [1.0])
    assert made.estimates([1e8, 1.0, 1.0])[0] == float(np.float64(np.float32(0.1)) * (1e8 + 2))


@pytest.mark.parametrize("weights", [[1.0], np.ones((3, 1)), 1.0])
def test_weights_are_not_broadcast(weights):
    with pytest.raises(InputError, match=r"weights must have shape \(3,\)"):
        problem().estimates(weights)


def test_loss_weights_have_mean_one_and_scaling_again_moves_nothing():
    made = problem(loss_weights=[1.0, 6.0])
    assert made.loss_weights.tolist() == [2 / 7, 12 / 7]
    assert problem(loss_weights=made.loss_weights).digest == made.digest
    for seed in range(20):
        weights = np.random.default_rng(seed).exponential(size=30)
        once = CalibrationProblem(np.ones((30, 1)), np.ones(30), loss_weights=weights).loss_weights
        again = CalibrationProblem(np.ones((30, 1)), np.ones(30), loss_weights=once).loss_weights
        np.testing.assert_array_equal(again, once)


def test_groups_count_alike():
    info = pd.DataFrame({"family": ["a", "a", "b"]})
    made = CalibrationProblem(np.ones((3, 2)), [1.0, 2.0, 3.0], target_info=info, groups="family")
    assert made.loss_weights.tolist() == [0.75, 0.75, 1.5]
    assert balanced_weights(["a", "a", "b"], {"b": 3.0}).tolist() == [0.375, 0.375, 2.25]
    assert balanced_weights(["a", "a", "b", "b"], weights=[0.0, 0.0, 1.0, 3.0]).tolist() == [0.0, 0.0, 1.0, 3.0]
    with pytest.raises(InputError, match="no group 'c'"):
        balanced_weights(["a", "a", "b"], {"c": 3.0})


@pytest.mark.parametrize(
    "part", ["matrix", "targets", "initial_weights", "target_names", "record_ids", "tolerances", "loss_weights"]
)
def test_the_digest_sees_every_input(part):
    base = {
        "matrix": MATRIX, "targets": [1.0, 2.0], "initial_weights": [1.0, 2.0, 3.0], "target_names": ["a", "b"],
        "record_ids": IDS, "tolerances": [0.0, 0.1], "loss_weights": [1.0, 2.0],
    }  # fmt: skip
    other = dict(base)
    values = np.array(base[part], dtype=object if isinstance(base[part][0], str) else float)
    values.flat[0] = "z" if values.dtype == object else values.flat[0] + 1
    other[part] = values

    def digest(parts):
        rest = {name: value for name, value in parts.items() if name not in ("matrix", "targets")}
        return CalibrationProblem(parts["matrix"], parts["targets"], **rest).digest

    assert digest(base) == digest(base)
    assert digest(base) != digest(other)


# ---------------------------------------------------------------------- variants


def test_a_subset_is_the_problem_of_its_parts():
    made = problem(record_ids=[2, 1, 0], record_info=pd.DataFrame({"s": ["x", "y", "z"]}), tolerances=[0.0, 0.5])
    part = made.subset([1], [2, 1, 0], initial_weights=[4.0, 5.0, 6.0])  # ids that look like positions
    assert part.matrix.toarray().tolist() == [[1.0, 1.0, 0.0]]
    assert part.record_ids.tolist() == [0, 1, 2]
    assert part.record_info["s"].tolist() == ["z", "y", "x"]
    assert part.tolerances.tolist() == [0.5]
    assert part.initial_weights.tolist() == [4.0, 5.0, 6.0]
    flags = made.subset(np.array([False, True]), np.array([False, True, True]))
    assert flags.record_ids.tolist() == [1, 0]


@pytest.mark.parametrize("columns", [[9], [-1], [], np.array([True, False]), [0.5], [0, 0]])
def test_subsets_outside_are_refused(columns):
    with pytest.raises(InputError):
        problem().subset([0], columns)


def test_tolerances_replaced_share_the_rest():
    made = problem()
    other = made.with_tolerance(0.25)
    assert other.tolerances.tolist() == [0.25, 0.25]
    assert other.matrix is made.matrix
    assert made.tolerances.tolist() == [0.0, 0.0]


def test_targets_that_nothing_moves_are_kept_and_named():
    matrix = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    made = CalibrationProblem(matrix, [1.0, 0.0, -3.0], initial_weights=[1.0, 0.0], target_names=["a", "b", "c"])
    assert made.n_targets == 3
    assert made.unreachable.tolist() == [1, 2]
    with pytest.raises(InputError, match="2 of the targets: b, c"):
        made.refuse_unreachable()
    CalibrationProblem(np.eye(2), [1.0, 2.0]).refuse_unreachable()


def test_the_system_is_made_once():
    made = problem(targets=(-4.0, 2.0))
    assert made.system is made.system
    np.testing.assert_array_equal(made.system.b, [-1.0, 1.0])

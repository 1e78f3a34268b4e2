"""Systems and seeds that cannot be meant are refused with a reason; those that can be, whoever made them, work."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import get_backend, get_gate
from l0_core.errors import InputError, UnknownPluginError
from l0_gates.descent import DescentSettings, Regression
from l0_gates.hard_concrete import GateProblem, TrainingSettings, train_gates
from l0_gates.system import LinearSystem

STRATEGIES = ("sample", "feature", "hybrid", "random", "poisson", "systematic", "sampford", "max_entropy", "cube")


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, 2**63])
@pytest.mark.filterwarnings("ignore::l0_core.errors.UntrainedWarning")
def test_a_seed_that_is_none_is_refused(name, seed):
    with pytest.raises(InputError, match="seed must be a whole number"):
        get_gate(name, seed=seed)
    with pytest.raises(InputError, match="seed must be a whole number"):
        get_gate(name).select(10, keep=3, seed=seed)
    again = [get_gate(name, seed=kind(3)).select(10, keep=3).indices.tolist() for kind in (int, np.int64)]
    assert again[0] == again[1]


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_imaginary_parts_are_not_dropped(kind):
    with pytest.raises(InputError, match="real numbers"):
        LinearSystem(kind(np.ones((2, 3)) + 1j), [1.0, 2.0])
    with pytest.raises(InputError, match="totals must be real numbers"):
        LinearSystem(kind(np.ones((2, 3))), np.array([1.0, 2.0]) + 1j)


def test_text_is_refused():
    with pytest.raises(InputError, match="real numbers"):
        LinearSystem(np.array([["a", "b"]]), [1.0])
    with pytest.raises(InputError, match="totals must be real numbers"):
        LinearSystem(np.ones((2, 3)), ["one", "two"])


@pytest.mark.parametrize(
    ("matrix", "totals", "reference", "message"),
    [
        (np.ones(3), [1.0], None, r"two dimensions \(rows, items\), got shape \(3,\)"),
        (np.ones((0, 3)), [], None, r"at least one row and one item, got shape \(0, 3\)"),
        ([[1.0, 2.0], [np.inf, 4.0]], [1.0, 1.0], None, "matrix entry in row 1, item 0 is not finite"),
        ([[1.0, 0.0], [3.0, np.nan]], [1.0, 1.0], None, "matrix entry in row 1, item 1 is not finite"),
        (np.ones((1, 3)), [1.0], np.zeros(3), "reference weights are all zero"),
    ],
)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_systems_that_are_none_are_refused(kind, matrix, totals, reference, message):
    if kind == "sparse" and np.ndim(matrix) == 2:
        matrix = sp.csr_array(np.asarray(matrix))
    with pytest.raises(InputError, match=message):
        LinearSystem(matrix, totals, reference)


def test_whole_numbers_are_read_as_real_ones():
    system = LinearSystem(sp.csr_array(np.array([[1, 2], [0, 3]])), [1, 2])
    assert system.columns.dtype == np.float64
    assert system.columns.toarray().tolist() == [[1.0, 2.0], [0.0, 3.0]]


def test_tensors_are_read_without_their_gradient():
    torch = pytest.importorskip("torch")
    matrix = torch.arange(6.0).reshape(2, 3).requires_grad_()
    system = LinearSystem(matrix, torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True))
    assert system.columns.toarray().tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("seed", [-1, True, 2**63])
def test_a_seed_of_a_selector_or_a_training_is_checked_by_its_name(seed):
    sklearn = pytest.importorskip("l0_gates.sklearn")
    table, response = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20.0)
    with pytest.raises(InputError, match="random_state must be a whole number"):
        sklearn.L0FeatureSelector(2, random_state=seed).fit(table, response)
    with pytest.raises(InputError, match="seed must be a whole number"):
        train_gates(GateProblem(sp.csr_array(table), response, np.ones(4)), 2, backend=get_backend("numpy"), seed=seed)


@pytest.mark.parametrize("method", ["descent", "hard_concrete"])
def test_a_backend_that_is_not_there_is_refused_whether_it_is_needed_or_not(method):
    for name in ("feature", "sample"):
        with pytest.raises(UnknownPluginError, match=r"unknown backend 'nope'; installed: .*numpy"):
            get_gate(name, method=method, backend="nope")
    sklearn = pytest.importorskip("l0_gates.sklearn")
    with pytest.raises(UnknownPluginError, match="unknown backend 'nope'"):
        sklearn.L0FeatureSelector(1, method=method, backend="nope").fit(np.eye(4), np.arange(4.0))


@pytest.mark.parametrize("make", [TrainingSettings, DescentSettings])
def test_counts_in_settings_are_whole_numbers_of_either_kind(make):
    names = ("steps", "block_size") if make is TrainingSettings else ("max_passes", "swap_leavers")
    for name in names:
        assert getattr(make(**{name: np.int64(7)}), name) == 7
        for wrong in (0, 1.5, True):
            with pytest.raises(InputError, match=f"{name} must be a whole number of at least 1"):
                make(**{name: wrong})


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_a_regression_drops_no_imaginary_part_and_takes_no_text(kind):
    matrix, response = np.eye(3), np.arange(3.0)
    with pytest.raises(InputError, match="matrix must be real numbers"):
        Regression(kind(matrix + 1j), response)
    with pytest.raises(InputError, match="response must be real numbers"):
        Regression(kind(matrix), response + 1j)
    for name in ("l2", "lower", "upper", "row_weights"):
        with pytest.raises(InputError, match=f"{name} must be real numbers"):
            Regression(kind(matrix), response, **{name: "much"})


@pytest.mark.parametrize("sizes", [["a", "b"], np.array([1j, 1])])
def test_sizes_of_a_design_are_real_numbers(sizes):
    with pytest.raises(InputError, match="size_measure must be real numbers"):
        get_gate("systematic", size_measure=sizes).select(2, keep=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": np.ones(2)}, r"targets must have shape \(3,\), got \(2,\)"),
        ({"targets": np.array([1.0, np.nan, 1.0])}, r"targets\[1\] is nan; it must be finite"),
        ({"weights": np.ones(3)}, r"weights must have shape \(4,\)"),
        ({"weights": np.array([1.0, 1.0, 0.0, 1.0])}, r"weights\[2\] is 0.0; it must be positive"),
        ({"spread": -np.ones(4)}, r"spread\[0\] is -1.0; it must be finite and not negative"),
        ({"largest": np.zeros(4)}, r"largest\[0\] is 0.0; it must be positive"),
    ],
)
def test_a_problem_for_gates_is_checked_when_it_is_made(change, message):
    whole = {"matrix": sp.csr_array(np.ones((3, 4))), "targets": np.ones(3), "weights": np.ones(4)}
    with pytest.raises(InputError, match=message):
        GateProblem(**{**whole, **change})
    GateProblem(**{**whole, "weights": np.zeros(4)}, positive=False, largest=np.full(4, np.inf))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hybrid", {"target": 0}, "target must be a whole number of at least 1"),
        ("hybrid", {"learner": 3}, "learner must be a gate strategy"),
        ("hybrid", {"design": "sample"}, "'sample' learns"),
        ("hybrid", {"l0_fraction": "a"}, "l0_fraction must be a number, got 'a'"),
        ("hybrid", {"random_fraction": True}, "random_fraction must be a number, got True"),
        ("cube", {"must_kep": [1]}, "'must_kep'; settings: .*balance_rows.*must_keep"),
        ("feature", {"l2": -1.0}, "not negative"),
    ],
)
def test_settings_of_strategies_are_checked_when_they_are_made(name, settings, message):
    with pytest.raises(InputError, match=message):
        get_gate(name, **settings)

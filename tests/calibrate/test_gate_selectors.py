"""Gates as selectors: hard_concrete on every backend, and any gate strategy by its name."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.checkpoint import Checkpoint
from l0_calibrate.demo import load_demo
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.selectors.base import Budget
from l0_calibrate.selectors.gate import GateSelector
from l0_calibrate.selectors.gate_loss import GateRowLoss
from l0_calibrate.selectors.gate_training import HardConcreteSelector
from l0_calibrate.solvers.base import Machine
from l0_core import GateStrategy, InputError, Selection, UnknownPluginError, get_backend, get_gate
from l0_core.plugins import plugins, registry

GATES = ("sample", "hybrid", "random", "poisson", "systematic", "sampford", "max_entropy", "cube")


def problem(seed: int = 0, m: int = 20, n: int = 300) -> CalibrationProblem:
    random = np.random.default_rng(seed)
    a = random.gamma(1.0, 1.0, (m, n)) * (random.random((m, n)) < 0.3)
    w0 = random.uniform(0.5, 2.0, n)
    loss_weights, tolerances = random.uniform(0.5, 2.0, m), np.where(np.arange(m) % 3, 0.0, 0.01)
    targets = (a @ w0) * random.uniform(0.8, 1.2, m)
    asked = CalibrationProblem(sp.csr_array(a), targets, initial_weights=w0, loss_weights=loss_weights)
    return asked.with_tolerance(tolerances)


def fitted(asked: CalibrationProblem, backend: str = "numpy", **settings: Any) -> Any:
    settings = {"steps": 200, "dtype": "float64"} | settings
    return calibrate(
        asked, keep=40, max_weight_ratio=4.0, selector="hard_concrete", backend=backend, selector_settings=settings
    )


# ---------------------------------------------------------------------- equal results, whatever computes them


@pytest.mark.parametrize("gates", ["median", "stochastic", "top_k"])
@pytest.mark.parametrize("changes", [{}, {"block_size": 64}, {"distribution": "gaussian"}])
def test_numpy_and_torch_select_and_weigh_alike(gates: str, changes: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    asked = problem()
    ours, theirs = (fitted(asked, backend, gates=gates, **changes) for backend in ("numpy", "torch"))
    assert ours.kept == theirs.kept == 40
    np.testing.assert_array_equal(ours.selection.indices, theirs.selection.indices)
    # Sums in another order, over 200 steps.
    np.testing.assert_allclose(ours.selection.scores, theirs.selection.scores, rtol=1e-6)
    # The refit is certified to the tolerance of the run on both.
    assert theirs.objective == pytest.approx(ours.objective, rel=0.01)


@pytest.mark.parametrize("backend", ["torch-cuda"])
def test_cuda_selects_alike(backend: str) -> None:
    try:
        get_backend(backend)
    except ImportError as error:
        pytest.skip(f"no CUDA device: {error}")
    ours, theirs = fitted(problem()), fitted(problem(), backend)
    np.testing.assert_array_equal(ours.selection.indices, theirs.selection.indices)
    np.testing.assert_allclose(ours.selection.scores, theirs.selection.scores, rtol=1e-6)


def autograd_scores(asked: CalibrationProblem, keep: int, ratio: float, gates: str, steps: int) -> np.ndarray:
    """The training written down anew: torch's autograd, torch's Adam, dense products, the noise of the seed."""
    torch = pytest.importorskip("torch")
    from l0_core import HardConcrete
    from l0_core.backends.numpy import NumpyBackend
    from l0_core.sparsity_control import ControlSettings, SparsityController

    w0, n = asked.initial_weights.copy(), asked.n_records
    scale = np.maximum(np.abs(asked.targets), 1.0)
    # The calibrator's scaled matrix is in single precision.
    matrix = (asked.matrix.toarray() / scale[:, None] * w0).astype(np.float32).astype(np.float64)
    a, b = torch.from_numpy(matrix), torch.from_numpy(asked.targets / scale)
    cap, zone = (torch.from_numpy(v.copy()) for v in (asked.loss_weights, asked.tolerances))
    grown = n / keep
    kappa = torch.from_numpy(3e-3 * w0**2 / (grown**2 * (w0**2).sum() * keep / n))
    rng = np.random.default_rng(0)
    law = HardConcrete(2 / 3)
    logits = float(law.log_alpha_for(0.8)) + 0.01 * rng.standard_normal(n)
    log_alpha = torch.from_numpy(logits).requires_grad_()
    log_weights = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([log_weights, log_alpha], lr=0.05)
    control: Any = None
    for step in range(steps):
        law = law.with_temperature(2 / 3 * (0.2 / (2 / 3)) ** (step / (steps - 1)))
        if gates == "stochastic":
            uniform = torch.from_numpy(NumpyBackend().uniform(rng, (n,), "float64"))
            z = law.sample(log_alpha, uniform)
        else:
            z = law.deterministic(log_alpha)
        x = log_weights.exp() * z
        loss = (cap * ((a @ x - b).abs() - zone).clamp(min=0.0)).mean()
        opened = law.open_probability(log_alpha).sum()
        if control is None:
            rule = ControlSettings(warmup=2 * steps // 3, rate=0.01, stiffness=5.0, loss_scale=float(loss.detach()))
            control = SparsityController(keep, n, rule)
        price = control.update(float(opened.detach()))
        adam.zero_grad()
        (loss + 0.5 * (kappa * x * x).sum() + price * opened).backward()
        adam.step()
        with torch.no_grad():
            low, high = law.log_alpha_for(np.array([1e-4, 0.99]))
            log_alpha.clamp_(float(low), float(high))
            log_weights.clamp_(max=float(np.log(ratio * grown)))
    return log_alpha.detach().numpy()


@pytest.mark.parametrize("gates", ["median", "stochastic"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_the_steps_are_those_of_autograd(gates: str, backend: str) -> None:
    """Equal noise, equal scores: from closed-form derivatives in the calibrator and from torch's autograd here."""
    asked = problem(1)
    expected = autograd_scores(asked, 40, 4.0, gates, 200)
    result = fitted(asked, backend, gates=gates)
    np.testing.assert_allclose(result.selection.scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loss_of_gates_is_the_price_of_rows(backend: str, dtype: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    cap, zone, curvature = (
        np.array(v) for v in zip(*itertools.product((0.5, 2.0, 1e6), (0.0, 0.1), (0.0, 0.3)), strict=True)
    )
    price = RowPrice(cap, zone, curvature)
    arrays = get_backend(backend)
    loss, xp = GateRowLoss.of(price, arrays, dtype), arrays.xp
    rounding = 1e-12 if dtype == "float64" else 1e-5
    for shift in (-1.3, -0.2, -0.05, 0.0, 0.04, 0.7, 5.0):
        targets = np.linspace(-1.0, 2.0, cap.size)
        put = [arrays.asarray(v, dtype) for v in (targets + shift, targets)]
        value, slope = loss(xp, *put)
        residual = arrays.to_numpy(put[0]).astype(float) - arrays.to_numpy(put[1]).astype(float)
        assert float(value) == pytest.approx(price.total(residual) / cap.size, rel=rounding, abs=rounding)
        step = 1e-7
        by_difference = (price.values(residual + step) - price.values(residual - step)) / (2 * step * cap.size)
        smooth = (np.abs(residual) > 1e-6) & (np.abs(np.abs(residual) - zone) > 1e-6)
        found = arrays.to_numpy(slope)[smooth]
        np.testing.assert_allclose(found, by_difference[smooth], rtol=1e-5, atol=1e-6)
        assert (arrays.to_numpy(slope)[np.abs(residual) <= 1e-12] == 0.0).all()


# ---------------------------------------------------------------------- what is asked is what happens


def test_it_selects_better_than_chance_with_every_loss() -> None:
    asked = load_demo()
    for loss in ("absolute", "squared", "huber", "capped"):
        options: dict[str, Any] = {"keep": 300, "max_weight_ratio": 5.0, "loss": loss}
        learnt = calibrate(asked, selector="hard_concrete", selector_settings={"steps": 300}, **options)
        random = calibrate(asked, selector="random", **options)
        assert learnt.kept == 300
        assert learnt.loss < 0.4 * random.loss


def test_the_price_of_a_record_is_reported_not_asked_for(tmp_path) -> None:
    result = fitted(problem())
    (note,) = result.notes
    assert "lambda" in note
    assert "expected open records" in note
    expected = float(note.split("at ")[1].split(" ")[0])
    assert expected == pytest.approx(40, abs=3)
    store = Checkpoint(tmp_path / "selection.npz", resume=True)
    options: dict[str, Any] = {"keep": 40, "selector": "hard_concrete", "selector_settings": {"steps": 20}}
    first = calibrate(problem(), checkpoint=store, **options)
    again = calibrate(problem(), checkpoint=store, **options)
    assert again.notes == first.notes
    np.testing.assert_array_equal(first.weights, again.weights)


def test_watching_and_repeating_change_nothing_and_seeds_do() -> None:
    asked, seen = problem(), []
    options: dict[str, Any] = {"keep": 40, "selector": "hard_concrete", "selector_settings": {"steps": 120}}
    state = np.random.get_state()[1].copy()
    plain, watched = calibrate(asked, **options), calibrate(asked, watch=seen.append, **options)
    assert plain.fingerprint == watched.fingerprint
    np.testing.assert_array_equal(state, np.random.get_state()[1])
    learning = [e for e in seen if e.stage == "select"]
    assert len(learning) > 50
    assert learning[-1].fraction == 1.0
    assert learning[-1].loss is not None
    other = calibrate(asked, seed=1, **options)
    assert not np.array_equal(other.selection.scores, plain.selection.scores)


def test_a_time_limit_ends_the_training_and_keeps_the_count() -> None:
    result = calibrate(
        problem(), keep=40, selector="hard_concrete", selector_settings={"steps": 10_000_000}, time_limit=0.5
    )
    assert result.kept == 40
    assert result.timings["total"] < 5.0


@pytest.mark.parametrize("name", ["hard_concrete", *GATES])
def test_must_never_and_weightless_records_are_honoured(name: str) -> None:
    asked = problem(3)
    w0 = asked.initial_weights.copy()
    w0[:20] = 0.0
    asked = CalibrationProblem(asked.matrix, asked.targets, initial_weights=w0)
    must, never = np.zeros(300, bool), np.zeros(300, bool)
    must[[20, 150, 299]] = True
    never[60:100] = True
    for flags in ({"must_keep": must, "never_keep": never}, {"never_keep": never}, {"must_keep": must}):
        result = calibrate(asked, keep=30, selector=name, **flags)
        mask = result.selection.mask
        assert result.kept == 30
        assert not mask[:20].any()
        if "must_keep" in flags:
            assert mask[must].all()
        if "never_keep" in flags:
            assert not mask[never].any()
        chances = result.selection.inclusion_probabilities
        if chances is not None:
            assert chances.sum() == pytest.approx(30)
            assert (chances[mask] > 0).all()
            assert (chances[:20] == 0).all()
            if "must_keep" in flags:
                assert (chances[must] == 1.0).all()
    everything = calibrate(asked, keep=280, selector=name)
    assert everything.kept == 280
    only = calibrate(asked, keep=3, selector=name, must_keep=must)
    np.testing.assert_array_equal(only.selection.indices, np.flatnonzero(must))


def test_a_strategy_that_gives_no_selection_is_named() -> None:
    class Broken(GateStrategy):
        is_fitted = True

        def fit(self, matrix, totals, *, reference=None):
            return self

        def select(self, data, *, keep=None, seed=None):
            return Selection(np.arange(keep), data + 1)

    asked = problem()
    budget = Budget(asked, asked.system, RowPrice.absolute(np.ones(20)), 5)
    with pytest.raises(InputError, match="Broken"):
        GateSelector(Broken()).select(budget, Machine())


# ---------------------------------------------------------------------- names, settings, errors


def test_it_is_announced_like_every_other() -> None:
    rows = {row.name: row for row in plugins() if row.kind == "selector"}
    assert rows["hard_concrete"].package == rows["prune"].package == "l0-calibrate"
    assert str(rows["hard_concrete"].state) == "ok"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gates": "soft"}, "gates"),
        ({"steps": 0}, "steps"),
        ({"block_size": 0}, "block_size"),
        ({"temperature_schedule": "sudden"}, "unknown schedule"),
        ({"start_temperature": 0.0}, "temperature"),
        ({"initial_open": 1.0}, "initial_open"),
        ({"initial_open": 0.3}, "closes every median gate"),
        ({"distribution": "cauchy"}, "cauchy"),
        ({"epochs": 3}, "no setting epochs; it has: steps"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises((InputError, ValueError, UnknownPluginError), match=words):
        calibrate(problem(), keep=10, selector="hard_concrete", selector_settings=settings)


def test_a_hard_row_is_refused_with_what_to_do() -> None:
    price = RowPrice(np.array([1.0, np.inf]), np.zeros(2), np.zeros(2))
    with pytest.raises(InputError, match="hard constraint"):
        GateRowLoss.of(price, get_backend("numpy"), "float32")


def test_an_absent_backend_says_what_installs_it(monkeypatch) -> None:
    without = {k: v for k, v in registry()._claims["backend"].items() if not k.startswith("torch")}
    monkeypatch.setitem(registry()._claims, "backend", without)
    with pytest.raises(UnknownPluginError, match="pip install l0-torch"):
        calibrate(problem(), keep=10, selector="hard_concrete", backend="torch")
    with pytest.raises(UnknownPluginError, match="pip install l0-torch"):
        HardConcreteSelector(backend="torch")
    with pytest.raises(UnknownPluginError, match="pip install l0-torch"):
        get_gate("sample", backend="torch").fit(np.eye(3), np.ones(3)).select(3, keep=1)


def test_cuda_that_is_not_there_is_named() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ImportError, match="CUDA"):
        calibrate(problem(), keep=10, selector="hard_concrete", backend="torch-cuda")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_from_the_command_line(backend: str, tmp_path) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    code = "from l0_calibrate.cli import main; main()"
    asked = problem()
    asked.save(tmp_path / "problem")
    command = [
        sys.executable, "-c", code, "fit", str(tmp_path / "problem"), "--keep", "30", "--selector", "hard_concrete",
        "--backend", backend, "--setting", "steps=60", "--setting", "gates=stochastic", "--setting", "block_size=100",
        "--out", str(tmp_path / "run"), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["kept"] == 30
    assert "lambda" in summary["notes"][0]
    assert summary["options"]["selector"] == "hard_concrete"
    assert summary["options"]["selector_settings"]["steps"] == 60


@pytest.mark.parametrize("name", ["hard_concrete", "sample", "feature", "sampford", "cube", "systematic"])
@pytest.mark.parametrize("with_must", [False, True])
def test_groups_are_kept_whole_at_the_exact_count(name: str, with_must: bool) -> None:
    asked = problem(4)
    random = np.random.default_rng(1)
    groups = random.permutation(np.repeat(np.arange(150), random.integers(1, 4, 150))[:300])
    must = np.zeros(300, bool)
    must[[7, 250]] = with_must
    flags = {"must_keep": must} if with_must else {}
    result = calibrate(asked, keep=45, selector=name, groups=groups, **flags)
    mask = result.selection.mask
    assert result.kept == 45
    assert not set(groups[mask]) & set(groups[~mask])
    assert mask[must].all()
    again = calibrate(asked, keep=45, selector=name, groups=groups, **flags)
    assert again.fingerprint == result.fingerprint


def test_gates_choose_whole_groups_better_than_chance() -> None:
    asked = load_demo()
    groups = np.random.default_rng(0).permutation(np.arange(5_000) // 2)
    options: dict[str, Any] = {"keep": 300, "max_weight_ratio": 5.0, "groups": groups}
    learnt = calibrate(asked, selector="hard_concrete", **options)
    assert learnt.loss < 0.4 * calibrate(asked, selector="random", **options).loss


def test_a_strategy_that_cannot_keep_groups_whole_says_so() -> None:
    with pytest.raises(InputError, match="HybridStrategy neither ranks"):
        calibrate(problem(), keep=40, selector="hybrid", groups=np.arange(300) // 2)


class _Lots(GateStrategy):
    """A third party's design: lots drawn for groups of two, with the chances that they have."""

    draws = True
    groups: Any = None

    def fit(self, matrix: Any, totals: Any, *, reference: Any = None) -> _Lots:
        return self

    @property
    def is_fitted(self) -> bool:
        return True

    def keep_together(self, groups: Any) -> None:
        self.groups = np.asarray(groups)

    def select(self, data: Any, *, keep: int | None = None, seed: int | None = None) -> Selection:
        assert keep is not None
        labels = np.unique(self.groups)
        drawn = np.random.default_rng(seed).choice(labels, keep // 2, replace=False)
        kept = np.flatnonzero(np.isin(self.groups, drawn))
        return Selection(kept, data, inclusion_probabilities=np.full(data, keep / data))


def test_a_design_of_a_third_party_keeps_groups_and_what_must_be_kept() -> None:
    asked = load_demo()
    groups = np.arange(asked.n_records) // 2
    must = np.zeros(asked.n_records, dtype=bool)
    must[[10, 11, 400, 401]] = True
    budget = Budget(
        asked, asked.system, RowPrice.absolute(np.ones(asked.n_targets)), 300, groups=groups, must_keep=must
    )
    chosen = GateSelector(_Lots()).select(budget, Machine(seed=3)).selection
    assert len(chosen) == 300
    assert (chosen.mask[0::2] == chosen.mask[1::2]).all()
    assert chosen.mask[must].all()
    assert chosen.inclusion_probabilities is not None
    assert (chosen.inclusion_probabilities[must] == 1.0).all()


def test_a_design_that_has_no_way_to_keep_groups_says_so() -> None:
    class Scattered(_Lots):
        keep_together = GateStrategy.keep_together

    asked = load_demo()
    budget = Budget(
        asked, asked.system, RowPrice.absolute(np.ones(asked.n_targets)), 300, groups=np.arange(asked.n_records) // 2
    )
    with pytest.raises(InputError, match="Scattered has no way to keep groups together"):
        GateSelector(Scattered()).select(budget, Machine())


def test_inclusion_probabilities_of_a_design_are_written(tmp_path):
    matrix = np.vstack((np.ones(60), np.arange(60.0)))
    problem = CalibrationProblem(matrix, matrix @ np.full(60, 2.0), initial_weights=np.linspace(1.0, 3.0, 60))
    result = calibrate(problem, keep=20, selector="sampford", seed=3)
    chances = result.to_frame()["inclusion_probability"]
    np.testing.assert_array_equal(chances, result.selection.inclusion_probabilities)
    assert chances.sum() == pytest.approx(20.0)
    result.save(tmp_path / "run")
    assert "inclusion_probability" in pd.read_parquet(tmp_path / "run" / "weights.parquet")
    assert "inclusion_probability" not in calibrate(problem, keep=20).to_frame()

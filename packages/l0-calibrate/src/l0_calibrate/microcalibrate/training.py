"""The differentiable road: Adam on log-weights, without and with gates, over a matrix or any function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.microcalibrate.settings import GateOptions, TrainingOptions
from l0_core import HardConcrete, InputError

FloatArray = npt.NDArray[np.float64]
EstimateFunction = Callable[[Any], Any]


@attrs.frozen(eq=False)
class History:
    """What was seen on the way: epochs done, loss, and estimates of all targets, of shape (logged, targets)."""

    epochs: list[int] = attrs.field(factory=list)
    losses: list[float] = attrs.field(factory=list)
    estimates: list[FloatArray] = attrs.field(factory=list)

    def add(self, epoch: int, loss: float, estimates: FloatArray) -> None:
        """One entry."""
        self.epochs.append(epoch)
        self.losses.append(loss)
        self.estimates.append(estimates)


@attrs.frozen(eq=False)
class TrainingTargets:
    """What is aimed at.

    Parameters
    ----------
    values
        Shape (targets,).
    factor
        Shape (targets,), what each counts for; it multiplies the squared error, of which the mean is taken.
    included
        Shape (all targets,), which of them take part in the loss; `values` and `factor` are theirs.
    """

    values: FloatArray
    factor: FloatArray
    included: npt.NDArray[np.bool_]

    def aim(self, loss: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(what estimates should be, what errors are divided by, what squares are multiplied with)."""
        weights = self.factor / self.values.size
        if loss == "relative":
            return self.values, np.abs(self.values) + 1.0, weights
        scales = self.values + 1.0
        if (scales == 0).any():
            i = int(np.flatnonzero(scales == 0)[0])
            raise InputError(f"target {i} is -1, where the historical loss divides by zero; take loss='relative'")
        return self.values - 1.0, scales, weights


def starting_weights(weights: FloatArray, options: TrainingOptions) -> FloatArray:
    """``weights + noise_level U``, positive, or InputError that names the first that is not."""
    start = weights + options.noise_level * np.random.default_rng(options.seed).random(weights.size)
    if (start <= 0).any():
        j = int(np.flatnonzero(start <= 0)[0])
        raise InputError(
            f"record {j} starts with the weight {start[j]:g}; a log-weight needs a positive one: "
            "leave the record out, or give a noise_level"
        )
    return start


def logged_epochs(epochs: int) -> int:
    """Epochs between entries of the history: a tenth of all."""
    return max(1, epochs // 10)


def train_on_matrix(
    columns: Any,
    targets: TrainingTargets,
    start: FloatArray,
    options: TrainingOptions,
    gates: GateOptions | None,
) -> tuple[FloatArray, History]:
    """(weights of shape (records,), history); with gates weights are 0 where the gate of evaluation is closed.

    Parameters
    ----------
    columns
        Shape (all targets, records), sparse.
    """
    import torch

    from l0_calibrate.torch_faces.training_memory import TrainingMemory
    from l0_calibrate.torch_faces.weight_training import GatedWeights, TrainingPrices, WeightProblem, train_weights

    used = columns if targets.included.all() else columns[targets.included]
    aims, scales, weights = targets.aim(options.loss)
    law, logits = _gates(gates, start.size)
    device = torch.device(options.device)
    log_weight = torch.from_numpy(np.log(start)).float().to(device)
    log_alpha = None if logits is None else torch.from_numpy(logits).float().to(device)
    model = GatedWeights(log_weight, log_alpha, law, TrainingMemory(torch.zeros(4, start.size), options.seed))
    history = History()
    epochs = options.epochs if gates is None else 2 * options.epochs
    every = logged_epochs(epochs)

    def now() -> FloatArray:
        found = np.asarray(np.exp(log_weight.double().cpu().numpy()), dtype=np.float64)
        if log_alpha is None:
            return found
        return np.asarray(found * law.deterministic(log_alpha.double().cpu().numpy()), dtype=np.float64)

    def watch(done: int) -> None:
        if done % every == 0 or done == epochs:
            estimates = columns @ now()
            errors = (estimates[targets.included] - aims) / scales
            history.add(done, float(weights @ np.square(errors)), estimates)

    watch(0)
    rate = options.learning_rate if gates is None else gates.sparse_learning_rate
    price = 0.0 if gates is None else gates.l0_lambda
    problem = WeightProblem(used, aims, scales, weights, options.batch_size)
    train_weights(model, problem, TrainingPrices(price, 0.0, rate, options.dropout_rate), epochs, watch)
    return now(), history


def train_on_function(
    function: EstimateFunction,
    targets: TrainingTargets,
    start: FloatArray,
    options: TrainingOptions,
    gates: GateOptions | None,
) -> tuple[FloatArray, History]:
    """The same by autograd, for a differentiable function of the weights, tensor to tensor."""
    import torch

    from l0_calibrate.torch_faces.training_memory import TrainingMemory

    device = torch.device(options.device)
    law, logits = _gates(gates, start.size)
    memory = TrainingMemory(torch.zeros(4, 0), options.seed)
    parameters = [torch.tensor(np.log(start), dtype=torch.float32, device=device, requires_grad=True)]
    if logits is not None:
        parameters.append(torch.tensor(logits, dtype=torch.float32, device=device, requires_grad=True))
    rate = options.learning_rate if gates is None else gates.sparse_learning_rate
    optimiser = torch.optim.Adam(parameters, lr=rate)
    aims, scales, weights = (torch.tensor(a, dtype=torch.float32, device=device) for a in targets.aim(options.loss))
    history = History()
    epochs = options.epochs if gates is None else 2 * options.epochs
    every = logged_epochs(epochs)

    def error(estimates: Any) -> Any:
        part = included_part(estimates, targets.included)
        return (weights * ((part - aims) / scales).square()).sum()

    def now() -> Any:
        found = parameters[0].exp()
        return found if logits is None else found * law.deterministic(parameters[1])

    for epoch in range(epochs + 1):
        if epoch % every == 0 or epoch == epochs:
            with torch.no_grad():
                estimates = function(now())
                history.add(epoch, float(error(estimates)), estimates.double().cpu().numpy())
        if epoch == epochs:
            break
        optimiser.zero_grad()
        shown = parameters[0].exp()
        if logits is not None:
            draws = torch.from_numpy(memory.uniform(start.size, "float32")).to(device)
            shown = shown * law.sample(parameters[1], draws)
        left = memory.shown(start.size, options.dropout_rate, "float32")
        objective = error(function(shown if left is None else shown * torch.from_numpy(left).to(device)))
        if not objective.requires_grad:
            raise InputError(
                "estimate_function gives estimates that no gradient leads from to the weights; compute them from the "
                "tensor it is given, by torch and without detach(), numpy() or item()"
            )
        if gates is not None:
            objective = objective + gates.l0_lambda * law.open_probability(parameters[1]).sum()
        objective.backward()
        optimiser.step()
        memory.advance()
    with torch.no_grad():
        return np.asarray(now().double().cpu().numpy(), dtype=np.float64), history


def tensor_of(estimates: Any) -> Any:
    """What an estimate function gave, or InputError where it is no tensor: no gradient could lead through it."""
    import torch

    if not isinstance(estimates, torch.Tensor):
        raise InputError(
            f"estimate_function must give a tensor, computed from the weights by torch; got {type(estimates).__name__}"
        )
    return estimates


def included_part(estimates: Any, included: npt.NDArray[np.bool_]) -> Any:
    """The estimates of the included targets, from a function that gives those of all, or of them alone."""
    estimates, count = tensor_of(estimates), int(included.sum())
    if estimates.ndim != 1 or len(estimates) not in (included.size, count):
        raise InputError(
            f"estimate_function must give one estimate for each of {included.size} targets"
            f"{'' if count == included.size else f' (or of the {count} included)'}, got shape {tuple(estimates.shape)}"
        )
    return estimates if len(estimates) == count else estimates[included.tolist()]


def _gates(gates: GateOptions | None, count: int) -> tuple[HardConcrete, FloatArray | None]:
    """The law, and the logits at first."""
    if gates is None:
        return HardConcrete(), None
    law = HardConcrete(gates.temperature)
    return law, np.full(count, float(law.log_alpha_for(gates.init_mean)))

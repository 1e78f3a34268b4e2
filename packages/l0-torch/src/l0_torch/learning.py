"""Learning gates together with weights on a linear system, to the count asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import numpy as np
import torch
from torch import Tensor

from l0_core.backends.checks import checked_matrix
from l0_core.column_moments import column_moments
from l0_core.errors import InputError
from l0_core.real_numbers import number, real_array
from l0_core.relative_errors import error_scale
from l0_core.sparsity_control import ControlSettings
from l0_torch.backend import TorchBackend
from l0_torch.hard_concrete import check_size
from l0_torch.sparsity_control import SparsityControl
from l0_torch.stochastic_gates import StochasticGates
from l0_torch.taking import as_matrix

Learner = TypeVar("Learner")


@attrs.frozen
class LearningSettings:
    """How long and how fast gates learn.

    Parameters
    ----------
    epochs
        Steps of Adam, each on the whole system.
    lr
        Step size of weights and logits.
    """

    epochs: int = attrs.field(default=300)
    lr: float = attrs.field(default=0.05, validator=number(0.0, "positive and finite", closed=False))

    @epochs.validator
    def _check_epochs(self, attribute: attrs.Attribute[int], value: int) -> None:
        check_size("epochs", value)


def precision(parameter: Tensor) -> str:
    """``"float32"`` or ``"float64"``, in which these parameters learn.

    Raises
    ------
    InputError
        They are in half precision, in which Adam ends in gates at infinity.
    """
    if parameter.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"gates learn in float32 or float64, these are {parameter.dtype}; call .float() before fit, and go back "
            "to half precision after it"
        )
    return str(parameter.dtype).removeprefix("torch.")


def learns(function: Callable[..., Learner]) -> Callable[..., Learner]:
    """Has gradients whatever the caller has switched off (``no_grad``, ``inference_mode``)."""

    @functools.wraps(function)
    def with_gradients(*args: Any, **kwargs: Any) -> Learner:
        with torch.inference_mode(False), torch.enable_grad():
            return function(*args, **kwargs)

    return with_gradients


def vector(values: Any, length: int, what: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The values as finite float64 of shape (length,), or InputError."""
    array = real_array(as_matrix(values), what).astype(np.float64)
    if array.shape != (length,):
        raise InputError(f"{what} must have shape ({length},), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{what}[{int(np.flatnonzero(~np.isfinite(array))[0])}] is not finite")
    return array


def _descend(gates: StochasticGates, weights: Tensor, keep: int, settings: LearningSettings, loss: Any) -> None:
    """Adam on weights and logits, with the price that brings the expected count to ``keep``."""
    control = SparsityControl(gates, keep, ControlSettings(warmup=max(1, settings.epochs // 2)))
    optimiser = torch.optim.Adam([weights, gates.logits], lr=settings.lr)
    mode = gates.training
    gates.train()
    for _ in range(settings.epochs):
        optimiser.zero_grad(set_to_none=True)
        (loss(gates()) + control.penalty()).backward()
        optimiser.step()
    gates.train(mode)


@learns
def learn_records(
    gates: StochasticGates, matrix: Any, totals: Any, reference: Any, keep: int, settings: LearningSettings
) -> None:
    """Learn which records meet the totals: mean |relative error| of gated, positive weights.

    Parameters
    ----------
    matrix
        Shape (targets, records).
    totals
        Shape (targets,).
    reference
        Shape (records,), the weights before, non-negative; None is 1 for each.
    """
    table = as_matrix(matrix)
    count = gates.logits.numel()
    if len(table.shape) != 2 or table.shape[1] != count or not table.shape[0]:
        raise InputError(f"matrix must have shape (targets, {count}) with at least one, got {tuple(table.shape)}")
    totals = vector(totals, table.shape[0], "totals")
    before = np.ones(count) if reference is None else vector(reference, count, "reference")
    if (before < 0).any() or not before.any():
        raise InputError("reference must not be negative, nor zero for every record")
    backend = TorchBackend(str(gates.logits.device))
    dtype = precision(gates.logits)
    product = backend.linear_map(table, dtype)
    scales = error_scale(totals)
    goal, scale = backend.asarray(totals / scales, dtype), backend.asarray(1.0 / scales, dtype)
    start = backend.asarray(before * (count / keep), dtype)
    log_ratio = torch.zeros(count, dtype=start.dtype, device=start.device, requires_grad=True)

    def loss(z: Tensor) -> Tensor:
        estimate = product.matvec(start * log_ratio.exp() * z.to(start.dtype)) * scale
        return (estimate - goal).abs().mean()

    _descend(gates, log_ratio, keep, settings, loss)


@learns
def learn_features(gates: StochasticGates, matrix: Any, response: Any, keep: int, settings: LearningSettings) -> None:
    """Learn which features explain the response: squared error over its variance, of a gated linear model.

    Parameters
    ----------
    matrix
        Shape (samples, features); scaled inside, so that the unit of a feature does not matter.
    response
        Shape (samples,).
    """
    table = as_matrix(matrix)
    count = gates.logits.numel()
    if len(table.shape) != 2 or table.shape[1] != count or not table.shape[0]:
        raise InputError(f"X must have shape (samples, {count}) with at least one, got {tuple(table.shape)}")
    y = vector(response, table.shape[0], "y")
    spread = float(y.std())
    if spread == 0.0:
        raise InputError("y is constant: no feature can explain it")
    backend = TorchBackend(str(gates.logits.device))
    dtype = precision(gates.logits)
    checked_matrix(table)
    means, deviations = column_moments(table)
    inverse = np.divide(1.0, deviations, out=np.zeros(count), where=deviations > 0.0)
    if isinstance(table, np.ndarray):  # centred before single precision, which would lose a spread far from zero
        table, means, inverse = (table - means) * inverse, np.zeros(count), np.ones(count)
    product = backend.linear_map(table, dtype)
    centre, unit = backend.asarray(means, dtype), backend.asarray(inverse, dtype)
    goal = backend.asarray((y - y.mean()) / spread, dtype)
    beta = product.rmatvec(goal).mul(unit).div(table.shape[0]).detach().clone().requires_grad_(True)

    def loss(z: Tensor) -> Tensor:
        weights = beta * z.to(beta.dtype) * unit
        return (product.matvec(weights) - centre @ weights - goal).square().mean()  # sparse ones stay so

    _descend(gates, beta, keep, settings, loss)

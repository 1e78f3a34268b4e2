"""Training to a number of open gates, and closing all but exactly that number at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from l0_core.errors import InputError
from l0_core.selection import check_count, top_k
from l0_core.sparsity_control import ControlSettings, SparsityController
from l0_torch.stochastic_gates import named_gates

_MARGIN = 1.0
"""Least log-odds of a gate that is made to be open: its median gate is then clearly above 0."""

CLOSED = -12.0
"""Greatest log-odds of a gate that is made to be closed: open with probability below 1e-5."""


class SparsityControl:
    """Steers a model's gates to an expected open count; the price is found, not tuned.

    In each training step add `penalty` to the loss::

        control = SparsityControl(model, keep=2_000)
        loss = task_loss + control.penalty()

    Parameters
    ----------
    model
        A module with at least one set of gates.
    keep
        The number of open gates asked for.
    settings
        See `l0_core.sparsity_control.ControlSettings`.

    Raises
    ------
    InputError
        A model without gates, or ``keep`` outside 1..gates.
    """

    def __init__(self, model: nn.Module, keep: int, settings: ControlSettings | None = None) -> None:
        self._gates = [gates for _, gates in named_gates(model)]
        if not self._gates:
            raise InputError("the model has no gates; build it from L0 layers or use gate_module")
        total = sum(gates.logits.numel() for gates in self._gates)
        self._controller = SparsityController(check_count(keep, total), total, settings)

    @property
    def price(self) -> float:
        """lambda, the current price of one open gate, in the unit of the loss (negative: a premium)."""
        return self._controller.price

    @property
    def target(self) -> int:
        """The number of open gates asked for."""
        return int(self._controller.target)

    def expected_open(self) -> Tensor:
        """The expected number of open gates, a differentiable scalar."""
        device = self._gates[0].logits.device  # a model may lie on several
        return torch.stack([gates.get_penalty().to(device) for gates in self._gates]).sum()

    def penalty(self) -> Tensor:
        """The price times the expected open count; each call is one step of the dual ascent."""
        expected = self.expected_open()
        return expected * self._controller.update(float(expected.detach()))

    def state_dict(self) -> dict[str, Any]:
        """The controller's state."""
        return dict(self._controller.state())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the state was taken."""
        self._controller.restore(state)


@torch.no_grad()
def keep_exactly(model: nn.Module, keep: int, seed: int = 0) -> None:
    """Close all but the ``keep`` gates that are most likely open, in place; ties are broken by the seed.

    Afterwards exactly ``keep`` gates of the model are open in evaluation. A gate that is to be open and
    was not gets a log-odds of at least 1; one that is to be closed an open probability below 1e-5.

    Raises
    ------
    InputError
        ``keep`` outside 1..gates.
    """
    found = [gates for _, gates in named_gates(model)]
    if not found:
        raise InputError("the model has no gates")
    scores = [gates.scores().double().reshape(-1).cpu().numpy() for gates in found]
    chosen = np.zeros(sum(s.size for s in scores), dtype=bool)
    chosen[top_k(np.concatenate(scores), keep, seed)] = True
    start = 0
    for gates, score in zip(found, scores, strict=True):
        stop = start + score.size
        opened = torch.from_numpy(chosen[start:stop]).reshape(gates.logits.shape).to(gates.logits.device)
        median, logits = gates.distribution.zero_threshold, gates.full_logits()
        # Clearly open, by the rule of evaluation too (under the paper's the threshold is another one).
        least, most = max(median, gates.opening_logit) + _MARGIN, min(median, gates.opening_logit) + CLOSED
        gates.logits.copy_(torch.where(opened, logits.clamp(min=least), logits.clamp(max=most)))
        start = stop

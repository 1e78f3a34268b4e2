"""What every gated layer has: gates in front of its weight, prices, and a plain twin."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from l0_torch.hard_concrete import HardConcrete, check_probability

Layer = TypeVar("Layer", bound=nn.Module)


def unfilled(make: Callable[[], Layer], like: Tensor) -> Layer:
    """What ``make`` makes, on the device and in the dtype of ``like``, with parameters yet to be filled.

    No random numbers are drawn for them: a look at a plain twin must not change the training that goes on.
    """
    with torch.device("meta"):
        layer = make()
    return layer.to(dtype=like.dtype).to_empty(device=like.device)


class GatedLayer(nn.Module):
    """A layer with Hard Concrete gates.

    Subclasses say where the gates are (`gates`), which numbers each of them switches off
    (`gated_parameters`), and what plain layer computes the same in evaluation (`plain`).
    """

    use_l2: bool = False

    @property
    @abstractmethod
    def gates(self) -> HardConcrete:
        """The gates of this layer."""

    @abstractmethod
    def gated_parameters(self) -> Tensor:
        """Shape (gates, parameters per gate): the numbers behind each gate."""

    @abstractmethod
    def plain(self) -> nn.Module:
        """A plain layer, independent of this one, that gives the same output in evaluation."""

    @abstractmethod
    def prune(self, closed: Tensor) -> None:
        """Set the numbers behind the gates that ``closed`` (boolean, shape of the gates) marks to zero."""

    @property
    def parameters_per_gate(self) -> int:
        """How many numbers one gate switches off."""
        return int(self.gated_parameters().shape[1])

    def get_l0_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return self.gates.get_penalty()

    def get_l2_penalty(self) -> Tensor:
        """The sum of squares of the weights, as `compute_l2_penalty` has it; 0 unless ``use_l2``.

        (The expected half sum of squares behind the gates is the penalty that is called ``"l2"``.)
        """
        if not self.use_l2:
            return self.gates.full_logits().new_zeros(())
        from l0_torch.penalties import compute_l2_penalty

        return compute_l2_penalty(self)

    def get_sparsity(self) -> float:
        """The expected share of closed gates."""
        return self.gates.get_sparsity()


class GatedWeightLayer(GatedLayer):
    """A layer with ``weight`` and ``bias`` and a gate for each weight, or for each of its outputs.

    With ``structured`` the gates (`channel_gates`) multiply whole outputs, their bias included, so that a
    closed output is exactly zero; otherwise there is one for each weight (`weight_gates`).
    """

    weight: Tensor
    bias: Tensor | None
    structured: bool

    def _add_gates(self, temperature: float, init_sparsity: float, structured: bool) -> None:
        """Make the gates; the state dict of 0.6.2 has one row for each output."""
        opened = 1.0 - check_probability("init_sparsity", init_sparsity)
        self.structured = structured
        outputs, each = self.weight.shape[0], self.weight[0].numel()
        if structured:
            self.channel_gates = HardConcrete(outputs, temperature=temperature, init_mean=opened)
        else:
            self.weight_gates = HardConcrete(outputs, each, temperature=temperature, init_mean=opened)

    @property
    def gates(self) -> HardConcrete:
        """`channel_gates` or `weight_gates`."""
        return self.channel_gates if self.structured else self.weight_gates

    def gated_parameters(self) -> Tensor:
        """Shape (gates, parameters per gate)."""
        if not self.structured:
            return self.weight.reshape(-1, 1)
        rows = self.weight.flatten(1)
        return rows if self.bias is None else torch.cat([rows, self.bias[:, None]], dim=1)

    def gated_weight(self) -> tuple[Tensor, Tensor | None]:
        """(weight, bias) behind the gates: of one draw in train mode, deterministic in eval mode."""
        return self.behind(self.gates())

    def behind(self, gates: Tensor) -> tuple[Tensor, Tensor | None]:
        """(weight, bias) behind the given gates."""
        gates = gates.to(self.weight.dtype)
        if not self.structured:
            return self.weight * gates.reshape(self.weight.shape), self.bias
        weight = self.weight * gates.reshape(-1, *[1] * (self.weight.dim() - 1))
        return weight, None if self.bias is None else self.bias * gates

    @torch.no_grad()
    def prune(self, closed: Tensor) -> None:
        """Set the weights behind the gates that ``closed`` marks to zero, a channel's bias with them."""
        if not self.structured:
            self.weight.masked_fill_(closed.reshape(self.weight.shape), 0.0)
            return
        self.weight[closed] = 0.0
        if self.bias is not None:
            self.bias[closed] = 0.0

    @torch.no_grad()
    def _filled(self, make: Callable[[], nn.Module]) -> nn.Module:
        """The plain layer that ``make`` makes, with the weights of evaluation, in this layer's mode and dtype.

        What is frozen here (``requires_grad``) is frozen there.
        """
        weight, bias = self.behind(self.gates.deterministic_gates())
        plain = unfilled(make, weight).train(self.training)
        plain.get_parameter("weight").copy_(weight).requires_grad_(self.weight.requires_grad)
        if bias is not None and self.bias is not None:
            plain.get_parameter("bias").copy_(bias).requires_grad_(self.bias.requires_grad)
        return plain

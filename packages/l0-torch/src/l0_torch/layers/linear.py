"""`L0Linear`: a linear layer with a gate for each weight or for each output."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0_torch.hard_concrete import check_size
from l0_torch.layers.base import GatedWeightLayer


class L0Linear(GatedWeightLayer):
    """Linear layer with Hard Concrete gates.

    Parameters
    ----------
    in_features, out_features, bias
        As in `torch.nn.Linear`, with its initialisation.
    temperature
        beta of the gates.
    init_sparsity
        The probability with which each gate is closed at first.
    use_l2
        Whether `get_l2_penalty` is on.
    structured
        One gate for each output (`channel_gates`) instead of one for each weight (`weight_gates`).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        use_l2: bool = False,
        *,
        structured: bool = False,
    ) -> None:
        super().__init__()
        self.in_features = check_size("in_features", in_features)
        self.out_features = check_size("out_features", out_features)
        self.use_l2 = use_l2
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.register_parameter("bias", nn.Parameter(torch.empty(out_features)) if bias else None)
        self._add_gates(temperature, init_sparsity, structured)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights as in `torch.nn.Linear`, gates as at first."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)
        self.gates.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """Shape (..., in_features) to (..., out_features)."""
        weight, bias = self.gated_weight()
        return functional.linear(input, weight, bias)

    def plain(self) -> nn.Module:
        """A `torch.nn.Linear` with the weights of evaluation."""
        return self._filled(lambda: nn.Linear(self.in_features, self.out_features, bias=self.bias is not None))

    def extra_repr(self) -> str:
        """Sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"

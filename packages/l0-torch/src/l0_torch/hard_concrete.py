"""`HardConcrete`: a vector or matrix of Hard Concrete gates as a module."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from l0_core.distributions.hard_concrete import HardConcrete as HardConcreteLaw
from l0_core.errors import InputError
from l0_core.real_numbers import is_number
from l0_core.whole_numbers import check_whole
from l0_torch.stochastic_gates import StochasticGates


def check_size(name: str, value: object) -> int:
    """The value as a size, or InputError unless it is a whole number of at least 1."""
    return check_whole(value, 1, name)


def check_probability(name: str, value: float) -> float:
    """The value, or InputError unless it lies strictly between 0 and 1."""
    if not (is_number(value) and 0.0 < value < 1.0):
        raise InputError(f"{name} must lie strictly between 0 and 1, got {value!r}")
    return float(value)


class HardConcrete(StochasticGates):
    """Hard Concrete gates (Louizos, Welling & Kingma 2018, eqs. 10-12).

    Stochastic and differentiable in train mode, deterministic in eval mode.

    Parameters
    ----------
    input_dim
        Number of gates, or of rows of gates.
    output_dim
        Number of columns of gates; ``None`` for a vector of gates.
    temperature
        beta > 0.
    stretch
        How far the concrete law is stretched beyond [0, 1] on both sides: gamma = -stretch, zeta = 1 + stretch.
    init_mean
        The probability with which every gate is open at first, strictly between 0 and 1. (At exactly 1/2 the
        median gate is 0: evaluate after training.)
    n_items
        Another name for ``input_dim``.
    rule
        The gate of evaluation: ``"median"`` (open exactly where P(open) > 1/2) or ``"paper"`` (eq. 13).
    seed
        A generator of its own for the noise; ``None`` draws from torch's as dropout does.

    Attributes
    ----------
    qz_logits
        log alpha, shape `gate_size`, the only parameter.

    Raises
    ------
    InputError
        A size below 1, a probability outside (0, 1), a temperature or stretch that is not positive.
    """

    logits_name: ClassVar[str] = "qz_logits"

    def __init__(
        self,
        input_dim: int | None = None,
        output_dim: int | None = None,
        temperature: float = 0.5,
        stretch: float = 0.1,
        init_mean: float = 0.5,
        *,
        n_items: int | None = None,
        rule: str = "median",
        seed: int | None = None,
    ) -> None:
        if (input_dim is None) == (n_items is None):
            raise InputError("give the number of gates once: input_dim, or n_items")
        sizes = [check_size("input_dim", input_dim) if n_items is None else check_size("n_items", n_items)]
        if output_dim is not None:
            sizes.append(check_size("output_dim", output_dim))
        if not (is_number(stretch) and 0.0 < stretch < math.inf):
            raise InputError(f"stretch must be positive and finite, got {stretch!r}")
        super().__init__(HardConcreteLaw(temperature, -stretch, 1.0 + stretch), rule, seed)
        self.gate_size: tuple[int, ...] = tuple(sizes)
        self.stretch = float(stretch)
        self.init_mean = check_probability("init_mean", init_mean)
        self.qz_logits = nn.Parameter(torch.empty(self.gate_size))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Every gate open with probability ``init_mean``."""
        self.qz_logits.fill_(float(self.distribution.log_alpha_for(self.init_mean)))

    def forward(self, input_shape: tuple[int, ...] | None = None) -> Tensor:
        """The gates: a draw in train mode, the deterministic ones in eval mode.

        Parameters
        ----------
        input_shape
            What the gates are to be multiplied with. Gates that match its first dimensions get trailing
            dimensions of 1; gates that match its last dimensions broadcast as they are.

        Returns
        -------
        Tensor
            Shape `gate_size`, with trailing ones for ``input_shape``.

        Raises
        ------
        InputError
            The gates match neither end of ``input_shape``.
        """
        gates = self.current_gates()
        if input_shape is None:
            return gates
        shape, size = tuple(input_shape), self.gate_size
        if shape[: len(size)] == size:
            return gates.reshape(size + (1,) * (len(shape) - len(size)))
        if shape[len(shape) - len(size) :] == size:
            return gates
        raise InputError(f"gates of shape {size} match neither the first nor the last dimensions of {shape}")

    def extra_repr(self) -> str:
        """Size and law."""
        return (
            f"gate_size={self.gate_size}, temperature={self.temperature:g}, stretch={self.stretch:g}, "
            f"init_mean={self.init_mean:g}"
        )

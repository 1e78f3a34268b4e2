"""`L0Conv1d` and `L0Conv2d`: convolutions with a gate for each weight or for each output channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0_core.errors import InputError
from l0_core.whole_numbers import is_whole
from l0_torch.hard_concrete import check_size
from l0_torch.layers.base import GatedWeightLayer

Size = int | tuple[int, ...]


def check_sizes(name: str, value: Size, dimensions: int, least: int) -> tuple[int, ...]:
    """The value as a size for each spatial dimension, or InputError unless it is one whole number, or so many."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dimensions
    if len(sizes) != dimensions or not all(is_whole(size) and size >= least for size in sizes):
        raise InputError(f"{name} must be one whole number of at least {least} or {dimensions} of them, got {value!r}")
    return tuple(int(size) for size in sizes)


def check_as_given(name: str, value: Size, dimensions: int, least: int) -> Size:
    """The value checked as by `check_sizes`: one number stays one number, as l0-python's layers hold it."""
    sizes = check_sizes(name, value, dimensions, least)
    return sizes if isinstance(value, (tuple, list)) else sizes[0]


class L0Conv(GatedWeightLayer):
    """Convolution with Hard Concrete gates; the subclasses fix the number of spatial dimensions.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, bias, dilation, groups
        As in torch's convolution of the same number of dimensions, with its initialisation; zero padding.
    temperature
        beta of the gates.
    init_sparsity
        The probability with which each gate is closed at first.
    structured
        One gate for each output channel, bias included (`channel_gates`), instead of one for each weight
        (`weight_gates`, shape (out_channels, weights of a channel)).
    use_l2
        Whether `get_l2_penalty` is on.
    """

    dimensions: ClassVar[int]
    operation: ClassVar[Callable[..., Tensor]]
    twin: ClassVar[type[nn.Conv1d] | type[nn.Conv2d]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        structured: bool = False,
        use_l2: bool = False,
        *,
        dilation: Size = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.in_channels = check_size("in_channels", in_channels)
        self.out_channels = check_size("out_channels", out_channels)
        self.groups = check_size("groups", groups)
        if in_channels % groups or out_channels % groups:
            raise InputError(
                f"groups ({groups}) must divide in_channels ({in_channels}) and out_channels ({out_channels})"
            )
        self.kernel_size = check_sizes("kernel_size", kernel_size, self.dimensions, 1)
        self.stride = check_as_given("stride", stride, self.dimensions, 1)
        self.padding = check_as_given("padding", padding, self.dimensions, 0)
        self.dilation = check_sizes("dilation", dilation, self.dimensions, 1)
        self.use_l2 = use_l2
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.register_parameter("bias", nn.Parameter(torch.empty(out_channels)) if bias else None)
        self._add_gates(temperature, init_sparsity, structured)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights as in torch's convolutions, gates as at first."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)
        self.gates.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """Shape (N, in_channels, ...) to (N, out_channels, ...), as torch's convolution."""
        weight, bias = self.gated_weight()
        return self.operation(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def plain(self) -> nn.Module:
        """torch's convolution with the weights of evaluation."""
        sizes: dict[str, Any] = {name: getattr(self, name) for name in ("kernel_size", "stride", "padding", "dilation")}
        channels = (self.in_channels, self.out_channels)
        return self._filled(lambda: self.twin(*channels, groups=self.groups, bias=self.bias is not None, **sizes))

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, structured={self.structured}"
        )


class L0Conv1d(L0Conv):
    """One-dimensional convolution with Hard Concrete gates (parameters: `L0Conv`)."""

    dimensions: ClassVar[int] = 1
    operation = staticmethod(functional.conv1d)
    twin = nn.Conv1d


class L0Conv2d(L0Conv):
    """Two-dimensional convolution with Hard Concrete gates (parameters: `L0Conv`)."""

    dimensions: ClassVar[int] = 2
    operation = staticmethod(functional.conv2d)
    twin = nn.Conv2d

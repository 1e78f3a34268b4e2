"""`L0DepthwiseConv2d`: a depthwise convolution with a gate for each channel."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0_torch.hard_concrete import HardConcrete, check_probability, check_size
from l0_torch.layers.base import GatedLayer
from l0_torch.layers.conv import Size, check_as_given, check_sizes


class L0DepthwiseConv2d(GatedLayer):
    """Depthwise convolution (one filter for each channel) with a gate for each channel, bias included.

    Parameters
    ----------
    in_channels, kernel_size, stride, padding, bias
        As in `torch.nn.Conv2d` with ``groups=in_channels``; zero padding.
    temperature
        beta of the gates.
    init_sparsity
        The probability with which each gate is closed at first.
    dilation
        As in `torch.nn.Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        *,
        dilation: int | tuple[int, int] = 1,
        use_l2: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = check_size("in_channels", in_channels)
        opened = 1.0 - check_probability("init_sparsity", init_sparsity)
        self.use_l2 = use_l2
        self.kernel_size = check_sizes("kernel_size", kernel_size, 2, 1)
        self.stride: Size = check_as_given("stride", stride, 2, 1)
        self.padding: Size = check_as_given("padding", padding, 2, 0)
        sizes: dict[str, Any] = {"kernel_size": self.kernel_size, "stride": self.stride, "padding": self.padding}
        sizes["dilation"] = check_sizes("dilation", dilation, 2, 1)
        self.depthwise_conv = nn.Conv2d(self.in_channels, self.in_channels, groups=self.in_channels, bias=bias, **sizes)
        self.channel_gates = HardConcrete(in_channels, temperature=temperature, init_mean=opened)

    @property
    def gates(self) -> HardConcrete:
        """`channel_gates`."""
        return self.channel_gates

    def gated_parameters(self) -> Tensor:
        """Shape (in_channels, weights of a filter, and its bias)."""
        conv = self.depthwise_conv
        rows = conv.weight.flatten(1)
        return rows if conv.bias is None else torch.cat([rows, conv.bias[:, None]], dim=1)

    def _behind(self, gates: Tensor) -> tuple[Tensor, Tensor | None]:
        conv = self.depthwise_conv
        gates = gates.to(conv.weight.dtype)
        return conv.weight * gates[:, None, None, None], None if conv.bias is None else conv.bias * gates

    def forward(self, input: Tensor) -> Tensor:
        """Shape (N, in_channels, H, W) to (N, in_channels, H', W')."""
        conv = self.depthwise_conv
        weight, bias = self._behind(self.channel_gates())
        return functional.conv2d(input, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

    @torch.no_grad()
    def prune(self, closed: Tensor) -> None:
        """Set the filters behind the gates that ``closed`` marks to zero, their bias with them."""
        conv = self.depthwise_conv
        conv.weight[closed] = 0.0
        if conv.bias is not None:
            conv.bias[closed] = 0.0

    @torch.no_grad()
    def plain(self) -> nn.Module:
        """A depthwise `torch.nn.Conv2d` with the weights of evaluation."""
        conv = copy.deepcopy(self.depthwise_conv)
        weight, bias = self._behind(self.channel_gates.deterministic_gates())
        conv.weight.copy_(weight)
        if conv.bias is not None and bias is not None:
            conv.bias.copy_(bias)
        return conv

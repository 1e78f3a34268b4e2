"""What may stand between two layers when channels are taken out: what it does to a constant channel, and its slice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor, nn


@attrs.frozen(eq=False)
class Constants:
    """Which channels are the same number everywhere, whatever the input is.

    Parameters
    ----------
    known
        Boolean, shape (channels,).
    values
        Shape (channels,), the number where known.
    """

    known: Tensor
    values: Tensor


class Step(ABC):
    """An operation that treats every channel by itself."""

    spatial: bool = False
    """Whether it needs channels in dimension 1 (convolutions, pooling)."""

    @abstractmethod
    def constants(self, before: Constants) -> Constants:
        """Constant channels after the operation."""

    def channels(self) -> int | None:
        """The number of channels it is made for; None for any."""
        return None

    def slice(self, kept: Tensor) -> None:
        """Leave only the channels that ``kept`` (boolean) marks."""
        return

    def modules(self) -> tuple[nn.Module, ...]:
        """The module that `slice` changes, if any."""
        return ()


@attrs.frozen(eq=False)
class Elementwise(Step):
    """A function of each number by itself."""

    function: Callable[[Tensor], Tensor]

    def constants(self, before: Constants) -> Constants:
        """The function of the constants."""
        return Constants(before.known, self.function(before.values))


@attrs.frozen(eq=False)
class Pooling(Step):
    """Pooling that gives a constant map the same constant; where it pads with zeros, only for zero."""

    pads: bool
    spatial = True

    def constants(self, before: Constants) -> Constants:
        """Unchanged, or only the zeros."""
        return Constants(before.known & (before.values == 0), before.values) if self.pads else before


def sliced_parameter(parameter: Any, index: Tensor, dim: int = 0) -> nn.Parameter | None:
    """The parameter with only the given positions of one dimension."""
    if parameter is None:
        return None
    return nn.Parameter(parameter.detach().index_select(dim, index).clone(), requires_grad=parameter.requires_grad)


@attrs.frozen(eq=False)
class Normalisation(Step):
    """Batch normalisation with running statistics."""

    module: Any

    def modules(self) -> tuple[nn.Module, ...]:
        """The module itself."""
        return (self.module,)

    def channels(self) -> int:
        """Its number of features."""
        return int(self.module.num_features)

    def constants(self, before: Constants) -> Constants:
        """The affine map of evaluation; a channel of scale 0 becomes constant."""
        norm = self.module
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean * scale if norm.bias is None else norm.bias - norm.running_mean * scale
        return Constants(before.known | (scale == 0), torch.where(before.known, before.values, 0.0) * scale + shift)

    def slice(self, kept: Tensor) -> None:
        """Keep the features."""
        norm, index = self.module, torch.nonzero(kept).flatten()
        norm.weight, norm.bias = sliced_parameter(norm.weight, index), sliced_parameter(norm.bias, index)
        norm.running_mean, norm.running_var = norm.running_mean[index], norm.running_var[index]
        norm.num_features = int(index.numel())


def pads_with_zeros(conv: Any) -> bool:
    """Whether a border of zeros enters the convolution."""
    if conv.padding_mode != "zeros":
        return False
    return conv.padding == "same" if isinstance(conv.padding, str) else any(size != 0 for size in conv.padding)


@attrs.frozen(eq=False)
class Depthwise(Step):
    """A convolution with one filter for each channel."""

    module: Any
    spatial = True

    def modules(self) -> tuple[nn.Module, ...]:
        """The module itself."""
        return (self.module,)

    def channels(self) -> int:
        """Its number of channels."""
        return int(self.module.in_channels)

    def constants(self, before: Constants) -> Constants:
        """A constant map stays one, unless padding puts a border of zeros around it."""
        conv = self.module
        rows = conv.weight.flatten(1)
        silent = (rows == 0).all(dim=1)
        stays = before.known & (before.values == 0) if pads_with_zeros(conv) else before.known
        values = torch.where(stays, before.values, 0.0) * rows.sum(dim=1)
        return Constants(stays | silent, values if conv.bias is None else values + conv.bias)

    def slice(self, kept: Tensor) -> None:
        """Keep the filters."""
        conv, index = self.module, torch.nonzero(kept).flatten()
        conv.weight, conv.bias = sliced_parameter(conv.weight, index), sliced_parameter(conv.bias, index)
        conv.in_channels = conv.out_channels = conv.groups = int(index.numel())

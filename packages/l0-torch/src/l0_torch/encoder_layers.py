"""torch's transformer layers, whose fused evaluation and inner feed-forward network need a word each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from l0_torch.layers.base import GatedLayer

_FUSED = {functional.relu: 1, functional.gelu: 2}
"""torch's codes of the activations that its fused kernel knows; 0 is any other."""


def set_fused_paths(model: nn.Module) -> None:
    """Keep gated encoder layers away from torch's fused kernel, and give it back those that have no gates.

    In evaluation without gradients `torch.nn.TransformerEncoderLayer` hands the weights of its linear layers to one
    kernel, which would not see their gates.
    """
    for layer in model.modules():
        if not isinstance(layer, nn.TransformerEncoderLayer):
            continue
        gated = any(isinstance(part, GatedLayer) for part in layer.modules())
        activation: Any = layer.activation
        known = 1 if isinstance(activation, nn.ReLU) else 2 if isinstance(activation, nn.GELU) else 0
        layer.activation_relu_or_gelu = 0 if gated else _FUSED.get(activation, known)


def feed_forwards(model: nn.Module) -> Iterator[tuple[Any, Callable[[Tensor], Tensor], Any]]:
    """(first linear layer, activation, second linear layer) inside each of torch's transformer layers.

    Those of subclasses are left out: their code can do anything with the two.
    """
    layer: Any
    for layer in model.modules():
        if type(layer) in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer):
            yield layer.linear1, layer.activation, layer.linear2

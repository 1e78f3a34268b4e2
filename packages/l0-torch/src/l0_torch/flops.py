"""Expected floating-point operations of a gated model on a given input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from l0_torch.layers.base import GatedWeightLayer
from l0_torch.layers.depthwise import L0DepthwiseConv2d

_PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d)


def expected_flops(model: nn.Module, *inputs: Any) -> Tensor:
    """Expected multiplications and additions of the linear and convolution layers, a differentiable scalar.

    Each weight costs two operations at every position where it is applied (Louizos et al. 2018, section
    4.1), times the probability that its gate is open. What an earlier layer's closed channel saves in a
    later layer is not counted: an upper bound for structured gates, exact for gates on weights.

    Parameters
    ----------
    inputs
        An example input: the number of positions depends on its shape. The model runs once on it, in eval
        mode and without gradients.
    """
    counts: list[Tensor] = []

    def count(module: nn.Module, arguments: Any, output: Tensor) -> None:
        weight = module.depthwise_conv.weight if isinstance(module, L0DepthwiseConv2d) else module.weight
        assert isinstance(weight, Tensor)
        positions = output.numel() // weight.shape[0]
        each = 2.0 * positions
        if isinstance(module, (GatedWeightLayer, L0DepthwiseConv2d)):
            gates = module.gates
            with torch.enable_grad():
                counts.append(gates.get_penalty() * (each * weight.numel() / gates.logits.numel()))
        else:
            counts.append(weight.new_tensor(each * weight.numel()))

    def counted() -> list[nn.Module]:
        inside = {id(m.depthwise_conv) for m in model.modules() if isinstance(m, L0DepthwiseConv2d)}
        kinds = (GatedWeightLayer, L0DepthwiseConv2d, *_PLAIN)
        return [m for m in model.modules() if isinstance(m, kinds) and id(m) not in inside]

    modes = {module: module.training for module in model.modules()}
    hooks = [module.register_forward_hook(count) for module in counted()]
    try:
        model.eval()
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return torch.stack(counts).sum() if counts else torch.zeros(())

"""`gate_module`: put gates into a model that exists already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import nn

from l0_core.errors import InputError
from l0_torch.encoder_layers import set_fused_paths
from l0_torch.hooks import has_hooks
from l0_torch.layers.base import GatedLayer, GatedWeightLayer
from l0_torch.layers.conv import L0Conv1d, L0Conv2d
from l0_torch.layers.embedding import L0Embedding
from l0_torch.layers.linear import L0Linear
from l0_torch.replacing import replace_modules
from l0_torch.stochastic_gates import StochasticGates


def _everywhere(path: str, module: nn.Module) -> bool:
    return True


@attrs.frozen
class GateRule:
    """Which layers get gates, and what each gate switches.

    Parameters
    ----------
    by
        ``"weight"``: a gate for each weight; ``"output"``: one for each output unit, channel or embedding
        dimension, which `compact` can take out.
    temperature
        beta of the gates.
    init_sparsity
        The probability with which each gate is closed at first.
    where
        Of (path, layer) whether the layer gets gates; every Linear, Conv1d, Conv2d and Embedding by default
        (embeddings only by output). With ``"output"`` leave out the layer that gives the model's output.
    use_l2
        Whether the layers' L2 penalty is on.
    """

    by: str = attrs.field(default="weight")
    temperature: float = 0.5
    init_sparsity: float = 0.1
    where: Callable[[str, nn.Module], bool] = attrs.field(default=_everywhere)
    use_l2: bool = False

    @by.validator
    def _check_by(self, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in ("weight", "output"):
            raise InputError(f"by must be 'weight' or 'output', got {value!r}")

    @where.validator
    def _check_where(self, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not callable(value):
            raise InputError(f"where must be a function of (path, layer), got {value!r}")


def gate_module(model: nn.Module, rule: GateRule | str = "weight") -> nn.Module:
    """Gate the layers of a model in place; their weights stay the same parameters.

    Parameters
    ----------
    model
        Layers of exactly the types Linear, Conv1d, Conv2d and Embedding are gated; others are left alone.
    rule
        A `GateRule`, or its ``by`` alone.

    Returns
    -------
    Module
        The model, or the gated layer where the model is itself a single layer.

    Raises
    ------
    InputError
        ``model`` is no module or ``rule`` none, the rule fits no layer, or a layer has hooks or a feature that no gated
        layer has (named with its path).
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a module, got {type(model).__name__}")
    settings = GateRule(by=rule) if isinstance(rule, str) else rule
    if not isinstance(settings, GateRule):
        raise InputError(f"rule must be a GateRule, 'weight' or 'output', got {rule!r}")
    gated: list[str] = []

    def make(path: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, (GatedLayer, StochasticGates)):
            return module
        if type(module) not in _MAKERS or (isinstance(module, nn.Embedding) and settings.by == "weight"):
            return None
        if not settings.where(path, module):
            return module
        if has_hooks(module):
            raise InputError(
                f"layer {path!r} has hooks, which the gated layer that takes its place would not have; register them "
                "after gating, or leave the layer out by the rule's `where`"
            )
        gated.append(path)
        return _MAKERS[type(module)](path, module, settings)

    result = replace_modules(model, make)
    set_fused_paths(result)
    if not gated:
        raise InputError(f"no layer gets a gate by {settings.by}; gateable are Linear, Conv1d, Conv2d and Embedding")
    return result


def _options(rule: GateRule) -> dict[str, Any]:
    return {"temperature": rule.temperature, "init_sparsity": rule.init_sparsity, "use_l2": rule.use_l2}


def _adopt(layer: GatedWeightLayer, source: Any, rule: GateRule) -> GatedWeightLayer:
    """Give the layer, which is on the meta device, the parameters of the source and gates of its own."""
    layer.weight = source.weight
    layer.register_parameter("bias", source.bias)
    layer._add_gates(rule.temperature, rule.init_sparsity, rule.by == "output")
    layer.gates.to(device=source.weight.device, dtype=source.weight.dtype)
    return layer.train(source.training)


def _linear(path: str, source: Any, rule: GateRule) -> nn.Module:
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        layer = L0Linear(
            source.in_features,
            source.out_features,
            source.bias is not None,
            structured=rule.by == "output",
            **_options(rule),
        )
    return _adopt(layer, source, rule)


def _conv(path: str, source: Any, rule: GateRule) -> nn.Module:
    if source.padding_mode != "zeros" or isinstance(source.padding, str):
        raise InputError(
            f"layer {path!r}: gated convolutions pad with zeros by given numbers, this one has "
            f"padding={source.padding!r}, padding_mode={source.padding_mode!r}; leave it out by the rule's `where`"
        )
    kind = L0Conv1d if isinstance(source, nn.Conv1d) else L0Conv2d
    with torch.device("meta"):
        layer = kind(
            source.in_channels,
            source.out_channels,
            source.kernel_size,
            source.stride,
            source.padding,
            source.bias is not None,
            structured=rule.by == "output",
            dilation=source.dilation,
            groups=source.groups,
            **_options(rule),
        )
    return _adopt(layer, source, rule)


def _embedding(path: str, source: Any, rule: GateRule) -> nn.Module:
    if source.max_norm is not None or source.scale_grad_by_freq or source.sparse:
        raise InputError(
            f"layer {path!r}: gated embeddings have no max_norm, scale_grad_by_freq or sparse gradients; "
            "leave it out by the rule's `where`"
        )
    return L0Embedding.around(source, **_options(rule))


_MAKERS: dict[type[nn.Module], Callable[[str, Any, GateRule], nn.Module]] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Embedding: _embedding,
}

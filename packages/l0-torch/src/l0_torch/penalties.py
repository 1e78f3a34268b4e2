"""Prices and counts over a whole model: every gate is seen, and gate logits are no weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from l0_core.penalties.base import price
from l0_torch.layers.base import GatedLayer
from l0_torch.stochastic_gates import StochasticGates, gate_logits, named_gates

_NORMALISATION = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()),
)


@attrs.frozen(eq=False)
class GateSite:
    """One set of gates in a model.

    Parameters
    ----------
    name
        Path of the gated layer, or of the gates themselves where no layer owns them.
    gates
        The gates.
    parameters_per_gate
        How many numbers one gate switches off (1 for gates that no layer owns).
    """

    name: str
    gates: StochasticGates
    parameters_per_gate: int


def gate_sites(model: nn.Module) -> list[GateSite]:
    """Every set of gates in the model, in its order."""
    owners = {id(m.gates): (name, m) for name, m in model.named_modules() if isinstance(m, GatedLayer)}
    sites = []
    for name, gates in named_gates(model):
        owner, layer = owners.get(id(gates), (name, None))
        sites.append(GateSite(owner, gates, 1 if layer is None else layer.parameters_per_gate))
    return sites


def _zero(model: nn.Module) -> Tensor:
    parameter = next(model.parameters(), None)
    return torch.zeros(()) if parameter is None else torch.zeros((), device=parameter.device)


def compute_l0_penalty(model: nn.Module) -> Tensor:
    """The expected number of open gates in the model, a scalar; 0 where it has none."""
    total = _zero(model)
    for _, gates in named_gates(model):
        total = total + gates.get_penalty().to(total.device)
    return total


def _decaying(model: nn.Module) -> Iterator[tuple[nn.Parameter, bool]]:
    """(parameter, whether weight decay is meant for it), each once: no gate logit, bias, or normalisation."""
    logits = gate_logits(model)
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen:
                continue
            seen.add(parameter)
            yield (
                parameter,
                not (parameter in logits or name.endswith("bias") or isinstance(module, _NORMALISATION)),
            )


def compute_l2_penalty(model: nn.Module) -> Tensor:
    """The sum of squares of the model's weights, a scalar; gate logits, biases and normalisation have no part."""
    total = _zero(model)
    for parameter, decays in _decaying(model):
        if decays:
            squares = (parameter.float() if parameter.dtype.itemsize < 4 else parameter).square().sum()
            total = total + squares.to(total.device)
    return total


def compute_l0l2_penalty(model: nn.Module, l0_lambda: float = 1e-3, l2_lambda: float = 1e-4) -> Tensor:
    """``l0_lambda`` times the expected open gates plus ``l2_lambda`` times the squares, a scalar."""
    gates, squares = price(l0_lambda, "l0_lambda"), price(l2_lambda, "l2_lambda")
    return gates * compute_l0_penalty(model) + squares * compute_l2_penalty(model)


def parameter_groups(model: nn.Module, weight_decay: float, **gate_options: Any) -> list[dict[str, Any]]:
    """Groups for an optimiser: weights decay; biases and normalisation do not; gate logits never do.

    Parameters
    ----------
    weight_decay
        Of the weights.
    gate_options
        Options of the group of gate logits alone, such as ``lr=0.1``.
    """
    logits = gate_logits(model)
    kinds = list(_decaying(model))
    weights = [parameter for parameter, decays in kinds if decays]
    others = [parameter for parameter, decays in kinds if not decays and parameter not in logits]
    gates = [parameter for parameter, _ in kinds if parameter in logits]
    groups = [
        {"params": weights, "weight_decay": price(weight_decay, "weight_decay")},
        {"params": others, "weight_decay": 0.0},
        {"params": gates, "weight_decay": 0.0, **gate_options},
    ]
    return [group for group in groups if group["params"]]


def get_sparsity_stats(model: nn.Module) -> dict[str, dict[str, Any]]:
    """By set of gates: expected ``sparsity``, expected ``active_params``, ``total_params`` behind the gates."""
    stats = {}
    for site in gate_sites(model):
        total = site.gates.logits.numel() * site.parameters_per_gate
        sparsity = site.gates.get_sparsity()
        stats[site.name] = {"sparsity": sparsity, "active_params": (1.0 - sparsity) * total, "total_params": total}
    return stats


def get_active_parameter_count(model: nn.Module) -> int:
    """The number of parameters behind gates that are open in evaluation."""
    return sum(site.gates.get_num_active() * site.parameters_per_gate for site in gate_sites(model))


def expected_parameters(model: nn.Module) -> Tensor:
    """The expected number of the model's parameters that are in use, a differentiable scalar.

    Gate logits are no part of it; parameters behind no gate count one each.
    """
    sites = gate_sites(model)
    logits = gate_logits(model)
    everything = sum(parameter.numel() for parameter in model.parameters() if parameter not in logits)
    layers = [m for m in model.modules() if isinstance(m, GatedLayer)]
    gated = sum(layer.gates.logits.numel() * layer.parameters_per_gate for layer in layers)
    total = _zero(model) + (everything - gated)
    owned = {id(layer.gates) for layer in layers}
    for site in sites:
        if id(site.gates) in owned:
            total = total + site.gates.get_penalty().to(total.device) * site.parameters_per_gate
    return total

"""`prune_model`: close unlikely gates for good; the model keeps its shape (see `compact` for a smaller one)."""

from __future__ import annotations

import torch
from torch import nn

from l0_torch.hard_concrete import check_probability
from l0_torch.layers.base import GatedLayer
from l0_torch.sparsity_control import CLOSED
from l0_torch.stochastic_gates import named_gates


@torch.no_grad()
def prune_model(model: nn.Module, threshold: float = 0.05) -> nn.Module:
    """Close every gate that is open with a probability below ``threshold``, in place.

    The numbers behind those gates become zero and the gates stay closed in further training. The model is left in
    eval mode, so that what it gives next is what was pruned.

    Parameters
    ----------
    threshold
        Strictly between 0 and 1.

    Returns
    -------
    Module
        The same model.
    """
    check_probability("threshold", threshold)
    layers = {id(module.gates): module for module in model.modules() if isinstance(module, GatedLayer)}
    for _, gates in named_gates(model):
        closed = gates.get_active_prob() < threshold
        layer = layers.get(id(gates))
        if layer is not None:
            layer.prune(closed)
        limit = CLOSED + min(gates.distribution.zero_threshold, gates.opening_logit)
        gates.logits.copy_(torch.where(closed, gates.full_logits().clamp(max=limit), gates.full_logits()))
    return model.eval()

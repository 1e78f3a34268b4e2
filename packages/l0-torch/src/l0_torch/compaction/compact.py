"""`compact`: a gated model as a smaller plain one with the same outputs."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from l0_torch.compaction.chains import find_chains
from l0_torch.compaction.shrink import shrink
from l0_torch.encoder_layers import set_fused_paths
from l0_torch.hooks import refuse_hooks_of_its_own, with_hooks_of
from l0_torch.layers.base import GatedLayer
from l0_torch.replacing import replace_modules


class CompactionError(RuntimeError):
    """The compact model does not give the outputs of the model it was made from."""


def compact(model: nn.Module, *example: Any) -> nn.Module:
    """A smaller plain model that gives the same outputs in evaluation.

    Every gated layer becomes its plain twin with the gates of evaluation in its weights (heads of attention
    are left out altogether). Then channels, units and embedding dimensions that are constant or that nobody
    reads are taken out of both layers they connect, what a constant one contributes goes into a bias, again
    and again until nothing is left to take. This is done wherever two Linear, Conv1d, Conv2d or Embedding
    layers follow each other with nothing between them but activations, batch normalisation, dropout,
    pooling, depthwise convolutions and flattening (found by a symbolic trace), and in the feed-forward part of
    torch's transformer layers; across sums, concatenations and anything else the shapes stay, with zeros in place.
    Hooks of a gated layer go over to its plain twin; the shapes of whatever has hooks stay as well.

    Parameters
    ----------
    model
        Is not changed.
    example
        An example input. Where it is given, both models run on it and unequal outputs are an error.

    Returns
    -------
    Module
        Independent of the model, in the same train or eval mode; works with `torch.export`.

    Raises
    ------
    CompactionError
        The outputs on ``example`` differ by more than rounding.
    InputError
        A gated layer has hooks that its plain twin cannot have (see `refuse_hooks_of_its_own`).
    """

    def make(path: str, module: nn.Module) -> nn.Module | None:
        return with_hooks_of(module, module.plain()) if isinstance(module, GatedLayer) else None

    for path, layer in model.named_modules():
        if isinstance(layer, GatedLayer):
            refuse_hooks_of_its_own(path, layer)
    with torch.no_grad():
        small = replace_modules(copy.deepcopy(model), make)
        set_fused_paths(small)
        modes = {module: module.training for module in small.modules()}
        small.eval()
        changed = True
        while changed:  # a channel that is taken out of one layer can be the last reader of one before it
            changed = False
            for chain in find_chains(small):
                changed |= shrink(chain)
        for module, mode in modes.items():
            module.training = mode
    if example:
        check_equal(model, small, *example)
    return small


def evaluated(model: nn.Module, *example: Any) -> list[Tensor]:
    """The tensors of the model's output in evaluation, without gradients; its mode stays as it was."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            leaves = pytree.tree_leaves(model(*example))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def check_equal(model: nn.Module, small: nn.Module, *example: Any) -> float:
    """The largest difference of the two models' outputs, or CompactionError where it is more than rounding."""
    largest = 0.0
    for expected, found in zip(evaluated(model, *example), evaluated(small, *example), strict=True):
        if expected.shape != found.shape:
            raise CompactionError(f"an output has shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
        difference = float((expected.double() - found.double()).abs().max()) if expected.numel() else 0.0
        # Sums in another order: some hundreds of roundings relative to the largest output.
        allowed = 1e3 * torch.finfo(expected.dtype).eps * max(1.0, float(expected.double().abs().max()))
        if not difference <= allowed:
            raise CompactionError(f"an output differs by {difference:.3g}, more than rounding ({allowed:.3g})")
        largest = max(largest, difference)
    return largest

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
    A model that cannot be traced is made smaller inside those of its children that can be, if an example is given
    that shows whether its code needs them as they were; without one, only its gates go.
    Hooks of a gated layer go over to its plain twin; the shapes of whatever has hooks stay as well. What is frozen
    (``requires_grad``) stays frozen.

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

    for path, layer in model.named_modules():
        if isinstance(layer, GatedLayer):
            refuse_hooks_of_its_own(path, layer)
    small = _smaller(model, parts=bool(example))
    if not example:
        return small
    try:
        check_equal(model, small, *example)
    except CompactionError:
        # The model cannot be traced, and its code does more with its children than call them whole.
        small = _smaller(model, parts=False)
        check_equal(model, small, *example)
    return small


@torch.no_grad()
def _smaller(model: nn.Module, *, parts: bool) -> nn.Module:
    """The compact model, unchecked; ``parts`` as in `find_chains`."""

    def make(path: str, module: nn.Module) -> nn.Module | None:
        return with_hooks_of(module, module.plain()) if isinstance(module, GatedLayer) else None

    small = replace_modules(copy.deepcopy(model), make)
    set_fused_paths(small)
    modes = {module: module.training for module in small.modules()}
    small.eval()
    changed = True
    while changed:  # a channel that is taken out of one layer can be the last reader of one before it
        changed = False
        for chain in find_chains(small, parts=parts):
            changed |= shrink(chain)
    for module, mode in modes.items():
        module.training = mode
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
    expected = evaluated(model, *example)
    if not expected:
        raise CompactionError(
            "the model's output has no tensors that can be compared; give tensors, or lists or dicts of them, or give "
            "no example"
        )
    try:
        found = evaluated(small, *example)
    except Exception as error:
        raise CompactionError(f"the compact model does not run on the example: {error}") from error
    if len(expected) != len(found):
        raise CompactionError(f"there are {len(found)} outputs instead of {len(expected)}")
    return max((_difference(a, b) for a, b in zip(expected, found, strict=True)), default=0.0)


def _difference(expected: Tensor, found: Tensor) -> float:
    """The largest difference of two outputs; infinities and NaN are equal to their like."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        raise CompactionError(
            f"an output has shape {tuple(found.shape)} and dtype {found.dtype} instead of {tuple(expected.shape)} and "
            f"{expected.dtype}"
        )
    real = expected.is_floating_point() or expected.is_complex()
    wide = torch.complex128 if expected.is_complex() else torch.float64
    one, other = expected.to(wide), found.to(wide)
    same = torch.isclose(one, other, rtol=0.0, atol=0.0, equal_nan=True)
    gaps = torch.where(same, 0.0, (one - other).abs())
    # Sums in another order: some hundreds of roundings relative to the largest output.
    sizes = torch.where(torch.isfinite(one), one, 0.0).abs()
    largest = float(sizes.max()) if sizes.numel() else 0.0
    allowed = 1e3 * torch.finfo(expected.dtype).eps * max(1.0, largest) if real else 0.0
    difference = float(gaps.max()) if gaps.numel() else 0.0
    if not difference <= allowed:
        raise CompactionError(f"an output differs by {difference:.3g}, more than rounding ({allowed:.3g})")
    return difference

"""Layers with gates on their weights, and pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0._lazy import lazy

if TYPE_CHECKING:
    from l0_torch.hard_concrete import HardConcrete
    from l0_torch.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear, SparseMLP
    from l0_torch.pruning import prune_model

__all__ = ["HardConcrete", "L0Conv2d", "L0DepthwiseConv2d", "L0Linear", "SparseMLP", "prune_model"]

if not TYPE_CHECKING:  # a checker sees the names above, and that there are no others
    __getattr__, __dir__ = lazy(
        globals(),
        {
            "l0_torch.hard_concrete": ("HardConcrete",),
            "l0_torch.layers": (
                "L0Conv2d",
                "L0DepthwiseConv2d",
                "L0Linear",
                "SparseMLP",
            ),
            "l0_torch.pruning": ("prune_model",),
        },
    )

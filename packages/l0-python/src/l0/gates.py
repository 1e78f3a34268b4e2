"""Gates on records and features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0._lazy import lazy

if TYPE_CHECKING:
    from l0_torch.gates import FeatureGate, HybridGate, L0Gate, SampleGate
    from l0_torch.hard_concrete import HardConcrete

__all__ = ["FeatureGate", "HardConcrete", "HybridGate", "L0Gate", "SampleGate"]

if not TYPE_CHECKING:  # a checker sees the names above, and that there are no others
    __getattr__, __dir__ = lazy(
        globals(),
        {
            "l0_torch.gates": (
                "FeatureGate",
                "HybridGate",
                "L0Gate",
                "SampleGate",
            ),
            "l0_torch.hard_concrete": ("HardConcrete",),
        },
    )

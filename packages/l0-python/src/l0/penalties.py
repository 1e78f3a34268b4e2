"""Prices and counts over a whole model, schedules, tracking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0._lazy import lazy

if TYPE_CHECKING:
    from l0_torch.penalties import (
        compute_l0_penalty,
        compute_l0l2_penalty,
        compute_l2_penalty,
        get_active_parameter_count,
        get_sparsity_stats,
    )
    from l0_torch.stochastic_gates import update_temperatures
    from l0_torch.temperature import TemperatureScheduler
    from l0_torch.tracking import PenaltyTracker

__all__ = [
    "PenaltyTracker",
    "TemperatureScheduler",
    "compute_l0_penalty",
    "compute_l0l2_penalty",
    "compute_l2_penalty",
    "get_active_parameter_count",
    "get_sparsity_stats",
    "update_temperatures",
]

if not TYPE_CHECKING:  # a checker sees the names above, and that there are no others
    __getattr__, __dir__ = lazy(
        globals(),
        {
            "l0_torch.penalties": (
                "compute_l0_penalty",
                "compute_l0l2_penalty",
                "compute_l2_penalty",
                "get_active_parameter_count",
                "get_sparsity_stats",
            ),
            "l0_torch.stochastic_gates": ("update_temperatures",),
            "l0_torch.temperature": ("TemperatureScheduler",),
            "l0_torch.tracking": ("PenaltyTracker",),
        },
    )

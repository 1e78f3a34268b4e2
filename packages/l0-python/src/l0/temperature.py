"""Temperature schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0._lazy import lazy

if TYPE_CHECKING:
    from l0_torch.stochastic_gates import update_temperatures
    from l0_torch.temperature import TemperatureScheduler

__all__ = ["TemperatureScheduler", "update_temperatures"]

if not TYPE_CHECKING:  # a checker sees the names above, and that there are no others
    __getattr__, __dir__ = lazy(
        globals(),
        {
            "l0_torch.stochastic_gates": ("update_temperatures",),
            "l0_torch.temperature": ("TemperatureScheduler",),
        },
    )

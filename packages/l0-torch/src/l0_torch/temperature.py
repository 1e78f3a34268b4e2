"""`TemperatureScheduler`: the schedules of l0-core by epoch."""

from __future__ import annotations

from l0_core.errors import InputError
from l0_core.schedules import schedule as make_schedule
from l0_torch.hard_concrete import check_size
from l0_torch.stochastic_gates import update_temperatures

__all__ = ["TemperatureScheduler", "update_temperatures"]


class TemperatureScheduler:
    """The temperature in each epoch, from ``initial_temp`` in the first to ``final_temp`` in the last, exactly.

    Parameters
    ----------
    initial_temp, final_temp
        Temperatures of epoch 0 and of epoch ``anneal_epochs - 1`` (and after it).
    anneal_epochs
        Number of epochs on the way.
    schedule
        ``"exponential"``, ``"linear"`` or ``"cosine"``.
    total_epochs
        Another name for ``anneal_epochs``.

    Raises
    ------
    InputError
        An unknown schedule, a temperature that is not positive, fewer than one epoch.
    """

    def __init__(
        self,
        initial_temp: float = 2.0,
        final_temp: float = 0.1,
        anneal_epochs: int | None = None,
        schedule: str = "exponential",
        *,
        total_epochs: int | None = None,
    ) -> None:
        if anneal_epochs is not None and total_epochs is not None:
            raise InputError("give the number of epochs once: anneal_epochs, or total_epochs")
        epochs = next((n for n in (anneal_epochs, total_epochs) if n is not None), 100)
        self.initial_temp = float(initial_temp)
        self.final_temp = float(final_temp)
        self.anneal_epochs = check_size("anneal_epochs", epochs)
        self.schedule = schedule
        self._curve = make_schedule(schedule, self.initial_temp, self.final_temp)

    def get_temperature(self, epoch: int) -> float:
        """The temperature in epoch 0, 1, ...; ``final_temp`` from epoch ``anneal_epochs - 1`` on."""
        return self._curve.at_epoch(epoch, self.anneal_epochs)

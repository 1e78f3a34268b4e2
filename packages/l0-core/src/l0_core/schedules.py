"""Temperature schedules: pure functions of progress that reach their end exactly."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import attrs

from l0_core.errors import InputError


def _positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{attribute.name} must be a positive finite temperature, got {value!r}")


@attrs.frozen
class TemperatureSchedule(ABC):
    """The temperature (beta) at a fraction of the way from ``start`` to ``end``."""

    start: float = attrs.field(converter=float, validator=_positive)
    end: float = attrs.field(converter=float, validator=_positive)

    @abstractmethod
    def _between(self, progress: float) -> float:
        """The temperature strictly inside the way."""

    def at(self, progress: float) -> float:
        """The temperature at ``progress``: ``start`` at 0 (and before), ``end`` at 1 (and after), both exactly."""
        if math.isnan(progress):
            raise InputError("progress is NaN; give a number from 0 to 1")
        if progress <= 0.0:
            return self.start
        if progress >= 1.0:
            return self.end
        return self._between(progress)

    def at_epoch(self, epoch: int, epochs: int) -> float:
        """The temperature in epoch 0, 1, ..., epochs - 1: the first has ``start``, the last has ``end``."""
        if epochs < 1:
            raise InputError(f"epochs must be at least 1, got {epochs}")
        return self.at(1.0 if epochs == 1 else epoch / (epochs - 1))


@attrs.frozen
class LinearSchedule(TemperatureSchedule):
    """``start + (end - start) p``."""

    def _between(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


@attrs.frozen
class ExponentialSchedule(TemperatureSchedule):
    """``start (end / start)^p``: the same factor in every step."""

    def _between(self, progress: float) -> float:
        return self.start * math.pow(self.end / self.start, progress)


@attrs.frozen
class CosineSchedule(TemperatureSchedule):
    """``end + (start - end) (1 + cos(pi p)) / 2``: flat at both ends (Loshchilov & Hutter 2017, eq. 5)."""

    def _between(self, progress: float) -> float:
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * progress))


_SCHEDULES: dict[str, Callable[[float, float], TemperatureSchedule]] = {
    "linear": LinearSchedule,
    "exponential": ExponentialSchedule,
    "cosine": CosineSchedule,
}


def schedule(name: str, start: float, end: float) -> TemperatureSchedule:
    """The schedule of that name; an unknown one is refused here, not epochs later."""
    try:
        return _SCHEDULES[name](start, end)
    except KeyError:
        raise InputError(f"unknown schedule {name!r}; known: {', '.join(sorted(_SCHEDULES))}") from None

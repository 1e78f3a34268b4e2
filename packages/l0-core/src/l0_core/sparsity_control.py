"""A price on open gates that adapts until the expected number of them is the one asked for."""

from __future__ import annotations

import math

import attrs

from l0_core.errors import InputError
from l0_core.whole_numbers import whole


@attrs.frozen
class ControlSettings:
    """How the controller moves.

    The defaults were chosen on a classifier of digits (2 %, 15 % and 40 % of its gates, on weights and on
    units, Adam with steps of 0.05 on the logits): the count ends within 3 % of the one asked for.

    Parameters
    ----------
    warmup
        Steps in which the target goes, by equal factors, from the count at the start to the count asked
        for, so that gates close in the order of what they contribute and not all at once.
    rate
        Step of the dual ascent after the warm-up: how much the multiplier rises in a step in which the count
        is e times too large.
    stiffness
        The immediate part of the price for the same excess; it damps the dual ascent.
    loss_scale
        Size of the loss that the gates are traded against; prices are in its unit.
    """

    warmup: int = attrs.field(default=200, validator=whole(0))
    rate: float = attrs.field(default=0.05, converter=float)
    stiffness: float = attrs.field(default=20.0, converter=float)
    loss_scale: float = attrs.field(default=1.0, converter=float)

    @rate.validator
    @stiffness.validator
    @loss_scale.validator
    def _check_positive(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{attribute.name} must be positive and finite, got {value}")


class SparsityController:
    r"""Dual ascent on the constraint ``log(expected open count / target) = 0``.

    The Lagrangian of ``min loss  s.t.  log(c / K) = 0`` with multiplier lambda and an augmented term
    ``rho / 2 log(c / K)^2`` has, per open gate, the price

    .. math:: p = \frac{s}{c} \Big(\lambda + \rho \log\frac{c}{K}\Big), \qquad
              \lambda \leftarrow \lambda + \eta \log\frac{c}{K}

    with s the scale of the loss. The logarithm makes the rule the same for 1 % and for 90 % of the gates,
    and for a hundred gates and a million. A negative price pays gates to open. Pure floats: any library's
    gates can be steered with it (Louizos et al. 2018 with the price as multiplier; the ascent is that of
    Gallego-Posada et al. 2022, "Controlled sparsity via constrained optimization").

    Parameters
    ----------
    target
        The expected number of open gates asked for, above 0 and at most ``total``.
    total
        Number of gates.
    settings
        See `ControlSettings`.

    Raises
    ------
    InputError
        A target outside its range.
    """

    def __init__(self, target: float, total: int, settings: ControlSettings | None = None) -> None:
        if not (math.isfinite(target) and 0 < target <= total):
            raise InputError(f"target must be above 0 and at most the number of gates, {total}; got {target}")
        self.target = float(target)
        self.total = int(total)
        self.settings = ControlSettings() if settings is None else settings
        self.multiplier = 0.0
        self.price = 0.0
        self.steps = 0
        self._start = 0.0

    def update(self, expected_open: float) -> float:
        """The price of an open gate in this step, given the expected number of open gates now.

        Add ``price * expected open count`` to the loss, with the price as a constant.

        Raises
        ------
        InputError
            A count that is not positive and finite.
        """
        if not (math.isfinite(expected_open) and expected_open > 0):
            raise InputError(f"the expected number of open gates must be positive and finite, got {expected_open}")
        if self.steps == 0:
            self._start = expected_open
        self.steps += 1
        excess = math.log(expected_open / self.current_target)
        settings = self.settings
        if self.steps > settings.warmup:  # the lag behind a moving target is no reason for a higher price after it
            self.multiplier += settings.rate * excess
        self.price = settings.loss_scale / expected_open * (self.multiplier + settings.stiffness * excess)
        return self.price

    @property
    def current_target(self) -> float:
        """The target of the latest step: on the way during the warm-up, the one asked for after it."""
        progress = 1.0 if self.settings.warmup == 0 else min(1.0, self.steps / self.settings.warmup)
        if progress >= 1.0 or self._start <= 0.0:
            return self.target
        return float(self._start * (self.target / self._start) ** progress)

    def state(self) -> dict[str, float]:
        """What `restore` needs to go on exactly."""
        return {
            "multiplier": self.multiplier,
            "price": self.price,
            "steps": float(self.steps),
            "start": self._start,
        }

    def restore(self, state: dict[str, float]) -> None:
        """Go on where `state` was taken; InputError where something of it is missing or is no finite number."""
        for name in self.state():
            value = state.get(name) if isinstance(state, dict) else None
            if isinstance(value, bool) or not isinstance(value, float | int) or not math.isfinite(value):
                raise InputError(
                    f"the state of a sparsity control must have a finite number as {name!r}, got {value!r}"
                )
        self.multiplier, self.price = state["multiplier"], state["price"]
        self.steps, self._start = int(state["steps"]), state["start"]

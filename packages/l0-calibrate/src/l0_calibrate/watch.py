"""How a run is watched: events out, nothing back in."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen
class Progress:
    """One event of a run.

    ``stage`` is ``"select"``, ``"refit"``, ``"fit"``, ``"exchange"`` or ``"bound"`` (the fit of all records
    behind a dense bound); ``fraction`` the part of the stage that is done as far as it is known; ``loss`` the
    mean |relative error| where a selector speaks, the objective a target (with the spread) where a solver does (None
    before the first evaluation); ``gap`` the certified relative gap where there is one; ``kept`` the number of
    records in play; ``seconds`` since the stage, or a fit of it, began; ``domain`` which of several problems in one
    call it is about (``"state CA, 5 of 51"``, ``"replicate 3 of 80"``), empty where there is one.
    """

    stage: str
    iteration: int
    fraction: float
    loss: float | None
    gap: float | None
    kept: int
    seconds: float
    domain: str = ""


Watch = Callable[[Progress], None]
"""Called with each event. What it returns is ignored and it cannot change the run; an exception stops it."""


def watch_of_domain(watch: Watch | None, domain: str) -> Watch | None:
    """A watch that says of each event which domain it is about, before what the event says of it itself."""
    if watch is None:
        return None
    return lambda event: watch(attrs.evolve(event, domain=f"{domain}, {event.domain}" if event.domain else domain))


def unwatched(_event: Progress) -> None:
    """Watch nothing."""

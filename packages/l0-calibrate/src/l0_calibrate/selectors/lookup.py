"""A selector by name: the calibrator's own kind first, then any gate strategy that is installed."""

from __future__ import annotations

import inspect
from typing import Any

from l0_calibrate.problem.labels import meant
from l0_calibrate.selectors.base import Selector
from l0_calibrate.selectors.gate import GateSelector
from l0_calibrate.solvers.base import Machine
from l0_core import InputError, UnknownPluginError
from l0_core.plugins import registry


def selector_named(name: str, settings: dict[str, Any], machine: Machine) -> Selector:
    """The selector of that name; a gate strategy is one through `GateSelector`.

    A strategy is built with the settings, and with the run's ``seed`` and ``backend`` where it takes them.

    Raises
    ------
    UnknownPluginError
        Neither a selector nor a gate strategy has the name.
    InputError
        A backend other than numpy was asked of a strategy that takes none, or a setting it does not know.
    """
    names = registry()
    kind = "selector" if names.has("selector", name) else "gate"
    if kind == "gate" and not names.has("gate", name):
        near = meant(name, [*names.names("selector"), *names.names("gate")])
        raise UnknownPluginError(
            f"unknown selector {name!r}{near}; selectors: {', '.join(names.names('selector'))}; "
            f"gate strategies: {', '.join(names.names('gate')) or 'none'}"
        )
    factory = names.factory(kind, name)
    parameters = inspect.signature(factory).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    unknown = sorted(set(settings) - set(parameters))
    if unknown and not open_ended:
        raise InputError(
            f"selector {name!r} has no setting {', '.join(key + meant(key, list(parameters)) for key in unknown)}; "
            f"it has: {', '.join(parameters) or 'none'}"
        )
    given = dict(settings)
    if "seed" in parameters:
        given.setdefault("seed", machine.seed)
    if "backend" in parameters:
        given.setdefault("backend", machine.backend)
    elif kind == "gate" and machine.backend != "numpy":
        raise InputError(f"gate strategy {name!r} takes no backend; leave out backend={machine.backend!r}")
    built = names.get(kind, name, **given)
    return built if kind == "selector" else GateSelector(built)

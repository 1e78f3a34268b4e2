"""Typed doors to the registry for the kinds of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from l0_core.plugins.records import PluginInfo
from l0_core.plugins.registry import registry

if TYPE_CHECKING:
    from l0_core.backends.base import Backend
    from l0_core.distributions.base import GateDistribution
    from l0_core.gates import GateStrategy
    from l0_core.penalties.base import Penalty


def get_backend(name: str, **settings: Any) -> Backend:
    """The backend of that name, e.g. ``"numpy"``, ``"torch"``, ``"torch-cuda"`` (errors: `Registry.factory`)."""
    return cast("Backend", registry().get("backend", name, **settings))


def get_distribution(name: str, **settings: Any) -> GateDistribution:
    """The gate distribution of that name, e.g. ``get_distribution("hard_concrete", temperature=0.5)``."""
    return cast("GateDistribution", registry().get("distribution", name, **settings))


def get_gate(name: str, **settings: Any) -> GateStrategy:
    """The gate strategy of that name, e.g. ``get_gate("sample", target_samples=1000)``."""
    return cast("GateStrategy", registry().get("gate", name, **settings))


def get_penalty(name: str, **settings: Any) -> Penalty:
    """The penalty of that name with its settings, e.g. ``get_penalty("l0", weight=1e-3)``."""
    return cast("Penalty", registry().get("penalty", name, **settings))


def plugins() -> list[PluginInfo]:
    """Every installed plugin and every fault: kind, name, package, version, state."""
    return registry().plugins()

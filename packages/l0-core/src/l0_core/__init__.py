"""L0 core: the interfaces, the gate mathematics, the NumPy backend and the plugin registry."""

from l0_core._version import __version__
from l0_core.backends.base import Backend, LinearMap
from l0_core.distributions.base import GateDistribution
from l0_core.distributions.hard_concrete import HardConcrete
from l0_core.errors import (
    BrokenPluginError,
    InputError,
    MissingDependencyError,
    NotFittedError,
    PluginConflictError,
    UnknownPluginError,
    UntrainedWarning,
)
from l0_core.gates import GateStrategy
from l0_core.penalties.base import Penalty
from l0_core.plugins import (
    PluginInfo,
    PluginKind,
    PluginRecord,
    PluginState,
    get_backend,
    get_distribution,
    get_gate,
    get_penalty,
    hookimpl,
    hookspec,
    plugins,
)
from l0_core.schedules import TemperatureSchedule
from l0_core.selection import Selection

__all__ = [
    "Backend",
    "BrokenPluginError",
    "GateDistribution",
    "GateStrategy",
    "HardConcrete",
    "InputError",
    "LinearMap",
    "MissingDependencyError",
    "NotFittedError",
    "Penalty",
    "PluginConflictError",
    "PluginInfo",
    "PluginKind",
    "PluginRecord",
    "PluginState",
    "Selection",
    "TemperatureSchedule",
    "UnknownPluginError",
    "UntrainedWarning",
    "__version__",
    "get_backend",
    "get_distribution",
    "get_gate",
    "get_penalty",
    "hookimpl",
    "hookspec",
    "plugins",
]

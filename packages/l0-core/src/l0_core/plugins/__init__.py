"""How extensions come in: hooks, records and the registry."""

from l0_core.plugins.hooks import hookimpl, hookspec
from l0_core.plugins.lookup import get_backend, get_distribution, get_gate, get_penalty, plugins
from l0_core.plugins.records import PluginInfo, PluginKind, PluginRecord, PluginState
from l0_core.plugins.registry import Registry, registry

__all__ = [
    "PluginInfo",
    "PluginKind",
    "PluginRecord",
    "PluginState",
    "Registry",
    "get_backend",
    "get_distribution",
    "get_gate",
    "get_penalty",
    "hookimpl",
    "hookspec",
    "plugins",
    "registry",
]

"""The hook specifications of the core (pluggy project ``l0``, entry-point group ``l0``).

A plugin is a module (or object) named by an entry point of group ``l0`` that implements any of
these with ``@l0_core.hookimpl``. Every hook takes no argument and returns an iterable of
`PluginRecord`; the built-ins of our own packages come in by the same hooks.

A hook that another package specifies (``l0_solvers`` of l0-calibrate, say) is implemented with
``@l0_core.hookimpl(optionalhook=True)`` so that the plugin is sound without that package too.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from l0_core.plugins.records import PluginKind, PluginRecord

PROJECT = "l0"
ENTRY_POINT_GROUP = "l0"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class CoreHooks:
    """Hooks of l0-core."""

    @hookspec
    def l0_kinds(self) -> Iterable[tuple[PluginKind, object]]:  # type: ignore[empty-body]
        """Further kinds of plugin, each with the object whose ``@hookspec`` specifies its hook."""

    @hookspec
    def l0_backends(self) -> Iterable[PluginRecord]:  # type: ignore[empty-body]
        """Array backends (`l0_core.Backend`)."""

    @hookspec
    def l0_distributions(self) -> Iterable[PluginRecord]:  # type: ignore[empty-body]
        """Gate distributions (`l0_core.GateDistribution`)."""

    @hookspec
    def l0_gates(self) -> Iterable[PluginRecord]:  # type: ignore[empty-body]
        """Gate strategies (`l0_core.GateStrategy`)."""

    @hookspec
    def l0_penalties(self) -> Iterable[PluginRecord]:  # type: ignore[empty-body]
        """Penalties (`l0_core.Penalty`)."""


CORE_KINDS = (
    PluginKind(
        "backend",
        "l0_backends",
        "l0_core.backends.base:Backend",
        {"numpy": "l0-core", "torch": "l0-torch", "torch-cuda": "l0-torch"},
    ),
    PluginKind(
        "distribution",
        "l0_distributions",
        "l0_core.distributions.base:GateDistribution",
        {"hard_concrete": "l0-core", "gaussian": "l0-core", "straight_through": "l0-core"},
    ),
    PluginKind(
        "gate",
        "l0_gates",
        "l0_core.gates:GateStrategy",
        dict.fromkeys(
            ("sample", "feature", "hybrid", "random", "poisson", "systematic", "sampford", "max_entropy", "cube"),
            "l0-gates",
        ),
    ),
    PluginKind(
        "penalty",
        "l0_penalties",
        "l0_core.penalties.base:Penalty",
        {"l0": "l0-core", "l2": "l0-core", "l0l2": "l0-core"},
    ),
)

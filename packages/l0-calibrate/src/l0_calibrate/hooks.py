"""The kinds of plugin that the calibrator adds to the core's: losses, selectors, solvers."""

from __future__ import annotations

from collections.abc import Iterable

from l0_core.plugins import PluginKind, PluginRecord, hookspec


class CalibrateHooks:
    """Hooks of l0-calibrate, implemented with ``@l0_core.hookimpl(optionalhook=True)`` by third parties."""

    @hookspec
    def l0_losses(self) -> Iterable[PluginRecord]:  # type: ignore[empty-body]
        """Losses (`l0_calibrate.losses.Loss`)."""

    @hookspec
    def l0_selectors(self) -> Iterable[PluginRecord]:  # type: ignore[empty-body]
        """Selectors (`l0_calibrate.selectors.Selector`)."""

    @hookspec
    def l0_solvers(self) -> Iterable[PluginRecord]:  # type: ignore[empty-body]
        """Solvers (`l0_calibrate.solvers.Solver`)."""


KINDS = (
    PluginKind("loss", "l0_losses", "l0_calibrate.losses.base:Loss"),
    PluginKind("selector", "l0_selectors", "l0_calibrate.selectors.base:Selector"),
    PluginKind("solver", "l0_solvers", "l0_calibrate.solvers.base:Solver"),
)

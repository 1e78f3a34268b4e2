"""What this package brings. L0 imports this module alone, and the others when their names are asked for."""

from __future__ import annotations

from l0_core import PluginRecord, hookimpl


@hookimpl
def l0_distributions() -> list[PluginRecord]:
    """Distributions of this package."""
    return [PluginRecord("logistic", "l0_plugin_example.distribution:LogisticGate", "a clipped logistic variable")]


@hookimpl
def l0_penalties() -> list[PluginRecord]:
    """Penalties of this package."""
    return [PluginRecord("undecided", "l0_plugin_example.penalty:Undecided", "the variance of open or closed")]


@hookimpl
def l0_gates() -> list[PluginRecord]:
    """Gate strategies of this package."""
    return [
        PluginRecord(
            "contribution",
            "l0_plugin_example.gate:ContributionStrategy",
            "keeps the records that contribute most to the totals",
            requires=("scipy",),
        )
    ]


# What follows is l0-calibrate's to ask for: optional, so that this package is sound without it.


@hookimpl(optionalhook=True)
def l0_losses() -> list[PluginRecord]:
    """Losses of this package."""
    target = "l0_plugin_example.calibration:StandardErrorLoss"
    return [PluginRecord("standard_error", target, "absolute beyond the sampling error", requires=("l0-calibrate",))]


@hookimpl(optionalhook=True)
def l0_selectors() -> list[PluginRecord]:
    """Selectors of this package."""
    target = "l0_plugin_example.calibration:HeaviestSelector"
    return [PluginRecord("heaviest", target, "the largest initial weights", requires=("l0-calibrate",))]


@hookimpl(optionalhook=True)
def l0_solvers() -> list[PluginRecord]:
    """Solvers of this package."""
    target = "l0_plugin_example.calibration:LinearProgramSolver"
    return [PluginRecord("linear_program", target, "SciPy's HiGHS", requires=("l0-calibrate",))]

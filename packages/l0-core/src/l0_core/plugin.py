"""What l0-core itself brings, announced by the hooks that everyone uses."""

from __future__ import annotations

from l0_core.plugins.hooks import hookimpl
from l0_core.plugins.records import PluginRecord


@hookimpl
def l0_backends() -> list[PluginRecord]:
    """Backends of l0-core."""
    return [PluginRecord("numpy", "l0_core.backends.numpy:NumpyBackend", "NumPy and scipy.sparse on the CPU")]


@hookimpl
def l0_distributions() -> list[PluginRecord]:
    """Distributions of l0-core."""
    return [
        PluginRecord(
            "hard_concrete",
            "l0_core.distributions.hard_concrete:HardConcrete",
            "stretched and clipped binary concrete (Louizos, Welling & Kingma 2018)",
        ),
        PluginRecord(
            "gaussian",
            "l0_core.distributions.gaussian:GaussianGate",
            "clipped normal stochastic gates (Yamada et al. 2020)",
        ),
        PluginRecord(
            "straight_through",
            "l0_core.distributions.straight_through:StraightThrough",
            "hard 0/1 gates with a straight-through gradient (Bengio et al. 2013)",
        ),
    ]


@hookimpl
def l0_penalties() -> list[PluginRecord]:
    """Penalties of l0-core."""
    return [
        PluginRecord("l0", "l0_core.penalties.l0:L0", "expected number of open gates"),
        PluginRecord("l2", "l0_core.penalties.l2:L2", "expected half sum of squares of gated weights"),
        PluginRecord("l0l2", "l0_core.penalties.combined:l0l2", "both"),
    ]

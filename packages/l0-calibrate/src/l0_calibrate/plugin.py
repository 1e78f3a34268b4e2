"""What l0-calibrate brings: three kinds of plugin, and its own losses, selectors and solvers."""

from __future__ import annotations

from l0_calibrate.hooks import KINDS, CalibrateHooks
from l0_core.plugins import PluginKind, PluginRecord, hookimpl


@hookimpl
def l0_kinds() -> list[tuple[PluginKind, object]]:
    """Losses, selectors, solvers."""
    specs = CalibrateHooks()
    return [(kind, specs) for kind in KINDS]


@hookimpl
def l0_losses() -> list[PluginRecord]:
    """Losses of l0-calibrate."""
    return [
        PluginRecord("absolute", "l0_calibrate.losses.absolute:AbsoluteLoss", "mean |relative error| (the default)"),
        PluginRecord("squared", "l0_calibrate.losses.squared:SquaredLoss", "mean squared relative error"),
        PluginRecord("huber", "l0_calibrate.losses.huber:HuberLoss", "squared up to delta, absolute beyond"),
        PluginRecord("capped", "l0_calibrate.losses.capped:CappedLoss", "absolute, counted up to a level only"),
    ]


@hookimpl
def l0_selectors() -> list[PluginRecord]:
    """Selectors of l0-calibrate."""
    return [
        PluginRecord(
            "prune", "l0_calibrate.selectors.prune:PruneSelector", "gradual pruning by contribution (the default)"
        ),
        PluginRecord("exchange", "l0_calibrate.selectors.exchange:ExchangeSelector", "prune, then exchange in rounds"),
        PluginRecord(
            "hard_concrete",
            "l0_calibrate.selectors.gate_training:HardConcreteSelector",
            "Hard Concrete gates and log-weights trained together, on any backend",
        ),
        PluginRecord("random", "l0_calibrate.selectors.random:RandomSelector", "a simple random sample: the baseline"),
    ]


@hookimpl
def l0_solvers() -> list[PluginRecord]:
    """Solvers of l0-calibrate."""
    return [
        PluginRecord(
            "primal_dual", "l0_calibrate.solvers.primal_dual:PrimalDualSolver", "restarted primal-dual, certified gap"
        ),
        PluginRecord(
            "interior_point",
            "l0_calibrate.solvers.interior_point:InteriorPointSolver",
            "block-arrow interior point, gaps of 0.1 % and better",
        ),
        PluginRecord(
            "coordinate_descent",
            "l0_calibrate.solvers.coordinate_descent:CoordinateDescentSolver",
            "one ratio at a time, extrapolated; for the squared loss and Huber's",
        ),
    ]

"""Pictures of a result (matplotlib, extra ``[report]``), drawn without touching pyplot's global state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from l0_calibrate.result.tables import RunTables

_BEFORE, _AFTER, _GUIDE = "#b0b7bf", "#0b6e99", "#c0392b"
_FLOOR = 1e-4  # errors below a hundredth of a per cent are drawn there: the axis is logarithmic
_CEILING = 10.0  # and above 1000 % there


def _errors(axes: Axes, before: np.ndarray, after: np.ndarray) -> None:
    """Each target's |relative error| before against after, both on logarithmic axes."""
    x, y = (np.clip(np.abs(e), _FLOOR, _CEILING) for e in (before, after))
    better = y <= x
    axes.plot([_FLOOR, _CEILING], [_FLOOR, _CEILING], color=_BEFORE, lw=1, zorder=1)
    axes.scatter(x[better], y[better], s=14, color=_AFTER, alpha=0.6, lw=0, label=f"closer ({int(better.sum())})")
    axes.scatter(x[~better], y[~better], s=14, color=_GUIDE, alpha=0.7, lw=0, label=f"farther ({int((~better).sum())})")
    axes.axhline(0.1, color=_GUIDE, lw=0.8, ls=":", label="10 %")
    axes.set(xscale="log", yscale="log", xlim=(_FLOOR, _CEILING), ylim=(_FLOOR, _CEILING))
    axes.set_xlabel("|relative error| with the initial weights")
    axes.set_ylabel("|relative error| after calibration")
    axes.set_title("Each target, before and after (below 0.01 % at the edge)")
    axes.legend(loc="upper left", frameon=False)


def _sorted_errors(axes: Axes, before: np.ndarray, after: np.ndarray) -> None:
    share = np.arange(1, before.size + 1) / before.size
    for errors, colour, label in ((before, _BEFORE, "initial"), (after, _AFTER, "calibrated")):
        at = np.sort(np.clip(np.abs(errors), _FLOOR, _CEILING))
        axes.step(at, share, where="post", color=colour, lw=2, label=label)
    axes.axvline(0.1, color=_GUIDE, lw=0.8, ls=":")
    axes.set(xscale="log", xlim=(_FLOOR, _CEILING), ylim=(0, 1.02))
    axes.set_xlabel("|relative error|")
    axes.set_ylabel("share of targets at most that far off")
    axes.set_title("Targets met")
    axes.legend(loc="lower right", frameon=False)


def _ratios(axes: Axes, ratios: np.ndarray, bound: float | None, label: str) -> None:
    low = max(float(ratios.min()), 1e-3) if ratios.size else 1.0  # there may be no weight at all
    high = max(float(ratios.max(initial=0.0)), low * 1.01, bound or 0.0)
    edges = np.geomspace(low * 0.98, high * 1.02, 40)
    axes.hist(np.clip(ratios, edges[0], edges[-1]), bins=list(edges), color=_AFTER, alpha=0.85)
    axes.axvline(1.0, color=_BEFORE, lw=1)
    if bound is not None:
        axes.axvline(bound, color=_GUIDE, lw=1, ls="--", label=f"bound {bound:g}")
        axes.legend(frameon=False)
    axes.set(xscale="log")
    # Within two powers of ten matplotlib would name every minor tick, one over the other.
    subs = (1.0, 2.0, 5.0) if edges[-1] < 100 * edges[0] else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
    axes.set_ylabel("kept records")
    axes.set_title(f"Weight ratios of {ratios.size:,} records")


def overview_figure(run: RunTables) -> Figure:
    """Errors of the targets before and after, and the distribution of the weight ratios."""
    before, after = run.errors_before, run.errors_after
    ratios = run.records["ratio"].to_numpy()
    d = run.diagnostics
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    _errors(left, before, after)
    _sorted_errors(middle, before, after)
    options = run.summary["options"]
    bound = options.get("max_weight_ratio", options.get("upper"))
    _ratios(right, ratios[(ratios > 0) & np.isfinite(ratios)], bound, run.ratio)
    negative = int((ratios < 0).sum())
    if negative:  # GREG's, which no logarithm has
        right.set_title(f"{right.get_title()}, {negative:,} negative ones left out")
    figure.suptitle(
        f"{d.kept:,} of {ratios.size:,} records, {after.size:,} targets: "
        f"loss {d.loss:.4f}, ESS {d.ess:,.0f}, largest ratio {d.max_ratio:.3g}"
    )
    return figure


def overview(run: RunTables, path: Path) -> Path:
    """Write `overview_figure` as a PNG."""
    overview_figure(run).savefig(path, dpi=120)
    return path


def frontier_picture(frame: pd.DataFrame, path: Path) -> Path:
    """Loss, effective sample size and largest ratio against records kept, as a PNG."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (("loss", "mean |relative error|"), ("ess", "effective sample size"), ("max_ratio", "largest ratio"))
    for axes, (column, label) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.plot(frame["keep"], frame[column], color=_AFTER, marker="o")
        axes.set(xscale="log", xlabel="records kept", ylabel=label)
        axes.set_ylim(0, 1.08 * float(frame[column].max()))
        axes.set_xticks(list(frame["keep"]), [f"{k:,}" for k in frame["keep"]], rotation=30)
        axes.minorticks_off()
    figure.savefig(path, dpi=120)
    return path

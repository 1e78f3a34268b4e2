"""`PenaltyTracker`: named series of numbers, their statistics, a CSV file and a plot."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from l0_core.errors import InputError


class PenaltyTracker:
    """What was logged in training, by name, in order.

    Attributes
    ----------
    history
        The series themselves, by name; one that is not there yet is empty.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = defaultdict(list)

    def log(self, name: str, value: float | Tensor) -> None:
        """Append a number (a tensor of one element will do) to the series of that name."""
        self.history[name].append(float(value.detach() if isinstance(value, Tensor) else value))

    @property
    def names(self) -> list[str]:
        """Names of the series, in the order of their first entry."""
        return list(self.history)

    def get_history(self, name: str) -> list[float]:
        """A copy of the series; empty for a name that was never logged."""
        return list(self.history.get(name, ()))

    def get_stats(self, name: str) -> dict[str, float]:
        """``mean``, ``std`` (of the population), ``min``, ``max``, ``last``; empty for a name never logged."""
        values = self.history.get(name)
        if not values:
            return {}
        series = np.asarray(values)
        return {
            "mean": float(series.mean()),
            "std": float(series.std()),
            "min": float(series.min()),
            "max": float(series.max()),
            "last": float(series[-1]),
        }

    def clear(self) -> None:
        """Forget everything."""
        self.history.clear()

    def save_to_csv(self, filepath: str | os.PathLike[str]) -> None:
        """One column for each series, one row for each entry; shorter series end in empty cells.

        The file is written whole or not at all.
        """
        target = Path(filepath)
        rows = max((len(series) for series in self.history.values()), default=0)
        partial = target.with_name(target.name + ".partial")
        try:
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(self.history)
                for i in range(rows):
                    writer.writerow([repr(s[i]) if i < len(s) else "" for s in self.history.values()])
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def plot_history(self, metrics: list[str] | None = None, save_path: str | os.PathLike[str] | None = None) -> Any:
        """Plot the named series (all by default) one below another; the matplotlib figure is returned.

        Parameters
        ----------
        metrics
            Names of series.
        save_path
            Where to save the picture; without it, the figure is shown (``matplotlib.pyplot.show``).

        Raises
        ------
        InputError
            A name that was never logged, or nothing to plot.
        MissingDependencyError
            matplotlib is not installed.
        """
        names = self.names if metrics is None else list(metrics)
        unknown = [name for name in names if name not in self.history]
        if unknown or not names:
            known = ", ".join(self.names) or "none"
            raise InputError(f"nothing was logged as {', '.join(unknown) or 'anything'}; logged: {known}")
        try:
            from matplotlib import pyplot
            from matplotlib.figure import Figure
        except ImportError as error:
            from l0_core.errors import MissingDependencyError

            raise MissingDependencyError("plot_history needs matplotlib: pip install matplotlib") from error
        make = pyplot.figure if save_path is None else Figure  # pyplot keeps and shows the figures that it made
        figure = make(figsize=(7.0, 2.4 * len(names)), layout="constrained")
        for axis, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
            axis.plot(self.history[name])
            axis.set_ylabel(name)
        figure.axes[-1].set_xlabel("entry")
        if save_path is None:
            pyplot.show()
        else:
            figure.savefig(save_path, dpi=150)
        return figure

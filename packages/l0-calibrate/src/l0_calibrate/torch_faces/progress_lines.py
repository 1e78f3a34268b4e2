"""What ``verbose=True`` prints: computed from the gates of evaluation, so that looking changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from l0_core.relative_errors import error_scale

if TYPE_CHECKING:
    from l0_calibrate.torch_faces.sparse_calibration import SparseCalibrationWeights
    from l0_calibrate.torch_faces.weight_training import TrainingPrices, WeightProblem

_EDGES = (0.01, 0.1, 1.0, 10.0, 1000.0)


class ProgressLines:
    """Prints a line every so many epochs of one `fit` call.

    Parameters
    ----------
    model, problem, prices
        What is fitted.
    every
        Epochs between lines.
    """

    def __init__(
        self, model: SparseCalibrationWeights, problem: WeightProblem, prices: TrainingPrices, every: int
    ) -> None:
        self._model, self._problem, self._prices, self._every = model, problem, prices, every

    def begin(self, groups: Any | None, normalize: bool) -> None:
        """Say how targets are grouped."""
        if groups is None:
            print("targets are not grouped")
        else:
            print(f"{np.unique(np.asarray(groups)).size} groups of targets, normalised: {'yes' if normalize else 'no'}")

    @torch.no_grad()
    def after(self, epochs: int) -> None:
        """Print where it is due."""
        if epochs % self._every:
            return
        model, problem = self._model, self._problem
        gaps = model.predict(problem.matrix).double().cpu().numpy() - problem.targets
        # Told relative to the target whatever the loss is; where a target is smaller than 1, in its own unit.
        relative = np.abs(gaps) / error_scale(problem.targets)
        loss = float(problem.weights @ np.square(gaps / problem.scales))
        loss += self._prices.gate * float(model.get_l0_penalty()) + self._prices.square * float(model.get_l2_penalty())
        values = model.get_active_weights()["values"].double().cpu().numpy()
        kept, total = values.size, model.n_features
        print(
            f"epoch {epochs:>6}: mean |relative error| {relative.mean():.4%}, largest {relative.max():.4%}, "
            f"objective {loss:.6g}, kept {kept} of {total} ({1 - kept / total:.2%} zero)"
        )
        if kept:
            counts = np.histogram(values, bins=[0.0, *_EDGES, np.inf])[0]
            names = ["<0.01", "0.01-0.1", "0.1-1", "1-10", "10-1000", ">1000"]
            shares = ", ".join(f"{name}: {count / kept:.1%}" for name, count in zip(names, counts, strict=True))
            print(f"              weights [{shares}]")

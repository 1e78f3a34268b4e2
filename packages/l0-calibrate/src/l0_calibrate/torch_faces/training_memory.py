"""What a training must remember to go on as if it had never stopped."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from l0_core import InputError
from l0_core.backends.numpy import NumpyBackend
from l0_core.selection import check_seed

_KEYS = ("moments", "steps", "epochs", "seed", "jittered")


@attrs.define(eq=False)
class TrainingMemory:
    """Adam's moments and the place in the stream of gate noise.

    Parameters
    ----------
    moments
        Shape (4, items): first and second moments of log-weights, then of ``log_alpha``.
    seed
        Of the noise. The draws of epoch t are a function of (seed, t) alone, so that nothing that is drawn
        for looking at the model can shift them.
    steps
        Steps that the moments have seen; 0 after a reset of the optimiser.
    epochs
        Epochs since the model was made.
    jittered
        Whether the noise on the first log-weights has been added.
    """

    moments: Tensor
    seed: int
    steps: int = 0
    epochs: int = 0
    jittered: bool = False

    def like(self, parameter: Tensor) -> Tensor:
        """The moments, moved to where the parameter is, with its dtype."""
        self.moments = self.moments.to(device=parameter.device, dtype=parameter.dtype)
        return self.moments

    def reset_optimizer(self) -> None:
        """Forget the moments; the noise goes on."""
        self.moments = torch.zeros_like(self.moments)
        self.steps = 0

    def advance(self) -> None:
        """One epoch was done."""
        self.steps += 1
        self.epochs += 1

    def uniform(self, count: int, dtype: str) -> npt.NDArray[Any]:
        """The draws of the epoch that comes next, shape (count,), strictly inside (0, 1)."""
        return NumpyBackend().uniform(self._generator(0), (count,), dtype)

    def shown(self, count: int, dropout: float, dtype: str) -> npt.NDArray[Any] | None:
        """What the weights count for in the epoch that comes next: 0 or ``1 / (1 - dropout)``; None without dropout."""
        if dropout == 0.0:
            return None
        kept = self._generator(1).random(count) >= dropout
        return (kept / (1.0 - dropout)).astype(dtype)

    def _generator(self, stream: int) -> np.random.Generator:
        key = np.random.SeedSequence(self.seed).generate_state(2, np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, stream, self.epochs]))

    def state(self) -> dict[str, Any]:
        """A copy as plain tensors and numbers, which `torch.save` writes and ``weights_only`` reads."""
        return {
            "moments": self.moments.detach().clone(),
            "steps": self.steps,
            "epochs": self.epochs,
            "seed": self.seed,
            "jittered": self.jittered,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], items: int) -> TrainingMemory:
        """The inverse of `state`.

        Raises
        ------
        InputError
            A key is missing, or the moments are those of another number of items.
        """
        missing = [key for key in _KEYS if key not in state]
        if missing:
            raise InputError(f"the training state lacks {', '.join(missing)}")
        moments = state["moments"]
        if tuple(moments.shape) != (4, items):
            raise InputError(f"the training state is one of {moments.shape[-1]} items, the model has {items}")
        return cls(
            moments.detach().clone(),
            check_seed(state["seed"]),
            int(state["steps"]),
            int(state["epochs"]),
            bool(state["jittered"]),
        )

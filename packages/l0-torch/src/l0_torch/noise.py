"""Where the noise of gates comes from: torch's generator as for dropout, or one of the gate's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from l0_core.selection import check_seed
from l0_torch.backend import open_uniform


class NoiseSource:
    """Uniform draws for one set of gates.

    Parameters
    ----------
    seed
        A whole number from 0 to 2**63 - 1: draws come from generators of its own, one for each device, and nothing
        else is touched. ``None``: draws come from torch's generator of the device, as those of `torch.nn.Dropout` do.

    Notes
    -----
    Copies and pickles go on where the original stood, draw for draw. A state dict has no part of it: keep `noise_state`
    beside it where a run must go on from a checkpoint bit for bit. Activation checkpointing
    (`torch.utils.checkpoint`) restores torch's generators before it computes again, and none of these: use it
    without a seed. `torch.compile` cannot take a generator into a graph: with a seed it breaks the graph at each draw
    (equal numbers, no ``fullgraph=True``), without one it does not.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = None if seed is None else check_seed(seed)
        self._generators: dict[str, torch.Generator] = {}
        self._states: dict[str, npt.NDArray[np.uint8]] = {}

    def uniform(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Draws strictly inside (0, 1)."""
        return open_uniform(shape, dtype, device, self._generator(device))

    def _generator(self, device: torch.device) -> torch.Generator | None:
        if self.seed is None:
            return None
        key = str(device)
        if key not in self._generators:
            generator = torch.Generator(device=device).manual_seed(self.seed)
            if key in self._states:
                generator.set_state(torch.from_numpy(self._states.pop(key)))
            self._generators[key] = generator
        return self._generators[key]

    def state_dict(self) -> dict[str, Any]:
        """The seed, and for each device the state of its generator as a byte tensor."""
        kept = self.__getstate__()
        return {"seed": kept["seed"], "states": {key: torch.tensor(value) for key, value in kept["states"].items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the state was taken."""
        states = {key: value.cpu().numpy() for key, value in state["states"].items()}
        self.__setstate__({"seed": state["seed"], "states": states})

    def __getstate__(self) -> dict[str, Any]:
        # A torch.Generator does not pickle; its state does. As an array: `torch.load` would move a tensor to the
        # device of its map_location, where no generator takes it.
        now = {key: generator.get_state().numpy() for key, generator in self._generators.items()}
        return {"seed": self.seed, "states": self._states | now}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Generators are made where they are used: this machine need not have every device of the other.
        self.seed, self._generators, self._states = state["seed"], {}, dict(state["states"])

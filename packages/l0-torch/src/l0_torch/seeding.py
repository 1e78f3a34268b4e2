"""Noise of a whole model that can be repeated: seeds, and where the draws stand at a checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from l0_core import InputError
from l0_core.selection import check_seed
from l0_torch.stochastic_gates import named_gates


def seed_gates(model: nn.Module, seed: int) -> None:
    """Give each set of gates a generator of its own, with seeds derived from ``seed`` in the order of the model."""
    found = [gates for _, gates in named_gates(model)]
    for gates, child in zip(found, np.random.SeedSequence(check_seed(seed)).spawn(len(found)), strict=True):
        gates.seed_noise(int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def noise_state(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Where the noise of each set of gates stands, by its path in the model.

    A state dict has the numbers of a model alone. With this beside it (and the optimiser's), a run whose gates have
    seeds goes on from a checkpoint bit for bit. Gates without a seed draw from torch's generators, whose state is
    `torch.get_rng_state`.

    Returns
    -------
    Plain values and byte tensors on the CPU, as `torch.load` takes them with ``weights_only=True``.
    """
    return {name: gates.noise.state_dict() for name, gates in named_gates(model)}


def load_noise_state(model: nn.Module, state: dict[str, dict[str, Any]]) -> None:
    """Let the noise of each set of gates go on where `noise_state` was taken.

    Raises
    ------
    InputError
        A state of other gates, or that is none; the model is left as it was.
    """
    found = dict(named_gates(model))
    if not isinstance(state, dict) or found.keys() != state.keys():
        given = sorted(state) if isinstance(state, dict) else state
        raise InputError(f"the state is of the noise of {given}, the model has gates at {sorted(found)}")
    for name, of_gates in state.items():
        if not _is_state(of_gates):
            raise InputError(f"the state of the noise of {name!r} is none that noise_state gives")
    for name, of_gates in state.items():
        found[name].noise.load_state_dict(of_gates)


def _is_state(state: Any) -> bool:
    """Whether a generator can go on from it, or the noise of no seed; at its next draw it would be too late to ask."""
    if not isinstance(state, dict) or state.keys() != {"seed", "states"} or not isinstance(state["states"], dict):
        return False
    try:
        if state["seed"] is not None:
            check_seed(state["seed"])
        for key, value in state["states"].items():
            if value.dtype != torch.uint8 or value.ndim != 1:
                return False
            if torch.device(key).type == "cpu":  # other devices may be those of another machine
                torch.Generator().set_state(value.cpu())
    except (InputError, RuntimeError, TypeError, AttributeError):
        return False
    return True

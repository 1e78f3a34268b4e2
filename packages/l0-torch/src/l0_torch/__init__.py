"""L0 on torch: backends, Hard Concrete modules, gated layers, penalties, sparsity control, pruning, compaction.

Names are imported when they are asked for, so that ``import l0_torch`` itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from l0_torch._version import __version__

if TYPE_CHECKING:
    from l0_torch.backend import CudaUnavailableError, TorchBackend, TorchCudaBackend
    from l0_torch.compaction import CompactionError, SizeReport, compact, size_report
    from l0_torch.flops import expected_flops
    from l0_torch.gates import FeatureGate, HybridGate, L0Gate, SampleGate
    from l0_torch.gating import GateRule, gate_module
    from l0_torch.hard_concrete import HardConcrete
    from l0_torch.layers import (
        GatedLayer,
        L0Conv1d,
        L0Conv2d,
        L0DepthwiseConv2d,
        L0Embedding,
        L0Linear,
        L0MultiheadAttention,
        MultiheadAttention,
        SparseMLP,
    )
    from l0_torch.penalties import (
        compute_l0_penalty,
        compute_l0l2_penalty,
        compute_l2_penalty,
        expected_parameters,
        get_active_parameter_count,
        get_sparsity_stats,
        parameter_groups,
    )
    from l0_torch.pruning import prune_model
    from l0_torch.seeding import load_noise_state, noise_state, seed_gates
    from l0_torch.sparse import SparseL0Linear
    from l0_torch.sparsity_control import SparsityControl, keep_exactly
    from l0_torch.stochastic_gates import StochasticGates, update_temperatures
    from l0_torch.temperature import TemperatureScheduler
    from l0_torch.tracking import PenaltyTracker

_HOMES = {
    "backend": ("CudaUnavailableError", "TorchBackend", "TorchCudaBackend"),
    "compaction": ("CompactionError", "SizeReport", "compact", "size_report"),
    "flops": ("expected_flops",),
    "gates": ("FeatureGate", "HybridGate", "L0Gate", "SampleGate"),
    "gating": ("GateRule", "gate_module"),
    "hard_concrete": ("HardConcrete",),
    "layers": (
        "GatedLayer",
        "L0Conv1d",
        "L0Conv2d",
        "L0DepthwiseConv2d",
        "L0Embedding",
        "L0Linear",
        "L0MultiheadAttention",
        "MultiheadAttention",
        "SparseMLP",
    ),
    "penalties": (
        "compute_l0_penalty",
        "compute_l0l2_penalty",
        "compute_l2_penalty",
        "expected_parameters",
        "get_active_parameter_count",
        "get_sparsity_stats",
        "parameter_groups",
    ),
    "pruning": ("prune_model",),
    "seeding": ("load_noise_state", "noise_state", "seed_gates"),
    "sparse": ("SparseL0Linear",),
    "sparsity_control": ("SparsityControl", "keep_exactly"),
    "stochastic_gates": ("StochasticGates", "update_temperatures"),
    "temperature": ("TemperatureScheduler",),
    "tracking": ("PenaltyTracker",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CompactionError",
    "CudaUnavailableError",
    "FeatureGate",
    "GateRule",
    "GatedLayer",
    "HardConcrete",
    "HybridGate",
    "L0Conv1d",
    "L0Conv2d",
    "L0DepthwiseConv2d",
    "L0Embedding",
    "L0Gate",
    "L0Linear",
    "L0MultiheadAttention",
    "MultiheadAttention",
    "PenaltyTracker",
    "SampleGate",
    "SizeReport",
    "SparseL0Linear",
    "SparseMLP",
    "SparsityControl",
    "StochasticGates",
    "TemperatureScheduler",
    "TorchBackend",
    "TorchCudaBackend",
    "__version__",
    "compact",
    "compute_l0_penalty",
    "compute_l0l2_penalty",
    "compute_l2_penalty",
    "expected_flops",
    "expected_parameters",
    "gate_module",
    "get_active_parameter_count",
    "get_sparsity_stats",
    "keep_exactly",
    "load_noise_state",
    "noise_state",
    "parameter_groups",
    "prune_model",
    "seed_gates",
    "size_report",
    "update_temperatures",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

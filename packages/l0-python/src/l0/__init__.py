"""L0: which few records, features or weights matter, and what weight each one carries.

The names of l0-python over l0-core, l0-torch, l0-gates and l0-calibrate. Nothing is implemented here, and
``import l0`` costs nothing: a name is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0._lazy import lazy
from l0._version import __version__ as __version__

if TYPE_CHECKING:
    from l0 import calibration as calibration
    from l0 import distributions as distributions
    from l0 import gates as gates
    from l0 import hard_concrete as hard_concrete
    from l0 import layers as layers
    from l0 import penalties as penalties
    from l0 import sparse as sparse
    from l0 import temperature as temperature
    from l0_calibrate.torch_faces.sparse_calibration import SparseCalibrationWeights
    from l0_torch.gates import FeatureGate, HybridGate, L0Gate, SampleGate
    from l0_torch.hard_concrete import HardConcrete
    from l0_torch.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear, SparseMLP
    from l0_torch.penalties import (
        compute_l0_penalty,
        compute_l0l2_penalty,
        compute_l2_penalty,
        get_active_parameter_count,
        get_sparsity_stats,
    )
    from l0_torch.pruning import prune_model
    from l0_torch.sparse import SparseL0Linear
    from l0_torch.stochastic_gates import update_temperatures
    from l0_torch.temperature import TemperatureScheduler
    from l0_torch.tracking import PenaltyTracker

__all__ = [
    "FeatureGate",
    "HardConcrete",
    "HybridGate",
    "L0Conv2d",
    "L0DepthwiseConv2d",
    "L0Gate",
    "L0Linear",
    "PenaltyTracker",
    "SampleGate",
    "SparseCalibrationWeights",
    "SparseL0Linear",
    "SparseMLP",
    "TemperatureScheduler",
    "compute_l0_penalty",
    "compute_l0l2_penalty",
    "compute_l2_penalty",
    "get_active_parameter_count",
    "get_sparsity_stats",
    "prune_model",
    "update_temperatures",
]

if not TYPE_CHECKING:  # a checker sees the names above, and that there are no others
    __getattr__, __dir__ = lazy(
        globals(),
        {
            "l0_calibrate.torch_faces.sparse_calibration": ("SparseCalibrationWeights",),
            "l0_torch.gates": (
                "FeatureGate",
                "HybridGate",
                "L0Gate",
                "SampleGate",
            ),
            "l0_torch.hard_concrete": ("HardConcrete",),
            "l0_torch.layers": (
                "L0Conv2d",
                "L0DepthwiseConv2d",
                "L0Linear",
                "SparseMLP",
            ),
            "l0_torch.penalties": (
                "compute_l0_penalty",
                "compute_l0l2_penalty",
                "compute_l2_penalty",
                "get_active_parameter_count",
                "get_sparsity_stats",
            ),
            "l0_torch.pruning": ("prune_model",),
            "l0_torch.sparse": ("SparseL0Linear",),
            "l0_torch.stochastic_gates": ("update_temperatures",),
            "l0_torch.temperature": ("TemperatureScheduler",),
            "l0_torch.tracking": ("PenaltyTracker",),
        },
        ("calibration", "distributions", "gates", "hard_concrete", "layers", "penalties", "sparse", "temperature"),
    )

"""l0-calibrate: weights for survey records that meet thousands of totals, on exactly as many records as asked for.

Names are imported when they are asked for, so that ``import l0_calibrate`` itself costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from l0_calibrate._version import __version__

if TYPE_CHECKING:
    from l0_calibrate.calibrate import calibrate
    from l0_calibrate.checkpoint import Checkpoint
    from l0_calibrate.domains import calibrate_domains
    from l0_calibrate.frontier import calibrate_path, path_frame
    from l0_calibrate.holdouts import hold_out
    from l0_calibrate.microcalibrate import (
        Calibration,
        evaluate_estimate_distance_to_targets,
        evaluate_holdout_robustness,
        evaluate_sparse_weights,
        log_performance_over_epochs,
        metrics,
        reweight,
        tune_l0_hyperparameters,
    )
    from l0_calibrate.options import Options
    from l0_calibrate.problem import (
        CalibrationProblem,
        Target,
        balance_targets,
        choose_targets,
        preflight,
        target_template,
    )
    from l0_calibrate.replicates import calibrate_replicates
    from l0_calibrate.result import CalibrationResult, diagnose
    from l0_calibrate.reuse import kept_ids, reuse_selection
    from l0_calibrate.survey import calibrate_survey, exactness, survey_calibrate
    from l0_calibrate.torch_faces import SparseCalibrationWeights
    from l0_calibrate.watch import Progress

_HOMES = {
    "calibrate": ("calibrate",),
    "checkpoint": ("Checkpoint",),
    "domains": ("calibrate_domains",),
    "frontier": ("calibrate_path", "path_frame"),
    "holdouts": ("hold_out",),
    "microcalibrate": (
        "Calibration",
        "evaluate_estimate_distance_to_targets",
        "evaluate_holdout_robustness",
        "evaluate_sparse_weights",
        "log_performance_over_epochs",
        "metrics",
        "reweight",
        "tune_l0_hyperparameters",
    ),
    "options": ("Options",),
    "problem": (
        "CalibrationProblem",
        "Target",
        "balance_targets",
        "choose_targets",
        "preflight",
        "target_template",
    ),
    "replicates": ("calibrate_replicates",),
    "result": ("CalibrationResult", "diagnose"),
    "reuse": ("kept_ids", "reuse_selection"),
    "survey": ("calibrate_survey", "exactness", "survey_calibrate"),
    "torch_faces": ("SparseCalibrationWeights",),
    "watch": ("Progress",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Calibration",
    "CalibrationProblem",
    "CalibrationResult",
    "Checkpoint",
    "Options",
    "Progress",
    "SparseCalibrationWeights",
    "Target",
    "__version__",
    "balance_targets",
    "calibrate",
    "calibrate_domains",
    "calibrate_path",
    "calibrate_replicates",
    "calibrate_survey",
    "choose_targets",
    "diagnose",
    "evaluate_estimate_distance_to_targets",
    "evaluate_holdout_robustness",
    "evaluate_sparse_weights",
    "exactness",
    "hold_out",
    "kept_ids",
    "log_performance_over_epochs",
    "metrics",
    "path_frame",
    "preflight",
    "reuse_selection",
    "reweight",
    "survey_calibrate",
    "target_template",
    "tune_l0_hyperparameters",
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


class _Package(ModuleType):
    """The package, whose attribute ``calibrate`` is the function, also after the module of that name was imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "calibrate" and isinstance(value, ModuleType):
            value = value.calibrate
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

"""L0 gates: strategies that learn and select an exact count, sampling designs, L0 coordinate descent.

Names are imported when they are asked for, so that the registry can list the strategies without scipy and numba.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from l0_gates._version import __version__

if TYPE_CHECKING:
    from l0_gates.feature import FeatureStrategy
    from l0_gates.hybrid import HybridStrategy
    from l0_gates.sample import SampleStrategy

_HOME_OF = {"FeatureStrategy": "feature", "HybridStrategy": "hybrid", "SampleStrategy": "sample"}

__all__ = ["FeatureStrategy", "HybridStrategy", "SampleStrategy", "__version__"]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

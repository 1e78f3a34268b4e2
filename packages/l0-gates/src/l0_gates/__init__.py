"""L0 gates: strategies that learn and select an exact count, sampling designs, L0 coordinate descent."""

from l0_gates._version import __version__
from l0_gates.feature import FeatureStrategy
from l0_gates.hybrid import HybridStrategy
from l0_gates.sample import SampleStrategy

__all__ = ["FeatureStrategy", "HybridStrategy", "SampleStrategy", "__version__"]

"""l0-calibrate."""
from l0_calibrate._version import __version__

__all__ = ["__version__"]

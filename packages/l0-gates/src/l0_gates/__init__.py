"""l0-gates."""

from l0_gates._version import __version__

__all__ = ["__version__"]

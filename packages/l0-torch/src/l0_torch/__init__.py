"""l0-torch."""

from l0_torch._version import __version__

__all__ = ["__version__"]

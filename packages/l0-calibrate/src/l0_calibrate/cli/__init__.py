"""The command line: one file a command."""

from l0_calibrate.cli.app import main

__all__ = ["main"]

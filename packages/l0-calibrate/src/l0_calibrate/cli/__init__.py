"""The command line: one file a command."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def main() -> None:
    """Run the command line; to be interrupted is no fault, also while its parts are still being imported."""
    try:
        from l0_calibrate.cli.app import main as run
    except KeyboardInterrupt:
        print("interrupted: nothing was begun", file=sys.stderr)
        sys.exit(INTERRUPTED)
    run()

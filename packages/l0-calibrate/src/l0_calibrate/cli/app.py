"""``l0-calibrate``: the commands together, and what an error looks like."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from l0_calibrate.cli import INTERRUPTED
from l0_calibrate.cli.check import check
from l0_calibrate.cli.demo import demo
from l0_calibrate.cli.evaluate import evaluate
from l0_calibrate.cli.fit import fit
from l0_calibrate.cli.frontier import frontier
from l0_calibrate.cli.holdout import holdout
from l0_calibrate.cli.plugins import plugins
from l0_calibrate.cli.report import report
from l0_calibrate.cli.survey import survey
from l0_calibrate.cli.template import template
from l0_core import InputError, UnknownPluginError
from l0_core.errors import BrokenPluginError, MissingDependencyError, PluginConflictError

_CommandLineError: Any = typer.BadParameter.__mro__[2]
"""What a wrong option raises: click's ClickException, from click or from the copy that newer typer carries."""

BAD_INPUT = 2
AT_FAULT = 70
"""A fault of L0 or of a plugin (``EX_SOFTWARE``): scripts must not take it for weights that are not good."""
TERMINATED = 143

app = typer.Typer(
    name="l0-calibrate",
    help="Pick the few records that matter and the weight each one carries, so that weighted sums hit official totals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        from l0_calibrate._version import __version__

        typer.echo(f"l0-calibrate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Exit codes: 0 done, 1 done but the answer is not good (infeasible, findings that are errors), 2 bad input."""


for command in (demo, template, check, fit, frontier, survey, evaluate, holdout, report, plugins):
    app.command()(command)


@contextmanager
def _terminations() -> Iterator[list[int]]:
    """A request to end (a scheduler's, ``timeout``'s) stops a run as Ctrl-C does; the list says whether one came."""
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main() -> None:
    """Run the command line; an error of the input is one clear message, not a traceback."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    came: list[int] = []
    try:
        with _terminations() as came:
            code = app(standalone_mode=False, obj=tuple(sys.argv[1:]))
    except (InputError, UnknownPluginError, PluginConflictError, MissingDependencyError, BrokenPluginError) as error:
        errors.print(f"[bold red]error:[/] {escape(str(error.args[0] if error.args else error))}")
        sys.exit(BAD_INPUT)
    except _CommandLineError as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        sys.exit(0)
    except Exception as fault:
        traceback.print_exc()
        errors.print(f"[bold red]a fault of L0 or of a plugin, not of the input:[/] {escape(str(fault))}")
        sys.exit(AT_FAULT)
    if code == INTERRUPTED:  # typer may turn Ctrl-C into this code itself
        errors.print(f"{'ended' if came else 'interrupted'}: no result was written")
        code = TERMINATED if came else INTERRUPTED
        # Python remembers an interruption of a text that was executed (numba does so) as one that nobody took, and
        # `python -m` then ends by SIGINT whatever the code; executing another text makes it forget.
        exec("")
    sys.exit(code if isinstance(code, int) else 0)

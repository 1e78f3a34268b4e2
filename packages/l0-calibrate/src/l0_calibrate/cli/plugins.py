"""``plugins``: what is installed, from which package, in which state."""

from __future__ import annotations

import attrs
from rich.table import Table
from rich.text import Text

from l0_calibrate.cli.display import console, json_text
from l0_calibrate.cli.sources import JsonOption
from l0_core.plugins import PluginState
from l0_core.plugins import plugins as installed

_COLOUR = {
    PluginState.OK: "green",
    PluginState.MISSING: "yellow",
    PluginState.NO_DEVICE: "yellow",
    PluginState.CONFLICT: "red",
    PluginState.BROKEN: "red",
}


def plugins(json_: JsonOption = False) -> None:
    """List every backend, distribution, gate, penalty, loss, selector and solver.

    Example: l0-calibrate plugins --json
    """
    rows = installed()
    if json_:
        print(json_text([{**attrs.asdict(row), "state": str(row.state)} for row in rows]))
        return
    table = Table()
    for name in ("kind", "name", "package", "version", "state", "what it is"):
        table.add_column(name, overflow="fold")
    for row in rows:
        colour = _COLOUR[row.state]
        state = Text(str(row.state), style=colour)
        what = row.summary if not row.detail else f"{row.summary + ': ' if row.summary else ''}{row.detail}"
        table.add_row(row.kind or "-", row.name or "-", row.package, row.version, state, what)
    console().print(table)

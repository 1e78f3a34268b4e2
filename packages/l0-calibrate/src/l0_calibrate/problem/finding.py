"""`Finding`: one thing that pre-flight noticed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from l0_calibrate.problem.consistency import Disagreement

SEVERITIES = ("error", "warning", "info")

SHOWN = 5
"""Examples named in a message; all of them are in ``names``."""


@attrs.frozen
class Finding:
    """What was noticed, about what, and what to do.

    Parameters
    ----------
    code
        For machines, such as ``"thin_support"``.
    severity
        ``"error"`` | ``"warning"`` | ``"info"``.
    names
        Every target or record that it is about, by name.
    message, remedy
        For people; the message names the first few of the names.
    disagreements
        Where totals contradict each other: each contradiction, the worst first.
    """

    code: str
    severity: str = attrs.field(validator=attrs.validators.in_(SEVERITIES))
    names: tuple[str, ...]
    message: str
    remedy: str
    disagreements: tuple[Disagreement, ...] = ()


def by_gravity(findings: Iterable[Finding]) -> list[Finding]:
    """The gravest first, else in their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def grouped(
    code: str, severity: str, names: Iterable[Any], text: str, remedy: str, notes: Sequence[str] | None = None
) -> Iterator[Finding]:
    """One finding about all the targets of one kind, or none where there are none.

    ``{these}`` in the text becomes "target X (note)" or "12 targets: X (note), ...".
    """
    names = [str(name) for name in names]
    if not names:
        return
    shown = [f"{name} ({notes[k]})" if notes else name for k, name in enumerate(names[:SHOWN])]
    more = f", and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    these = f"target {shown[0]}" if len(names) == 1 else f"{len(names):,} targets: {', '.join(shown)}{more}"
    yield Finding(code, severity, tuple(names), text.replace("{these}", these), remedy)

"""What pre-flight says of totals that contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from l0_calibrate.problem.consistency import Consistency, Disagreement
from l0_calibrate.problem.finding import SHOWN, Finding
from l0_calibrate.problem.labels import naming

SLIGHT = 1e-3
"""Relative error up to which totals differ as rounding makes published ones."""

_KINDS = (
    ("sum", "sums_disagree", "the parts add up in the matrix, their values do not",
     "no weights meet both sides: rescale the parts, leave one side out, or give a tolerance"),
    ("excess", "parts_exceed", "what lies within in the matrix has larger values",
     "no weights meet both sides: correct the parts or the total, or give a tolerance"),
    ("copy", "conflicting_targets", "another target has the same entries and another value",
     "keep the better source: no weights can meet both"),
)  # fmt: skip


def contradictions(found: Consistency) -> Iterator[Finding]:
    """One finding for each kind of contradiction, those that rest on few records and slight ones by themselves."""
    large = [entry for entry in found.disagreements if entry.least_error > SLIGHT and not entry.tolerated]
    if found.loss_at_least > 0:
        yield Finding(
            "loss_at_least",
            "warning" if large else "info",
            (),
            f"whatever the weights, the mean absolute relative error is at least {found.loss_at_least:.3g}, because "
            "totals contradict each other",
            "see what contradicts what; no count of records, bound or solver changes it",
        )
    for kind, code, text, remedy in _KINDS:
        some = [entry for entry in large if entry.kind == kind and not entry.by_chance]
        yield from _finding(code, "warning", some, text, remedy)
    few = [entry for entry in large if entry.by_chance]
    yield from _finding(
        "few_records_disagree",
        "warning",
        few,
        "on the few records behind, others are the same, add up or lie within, and their values do not",
        "merge them with neighbours, give them a tolerance, or take more records: these cannot meet them",
    )
    slight = [entry for entry in found.disagreements if entry.least_error <= SLIGHT or entry.tolerated]
    yield from _finding(
        "slight_disagreements",
        "info",
        slight,
        f"others that are the same, add up or lie within differ by at most {SLIGHT:.1%}, as rounding does, or within "
        "the tolerances",
        "nothing, or give them a tolerance",
    )
    agreeing = [name for group in found.agreeing_copies for name in group]
    if agreeing:
        message = f"the entries and the values are the same in {len(agreeing):,} targets: {naming(agreeing)}"
        yield Finding("duplicate_targets", "info", tuple(agreeing), message, "keep one, or the total counts twice")
    if found.unfinished:
        message = (
            f"the search for sums was cut short at {len(found.unfinished):,} targets: {naming(found.unfinished)}; "
            "there may be more that contradict them"
        )
        yield Finding("sums_not_all_searched", "info", found.unfinished, message, "nothing; what is reported holds")


def _finding(
    code: str, severity: str, disagreements: Iterable[Disagreement], text: str, remedy: str
) -> Iterator[Finding]:
    ordered = tuple(disagreements)
    if not ordered:
        return
    names = tuple(dict.fromkeys(name for entry in ordered for name in _named(entry)))
    shown = [
        f"{entry.whole} ({entry.value:.6g}, {entry.against} {entry.parts_value:.6g}: {entry.relative:+.2%})"
        for entry in ordered[:SHOWN]
    ]
    more = f", and {len(ordered) - SHOWN:,} more" if len(ordered) > SHOWN else ""
    wholes = len({entry.whole for entry in ordered})
    message = f"{wholes:,} target{'s' if wholes > 1 else ''}: {text}: {', '.join(shown)}{more}"
    yield Finding(code, severity, names, message, remedy, ordered)


def _named(entry: Disagreement) -> tuple[str, ...]:
    return (entry.whole, *entry.parts) if entry.kind == "copy" else (entry.whole,)

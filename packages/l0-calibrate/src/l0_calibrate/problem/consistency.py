"""Totals that contradict each other: rows of the matrix that are sums of others, with values that are not.

Where row i of the matrix is the sum of rows K on every record, its estimate is the sum of theirs whatever the weights
are. With ``D = sum_K t_k - t_i`` the relative errors e of these targets, on their scales s, then have
``s_i e_i - sum_K s_k e_k = D``, so that their absolute values add up to ``|D| / max s`` at the least.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import attrs
import numpy as np

from l0_calibrate.problem.problem import CalibrationProblem
from l0_calibrate.problem.relations import AGREE, Relation, find_relations

_SAME_CHANGE = 0.01
"""How near, relatively, the changes must be that several sums ask of one target, to be taken for one mistake."""

_CAUTION = 1.0 - 1e-9
"""What rounding may take from a bound: its terms are rounded once each."""


@attrs.frozen
class Disagreement:
    """Targets that no weights can meet together, as their rows in the matrix show.

    Parameters
    ----------
    kind
        ``"sum"``: the rows of the parts add up to that of the whole on every record. ``"copy"``: the whole and its one
        part have the same row. ``"excess"``: on every record the parts add up to no more than the whole, which has
        more on some, and they want more than it.
    whole, parts
        Names of targets.
    value, parts_value
        Of the whole, and of the parts together, in their units.
    difference
        ``parts_value - value``.
    relative
        The same over max(|value|, 1).
    least_error
        What the absolute relative errors of all these targets add up to at the least, whatever the weights.
    records
        Number of records that enter the whole.
    by_chance
        Few records stand behind it (see `l0_calibrate.problem.relations.FEW`): no weights of these records meet the
        targets, those of others might.
    tolerated
        The tolerances of these targets make up for the difference: it costs nothing.
    remedy
        What to do about it.
    """

    kind: str = attrs.field(validator=attrs.validators.in_(("sum", "copy", "excess")))
    whole: str
    parts: tuple[str, ...]
    value: float
    parts_value: float
    difference: float
    relative: float
    least_error: float
    records: int
    by_chance: bool
    tolerated: bool
    remedy: str

    @property
    def against(self) -> str:
        """The parts in words: their names where there are two at the most, else the first and how many there are."""
        if self.kind == "copy":
            return f"the same row as {self.parts[0]}"
        listed = " + ".join(self.parts[:2]) if len(self.parts) < 3 else f"{len(self.parts)} parts: {self.parts[0]}, ..."
        return f"{listed} within it" if self.kind == "excess" else listed

    @property
    def rank(self) -> tuple[bool, float]:
        """To sort by: what is tolerated or may hold by chance last, then the largest error that is forced first."""
        return (self.tolerated or self.by_chance, -self.least_error)


@attrs.frozen
class Consistency:
    """What `consistency` found.

    Parameters
    ----------
    disagreements
        The one that forces the largest error first.
    sums
        Number of sums and copies that hold in the matrix, those included whose totals agree.
    agreeing_copies
        Groups of targets with the same row and the same value, by name.
    loss_at_least
        No weights have a smaller loss (mean absolute relative error): what disagreements that share no target force.
    unfinished
        Targets whose row may be the sum of others in more ways than were found: the search was cut short.
    """

    disagreements: tuple[Disagreement, ...]
    sums: int
    agreeing_copies: tuple[tuple[str, ...], ...]
    loss_at_least: float
    unfinished: tuple[str, ...]


Evidence = dict[int, list[Relation]]
"""Of each target the sums and copies that it is in, other than by chance."""


def consistency(problem: CalibrationProblem) -> Consistency:
    """Find targets whose values contradict each other, from the matrix alone.

    Notes
    -----
    Whatever is reported holds on every record in the stored entries, so for any weights. What is looked for, and what
    is not, stands in `l0_calibrate.problem.partitions`.
    """
    relations = find_relations(problem)
    wrong = sorted((r for r in relations.found if not r.agrees), key=lambda r: -r.least_error)
    evidence: Evidence = defaultdict(list)
    for relation in relations.found:
        if relation.kind != "excess" and not relation.by_chance:
            for i in relation.targets:
                evidence[i].append(relation)
    names, values, scale = problem.target_names, problem.targets, problem.scale
    agreeing = [group for group in relations.copies if np.ptp(values[group]) <= AGREE * scale[group].max()]
    return Consistency(
        tuple(_disagreement(problem, relation, evidence) for relation in wrong),
        sum(relation.kind != "excess" for relation in relations.found),
        tuple(tuple(str(names[i]) for i in group) for group in agreeing),
        _loss_at_least(problem, wrong),
        tuple(str(names[i]) for i in relations.unfinished),
    )


def _loss_at_least(problem: CalibrationProblem, wrong: Iterable[Relation]) -> float:
    used: set[int] = set()
    total = 0.0
    for relation in wrong:
        if used.isdisjoint(relation.targets):
            used.update(relation.targets)
            total += relation.least_error
    return _CAUTION * total / problem.n_targets


def _disagreement(problem: CalibrationProblem, relation: Relation, evidence: Evidence) -> Disagreement:
    names, value = problem.target_names, float(problem.targets[relation.whole])
    return Disagreement(
        relation.kind,
        str(names[relation.whole]),
        tuple(str(names[k]) for k in relation.parts),
        value,
        value + relation.difference,
        relation.difference,
        relation.difference / float(problem.scale[relation.whole]),
        relation.least_error,
        relation.records,
        relation.by_chance,
        relation.tolerated,
        _remedy(problem, relation, evidence),
    )


def _remedy(problem: CalibrationProblem, relation: Relation, evidence: Evidence) -> str:
    """What other sums say: one value that settles several, or which side others confirm."""
    if relation.tolerated:
        return "nothing: within the tolerances"
    if relation.by_chance:
        return "merge them with neighbours, or give them a tolerance"
    names, values = problem.target_names, problem.targets
    for i in relation.targets:
        changes = np.array([other.change(i) for other in evidence[i]])
        wanted = relation.change(i)
        if changes.size > 1 and (np.abs(changes - wanted) <= _SAME_CHANGE * abs(wanted)).all():
            return (
                f"look at {names[i]}: {values[i] + wanted:.6g} in the place of {values[i]:.6g} "
                f"would settle all {changes.size} sums that it is in"
            )
    if relation.kind == "copy":
        return "keep the better source of the two"
    value = values[relation.whole]
    total = value + relation.difference
    parts = f"rescale the parts by {value / total:.6g}" if total * value > 0 else "correct the parts"
    whole_confirmed = any(other.agrees for other in evidence[relation.whole])
    parts_confirmed = all(any(other.agrees for other in evidence[k]) for k in relation.parts)
    if whole_confirmed and not parts_confirmed:
        return f"{parts}: other sums confirm the whole"
    if parts_confirmed and not whole_confirmed:
        return f"set the whole to {total:.6g}, or leave it out: other sums confirm the parts"
    return f"{parts}, or leave the whole out"

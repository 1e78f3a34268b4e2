"""The designs as gate strategies: which records are kept is left to chance, with known probabilities."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_core.errors import InputError
from l0_core.gates import GateStrategy
from l0_core.selection import Selection, check_count, check_seed, count_of
from l0_core.whole_numbers import is_whole
from l0_gates.designs import sampling
from l0_gates.designs.cells import Cell, cells, labels, whole_groups
from l0_gates.designs.conditional_poisson import conditional_probabilities, with_expected_size
from l0_gates.designs.cube import cube
from l0_gates.designs.probabilities import BoolArray, FloatArray, inclusion_probabilities, size_measure
from l0_gates.positions import checked_positions
from l0_gates.system import LinearSystem


class DesignStrategy(GateStrategy):
    """A sampling design of fixed size with exact first-order inclusion probabilities.

    Nothing is learnt: `fit` only takes the weights before (the default size measure) and, for a balanced
    design, the rows to balance on; an unfitted design gives every item the same size.

    Parameters
    ----------
    keep
        How many items `select` keeps unless it is told.
    size_measure
        Shape (items,): probabilities are in proportion to it, none above 1. ``None`` is the reference of `fit`,
        so that kept records end with weights as equal as can be.
    must_keep
        Positions of items, or a flag for each, that are kept with certainty (with all that is linked to them).
    strata
        Shape (items,), labels: each stratum has a fixed count in proportion to its sizes (by largest remainders;
        one whose share rounds to nothing has none, and its items have inclusion probability 0).
    groups
        Shape (items,), labels: items with one label are kept or dropped together.
    seed
        Of the draw.
    """

    draws = True

    def __init__(
        self,
        keep: int | None = None,
        *,
        size_measure: Any = None,
        must_keep: Any = (),
        strata: Any = None,
        groups: Any = None,
        seed: int = 0,
    ) -> None:
        self.keep = keep
        self.size_measure = size_measure
        self.must_keep = must_keep
        self.strata = strata
        self.groups = groups
        self.seed = check_seed(seed)
        self._system: LinearSystem | None = None

    def fit(self, matrix: Any, totals: Any, *, reference: Any = None) -> Self:
        """Take over the number of items, the weights before and what a balanced design balances on."""
        self._system = LinearSystem(matrix, totals, reference)
        return self

    def keep_together(self, groups: Any) -> None:
        """Draw whole groups; see the parameter ``groups``."""
        self.groups = groups

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has been called."""
        return self._system is not None

    @abstractmethod
    def _draw(self, probabilities: FloatArray, rng: np.random.Generator, members: npt.NDArray[np.int64]) -> BoolArray:
        """Units drawn from one cell, whose items are ``members`` (units, items in a unit)."""

    def _chances(self, probabilities: FloatArray) -> FloatArray:
        """The inclusion probabilities that `_draw` has when it is given these."""
        return probabilities

    def _cell_probabilities(self, cell: Cell, sizes: FloatArray) -> FloatArray:
        return inclusion_probabilities(sizes[cell.members].sum(axis=1), cell.count)

    def select(self, data: Any, *, keep: int | None = None, seed: int | None = None) -> Selection:
        """Draw exactly ``keep`` items; the selection carries the inclusion probabilities of all."""
        total = count_of(data)
        if self._system is not None and total != self._system.items:
            raise InputError(f"the strategy was fitted to {self._system.items} items, {total} are to be selected from")
        wanted = self.keep if keep is None else keep
        if wanted is None:
            raise InputError("no count to keep: give keep here or at construction")
        wanted = check_count(wanted, total)
        sizes = self._sizes(total)
        groups = None if self.groups is None else labels(self.groups, total, "groups")
        must = whole_groups(self._must(total), groups)
        rng = np.random.default_rng(self.seed if seed is None else check_seed(seed))
        chances = np.where(must, 1.0, 0.0)
        drawn = must.copy()
        for cell in cells(sizes, wanted, labels(self.strata, total, "strata"), groups, must):
            asked = self._cell_probabilities(cell, sizes)
            units = self._draw(asked, rng, cell.members)
            drawn[cell.members[units]] = True
            chances[cell.members] = self._chances(asked)[:, None]
        indices = np.flatnonzero(drawn)
        kinds = np.where(must[indices], "must", "random")
        return Selection(indices, total, kinds=kinds, inclusion_probabilities=chances)

    def _sizes(self, total: int) -> FloatArray:
        if self.size_measure is not None:
            return size_measure(self.size_measure, total)
        return np.ones(total) if self._system is None else size_measure(self._system.reference, total)

    def _must(self, total: int) -> BoolArray:
        must = np.zeros(total, dtype=bool)
        must[checked_positions(self.must_keep, total, "must_keep")] = True
        return must


class RandomStrategy(DesignStrategy):
    """Simple random sampling: every item alike, whatever its size."""

    def _cell_probabilities(self, cell: Cell, sizes: FloatArray) -> FloatArray:
        return np.full(cell.members.shape[0], cell.count / cell.members.shape[0])

    def _draw(self, probabilities: FloatArray, rng: np.random.Generator, members: Any) -> BoolArray:
        return sampling.simple_random(probabilities.size, round(float(probabilities.sum())), rng)

    def _sizes(self, total: int) -> FloatArray:
        return np.ones(total)


class PoissonStrategy(DesignStrategy):
    """Poisson sampling in proportion to size, given that exactly the count asked for comes out (Hájek 1964).

    The inclusion probabilities of the selection are those of the conditional design, computed exactly; they
    differ a little from proportionality. `sampling.poisson` is the unconditional design, of random size.
    """

    def _draw(self, probabilities: FloatArray, rng: np.random.Generator, members: Any) -> BoolArray:
        return sampling.rejective(probabilities, rng)

    def _chances(self, probabilities: FloatArray) -> FloatArray:
        uncertain = (probabilities > 0.0) & (probabilities < 1.0)
        result = probabilities.copy()
        if uncertain.any():
            p = probabilities[uncertain]
            n = round(float(p.sum()))
            result[uncertain] = conditional_probabilities(with_expected_size(np.log(p) - np.log1p(-p), n), n)
        return result


class SystematicStrategy(DesignStrategy):
    """Systematic sampling in proportion to size, in the order of the items (which stratifies by it)."""

    def _draw(self, probabilities: FloatArray, rng: np.random.Generator, members: Any) -> BoolArray:
        return sampling.systematic(probabilities, rng)


class SampfordStrategy(DesignStrategy):
    """Sampford's design (1967), in proportion to size."""

    def _draw(self, probabilities: FloatArray, rng: np.random.Generator, members: Any) -> BoolArray:
        return sampling.sampford(probabilities, rng)


class MaxEntropyStrategy(DesignStrategy):
    """The design of maximum entropy, in proportion to size."""

    def _draw(self, probabilities: FloatArray, rng: np.random.Generator, members: Any) -> BoolArray:
        return sampling.max_entropy(probabilities, rng)


class CubeStrategy(DesignStrategy):
    """The cube method, balanced on rows of the fitted matrix times the reference weights.

    Parameters
    ----------
    balance_rows
        Positions of the rows to balance on, the most important first; or a number: so many rows, those first that
        the most items take part in.
    keep, size_measure, must_keep, strata, groups, seed
        As in `DesignStrategy`.
    """

    def __init__(
        self,
        keep: int | None = None,
        *,
        balance_rows: Any = 20,
        size_measure: Any = None,
        must_keep: Any = (),
        strata: Any = None,
        groups: Any = None,
        seed: int = 0,
    ) -> None:
        super().__init__(keep, size_measure=size_measure, must_keep=must_keep, strata=strata, groups=groups, seed=seed)
        self.balance_rows = balance_rows

    def fit(self, matrix: Any, totals: Any, *, reference: Any = None) -> Self:
        """Take over the rows to balance on."""
        super().fit(matrix, totals, reference=reference)
        assert self._system is not None
        columns = self._system.columns
        rows = self._chosen_rows(columns)
        self._balance = columns[rows].toarray().T * self._system.reference[:, None]
        return self

    def _chosen_rows(self, columns: sp.csr_array) -> npt.NDArray[np.int64]:
        if is_whole(self.balance_rows):
            if self.balance_rows < 0:
                raise InputError(f"balance_rows must not be negative, got {self.balance_rows}")
            support = np.diff(columns.indptr)
            return np.argsort(-support, kind="stable")[: int(self.balance_rows)]
        return checked_positions(self.balance_rows, columns.shape[0], "balance_rows")

    def _draw(self, probabilities: FloatArray, rng: np.random.Generator, members: Any) -> BoolArray:
        balance = self._balance[members].sum(axis=1) if self.is_fitted else None
        return cube(probabilities, rng, balance)

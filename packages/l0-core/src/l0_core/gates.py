"""The interface of gate strategies: what is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from l0_core.errors import InputError
from l0_core.selection import Selection


class GateStrategy(ABC):
    """Decides which items of a linear system are kept.

    Items are the **columns** of a matrix: records whose weighted sums must meet totals
    (matrix: targets x records), or features that explain a response (matrix: samples x features).

    The seed of the constructor (or of `select`) is the only source of randomness; the same seed
    gives the same selection in whatever state the process is.
    """

    draws: ClassVar[bool] = False
    """Whether items are drawn with known probabilities (a sampling design) instead of ranked: items that must be
    kept are then set aside before, and groups are its own affair (`keep_together`)."""

    @abstractmethod
    def fit(self, matrix: Any, totals: Any, *, reference: Any = None) -> Self:
        """Learn from a linear system which items matter.

        Parameters
        ----------
        matrix
            Shape (rows, items): ndarray or scipy sparse matrix or array.
        totals
            Shape (rows,): what the weighted sum of the items should meet.
        reference
            Shape (items,), non-negative, optional: the weight each item has before (design weight).
            ``None`` is 1 for each.

        Raises
        ------
        InputError
            On wrong shapes or non-finite values.
        """

    @abstractmethod
    def select(self, data: Any, *, keep: int | None = None, seed: int | None = None) -> Selection:
        """Choose exactly ``keep`` of the items.

        Parameters
        ----------
        data
            Number of items, or anything whose length (``shape[0]``) is the number of items.
        keep
            How many; ``None`` is the number given at construction.
        seed
            Breaks ties and draws what is random; ``None`` is the seed given at construction.

        Raises
        ------
        InputError
            ``keep`` outside 1..items, no ``keep`` at all, or a number of items other than that of `fit`.
        """

    def keep_together(self, groups: Any) -> None:
        """Keep the items of one label together, all or none, in every `select` from now on.

        Parameters
        ----------
        groups
            Shape (items,), labels.

        Raises
        ------
        InputError
            The strategy has no way to do so (one that ranks needs none: groups are then taken by its scores).
        """
        raise InputError(f"{type(self).__name__} has no way to keep groups together; use another, or leave out groups")

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether `fit` has been called (an unfitted strategy that should learn warns at `select`)."""

"""The targets of a `Calibration`: all of them, and those that take part."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.microcalibrate.evaluation import vector
from l0_core import InputError
from l0_core.real_numbers import real_array

FloatArray = npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class NamedTargets:
    """Targets with names and factors, some of them left out.

    Parameters
    ----------
    names
        Shape (targets,), each once.
    values
        Shape (targets,).
    factor
        Shape (targets,), what each target counts for; 1 by default.
    excluded
        Names that are left out of the fit, in the order in which they were given.
    """

    names: npt.NDArray[Any]
    values: FloatArray
    factor: FloatArray
    excluded: tuple[str, ...] = ()

    @property
    def included(self) -> npt.NDArray[np.bool_]:
        """Shape (targets,), which take part."""
        return ~np.isin(self.names.astype(str), list(self.excluded))

    @property
    def order(self) -> npt.NDArray[np.intp]:
        """Shape (targets,): positions of the included targets, then those of the excluded ones."""
        return np.argsort(~self.included, kind="stable")

    def without(self, names: Sequence[str]) -> NamedTargets:
        """The same, with exactly these left out; a name that no target has is told in a warning."""
        if isinstance(names, str):
            raise InputError(f"targets to exclude are a list of names, such as [{names!r}]; got the text {names!r}")
        wanted = [str(name) for name in names]
        unknown = sorted(set(wanted) - set(self.names.astype(str)))
        if unknown:
            warnings.warn(f"no target is called {', '.join(unknown)}: nothing to exclude", UserWarning, stacklevel=3)
        kept = attrs.evolve(self, excluded=tuple(dict.fromkeys(name for name in wanted if name not in unknown)))
        if not kept.included.any():
            raise InputError("every target is excluded; leave at least one to calibrate to")
        return kept


def named_targets(targets: Any, names: Any | None, columns: Any | None, factor: Any | None) -> NamedTargets:
    """The targets, their names from the argument, else from the columns of the matrix, else by number.

    Raises
    ------
    InputError
        Shapes that do not fit, a name twice, a value that is not finite, a factor below 0.
    """
    values = vector(targets, "targets")
    if names is None:
        names = [f"target_{i}" for i in range(values.size)] if columns is None else list(columns)
    array = np.asarray(names)
    if columns is not None and sorted(map(str, columns)) == sorted(array.astype(str)):
        moved = np.flatnonzero(np.asarray([str(column) for column in columns]) != array.astype(str))
        if moved.size:
            raise InputError(
                "target_names are the columns of estimate_matrix in another order (the first that differs is "
                f"{str(array[moved[0]])!r}): targets go by position; bring them into one order"
            )
    if array.shape != values.shape:
        raise InputError(f"there are {values.size} targets and {array.size} names (or columns of estimate_matrix)")
    seen, counts = np.unique(array.astype(str), return_counts=True)
    if (counts > 1).any():
        raise InputError(f"target name {str(seen[counts > 1][0])!r} occurs {counts.max()} times; each must occur once")
    return NamedTargets(array, values, factors(factor, values.size))


def factors(given: Any | None, count: int) -> FloatArray:
    """What each target counts for, shape (count,): 1 where nothing is given, one number for all, or one for each.

    Raises
    ------
    InputError
        A shape that does not fit, a number that is not finite or below 0.
    """
    if given is None:
        return np.ones(count)
    array = real_array(given, "normalization_factor").astype(np.float64, copy=False)
    weights = vector(np.full(count, float(array)) if array.ndim == 0 else array, "normalization_factor", count)
    if (weights < 0).any():
        raise InputError(f"normalization_factor[{int(np.flatnonzero(weights < 0)[0])}] is negative")
    return weights

"""Blocks and bundles of tasks, found once where several tasks share them."""

from __future__ import annotations

import weakref

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.areas import Areas
from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.bundles.packed import placed, without_empty
from l0_calibrate.solvers.base import Task
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.interior_point.bundling import bundled
from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_calibrate.solvers.interior_point.program import Use
from l0_calibrate.solvers.sparse_map import threads_for
from l0_calibrate.system import ScaledSystem
from l0_core import InputError

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@attrs.frozen(eq=False)
class _Key:
    """What blocks and bundles depend on."""

    system: weakref.ref[ScaledSystem]
    support: IntArray | None
    use: Use
    areas: Areas | None
    mass: float | None

    @classmethod
    def of(cls, task: Task, use: Use) -> _Key:
        return cls(weakref.ref(task.system), task.support, use, task.areas, task.mass)

    def is_same(self, other: _Key) -> bool:
        if self.system() is None or self.system() is not other.system() or self.areas is not other.areas:
            return False
        if self.mass != other.mass or (self.support is None) != (other.support is None):
            return False
        alike = self.support is None or np.array_equal(self.support, other.support)  # type: ignore[arg-type]
        return (
            alike
            and np.array_equal(self.use.rows, other.use.rows)
            and np.array_equal(self.use.columns, other.use.columns)
        )


@attrs.define(eq=False)
class _Found:
    key: _Key
    structure: Structure
    bundles: Bundles | None = None


@attrs.define(eq=False)
class Finder:
    """Blocks and bundles of tasks, those of the frame where a task has one.

    What was found last is kept: a task is asked about, then solved, then solved at another price, and tasks of one
    frame follow one another. Bundles, a copy of the matrix, are kept for frames only.
    """

    _last: _Found | None = None

    def structure(self, task: Task, fit: Fit, use: Use, threads: int) -> Structure:
        """Blocks of a task."""
        return self._found(*_within_frame(task, fit, use), threads).structure

    def bundled(self, task: Task, fit: Fit, use: Use, threads: int) -> tuple[Structure, Bundles]:
        """Blocks of a task, and its columns in use in bundles within them."""
        whole, whole_fit, whole_use = _within_frame(task, fit, use)
        found = self._found(whole, whole_fit, whole_use, threads)
        threads = threads_for(fit.columns, threads)
        scale = task.system.scale if task.mass is None else np.append(task.system.scale, task.mass)
        if task.frame is None:
            return found.structure, bundled(fit.columns, found.structure, scale, threads)
        if found.bundles is None:
            found.bundles = bundled(whole_fit.columns, found.structure, scale, threads)
        bundles = placed(found.bundles, _places(task.frame, _support(task), use.columns), threads)
        if bundles.count < found.bundles.count:
            bundles = without_empty(bundles)
        return found.structure, bundles

    def _found(self, task: Task, fit: Fit, use: Use, threads: int) -> _Found:
        key = _Key.of(task, use)
        if self._last is None or not self._last.key.is_same(key):
            self._last = _Found(key, use.structure(fit.columns, task.areas_of_columns, threads))
        return self._last


def _support(task: Task) -> IntArray:
    return np.arange(task.count) if task.support is None else task.support


def _places(frame: IntArray, support: IntArray, used: BoolArray) -> IntArray:
    """The place in the support of each column of the frame: -1 where it has none, or is not used."""
    at = np.searchsorted(frame, support)
    if not np.array_equal(frame[np.minimum(at, frame.size - 1)], support):
        raise InputError("a task's frame must hold all columns of its support")
    place = np.full(frame.size, -1, dtype=np.int64)
    place[at[used]] = np.flatnonzero(used)
    return place


def _within_frame(task: Task, fit: Fit, use: Use) -> tuple[Task, Fit, Use]:
    """The task on all columns of its frame, none of them settled by its bounds; itself without a frame."""
    if task.frame is None:
        return task, fit, use
    zero, one = np.zeros(task.frame.size), np.ones(task.frame.size)
    whole = attrs.evolve(task, support=task.frame, frame=None, lower=zero, upper=one, spread=zero)
    alike = np.array_equal(task.frame, _support(task))
    whole_fit = attrs.evolve(fit, lower=zero, upper=one, spread=zero) if alike else Fit.of(whole)
    return whole, whole_fit, Use.of(whole_fit)

"""The interface of backends: arrays, device, dtype, random generator, sparse linear maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any
"""An array of whatever namespace the backend computes in (the Python array API names its methods)."""


class LinearMap(ABC):
    """A sparse matrix ``A`` (rows x columns) on a backend, with its transpose at hand.

    Both products are linear in cost in the number of non-zeros and allocate only their result; where
    the backend has automatic differentiation, gradients flow through both.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @abstractmethod
    def matvec(self, x: Array) -> Array:
        """``A @ x`` for x of shape (columns,), result (rows,)."""

    @abstractmethod
    def rmatvec(self, y: Array) -> Array:
        """``A.T @ y`` for y of shape (rows,), result (columns,)."""


class Backend(ABC):
    """Where the numbers live."""

    name: str
    """The name in the registry."""

    has_autograd: bool = False
    """Whether gradients flow through array operations by themselves."""

    @property
    @abstractmethod
    def xp(self) -> Any:
        """The array-API namespace (array-api-compat where the library needs it)."""

    @property
    @abstractmethod
    def device(self) -> str:
        """The device arrays are made on: ``"cpu"``, ``"cuda:0"``."""

    @abstractmethod
    def asarray(self, values: Any, dtype: str | None = None) -> Array:
        """An array on this backend's device.

        Parameters
        ----------
        values
            NumPy array, nested sequence, or an array of this backend.
        dtype
            ``"float32"``, ``"float64"``, ``"int64"``, ``"bool"``; ``None`` keeps that of ``values``
            (Python floats become float64).
        """

    @abstractmethod
    def to_numpy(self, array: Array) -> npt.NDArray[Any]:
        """A NumPy array with the same values and dtype, on the host, without a gradient."""

    @abstractmethod
    def generator(self, seed: int) -> Any:
        """A random generator on this device that nothing else touches (seeds: `l0_core.selection.check_seed`)."""

    @abstractmethod
    def uniform(self, generator: Any, shape: tuple[int, ...], dtype: str = "float64") -> Array:
        """Draws strictly inside (0, 1), of the given shape and dtype, from the generator."""

    @abstractmethod
    def linear_map(self, matrix: Any, dtype: str | None = None) -> LinearMap:
        """The sparse matrix on this backend.

        Parameters
        ----------
        matrix
            scipy sparse matrix or array, shape (rows, columns).
        dtype
            Of the stored values; ``None`` keeps that of the matrix.

        Notes
        -----
        The conversion is remembered for as long as the matrix lives and its content is unchanged.
        """

    def standard_normal(self, generator: Any, shape: tuple[int, ...], dtype: str = "float64") -> Array:
        """Standard normal draws, by Box and Muller's transform of `uniform` draws."""
        xp = self.xp
        first = self.uniform(generator, shape, dtype)
        second = self.uniform(generator, shape, dtype)
        return xp.sqrt(-2.0 * xp.log(first)) * xp.cos(2.0 * np.pi * second)

"""The backend of NumPy arrays on the CPU, with scipy's products for sparse matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_core.backends.base import Backend, LinearMap
from l0_core.backends.checks import array_dtype, checked_matrix, float_dtype
from l0_core.backends.matrix_cache import MatrixCache
from l0_core.errors import InputError
from l0_core.selection import check_seed

Array = npt.NDArray[Any]

_CACHE = MatrixCache()


class NumpyLinearMap(LinearMap):
    """A matrix and, from the first product with it, its transpose, both stored by rows (CSR, or dense).

    Both products read one row after another and write one number each; that of the transpose
    would scatter if it were taken from the matrix's own rows.
    """

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self._transpose: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return int(self._matrix.shape[0]), int(self._matrix.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored values; that of the vectors must be the same."""
        dtype: np.dtype[Any] = self._matrix.dtype
        return dtype

    def matvec(self, x: Array) -> Array:
        """``A @ x`` for x of shape (columns,) and the map's dtype, result (rows,)."""
        self._check(x, self.shape[1], "columns")
        return np.asarray(self._matrix @ x)

    def rmatvec(self, y: Array) -> Array:
        """``A.T @ y`` for y of shape (rows,) and the map's dtype, result (columns,)."""
        self._check(y, self.shape[0], "rows")
        if self._transpose is None:
            self._transpose = row_stored(self._matrix.T, copy=False)
        return np.asarray(self._transpose @ y)

    def _check(self, vector: Array, length: int, what: str) -> None:
        if not isinstance(vector, np.ndarray):
            raise InputError(f"the vector must be an ndarray, got {type(vector).__name__}; use backend.asarray")
        if vector.shape != (length,):
            raise InputError(f"the vector must have shape ({length},), the matrix's {what}; got {vector.shape}")
        if vector.dtype != self.dtype:
            raise InputError(f"the vector is {vector.dtype} and the linear map {self.dtype}; use backend.asarray")


def row_stored(matrix: Any, dtype: npt.DTypeLike | None = None, copy: bool = True) -> Any:
    """The matrix by rows (CSR with int32 indices where they fit, C order where it is dense).

    With ``copy`` it shares no memory with the one given.
    """
    if isinstance(matrix, np.ndarray):
        return np.array(matrix, dtype=dtype, order="C", copy=True if copy else None)
    rows = matrix.tocsr()
    rows = rows.astype(rows.dtype if dtype is None else dtype, copy=copy)
    if max(rows.nnz, *rows.shape) <= np.iinfo(np.int32).max and rows.indices.dtype != np.int32:
        rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    return rows


class NumpyBackend(Backend):
    """NumPy arrays on the CPU; no automatic differentiation, so the closed-form derivatives are for it."""

    name = "numpy"
    has_autograd = False

    @property
    def xp(self) -> Any:
        """array-api-compat's NumPy."""
        import array_api_compat.numpy

        return array_api_compat.numpy

    @property
    def device(self) -> str:
        """``"cpu"``."""
        return "cpu"

    def asarray(self, values: Any, dtype: str | None = None) -> Array:
        """A NumPy array of the values; without a dtype an array of this backend is handed back as it is."""
        array = np.asarray(values, dtype=None if dtype is None else array_dtype(dtype))
        if array.dtype.kind not in "fiub":
            raise InputError(f"values must be real numbers or booleans, got dtype {array.dtype}")
        return array

    def to_numpy(self, array: Any) -> Array:
        """The array itself (of the scalar that NumPy makes of a sum, an array without dimensions)."""
        if not isinstance(array, (np.ndarray, np.generic)):
            raise InputError(f"the numpy backend holds numpy arrays, got {type(array).__name__}")
        return np.asarray(array)

    def generator(self, seed: int) -> np.random.Generator:
        """A PCG64 generator of its own; the same seed gives the same draws on every platform."""
        return np.random.default_rng(check_seed(seed))

    def uniform(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: str = "float64") -> Array:
        """Draws on the midpoints of a grid of 2^-52 (float64) or 2^-23 (float32), so never 0 or 1.

        One bit less than NumPy's own draws, for which the law of u is exactly that of 1 - u.
        """
        kind = np.dtype(float_dtype(dtype))
        cells = 2.0**52 if kind == np.float64 else 2.0**23
        draws = generator.random(shape, dtype=kind.type)
        draws = np.asarray(draws)
        np.multiply(draws, cells, out=draws)
        np.floor(draws, out=draws)
        np.add(draws, 0.5, out=draws)
        np.divide(draws, cells, out=draws)
        return draws

    def linear_map(self, matrix: Any, dtype: str | None = None) -> NumpyLinearMap:
        """The matrix and its transpose by rows, remembered while the matrix lives unchanged.

        Raises
        ------
        InputError
            Not a two-dimensional ndarray or scipy sparse matrix of real numbers, or a value is not finite.
        """
        checked_matrix(matrix)
        kind = float_dtype(dtype or (str(matrix.dtype) if matrix.dtype.kind == "f" else "float64"))
        return _CACHE.get(matrix, kind, lambda: NumpyLinearMap(row_stored(matrix, np.dtype(kind))))

"""A memory of converted matrices that cannot answer for another matrix, nor for one changed in place."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

_PARTS = ("data", "indices", "indptr", "row", "col", "offsets")


def fingerprint(matrix: Any) -> bytes:
    """A 128-bit digest of shape, format, dtype and every stored number of an ndarray or scipy sparse matrix."""
    import hashlib

    import numpy as np

    digest = hashlib.blake2b(digest_size=16)
    if isinstance(matrix, np.ndarray):
        parts = [matrix]
    else:
        if matrix.format not in ("csr", "csc", "bsr", "coo", "dia"):
            matrix = matrix.tocsr()  # lists of rows, dictionaries of keys: no flat arrays to read
        parts = [getattr(matrix, name) for name in _PARTS if hasattr(matrix, name)]
    digest.update(repr((getattr(matrix, "format", "dense"), matrix.shape)).encode())
    for part in parts:
        digest.update(f"{part.dtype.str}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).data)
    return digest.digest()


@attrs.define
class _Entry:
    reference: weakref.ref[Any]
    content: bytes
    built: Any


class MatrixCache:
    """What was built of a matrix, for as long as the matrix lives and holds the same numbers.

    Safe under threads: of two that ask at once for a new matrix both may build it, one result is kept.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[int, Hashable], _Entry] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, matrix: Any, kind: Hashable, build: Callable[[], T]) -> T:
        """What ``build`` gave for this very object with this content and ``kind``; built now where it is new.

        Parameters
        ----------
        matrix
            ndarray or scipy sparse matrix or array.
        kind
            What else the result depends on (dtype, device).
        build
            Makes the result; it must not share memory with the matrix.
        """
        content = fingerprint(matrix)
        key = (id(matrix), kind)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.reference() is matrix and entry.content == content:
                return entry.built  # type: ignore[no-any-return]
        built = build()

        def forget(reference: weakref.ref[Any]) -> None:
            entry = self._entries.get(key)
            if entry is not None and entry.reference is reference:
                self._entries.pop(key, None)

        with self._lock:
            self._entries[key] = _Entry(weakref.ref(matrix, forget), content, built)
        return built

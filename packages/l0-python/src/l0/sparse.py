"""Sparse linear regression with gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0._lazy import lazy

if TYPE_CHECKING:
    from l0_torch.sparse import SparseL0Linear

__all__ = ["SparseL0Linear"]

if not TYPE_CHECKING:  # a checker sees the names above, and that there are no others
    __getattr__, __dir__ = lazy(
        globals(),
        {
            "l0_torch.sparse": ("SparseL0Linear",),
        },
    )

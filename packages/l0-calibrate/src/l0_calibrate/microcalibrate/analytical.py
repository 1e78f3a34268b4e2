"""What linear least squares could reach, target by target."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.linalg

from l0_core.relative_errors import error_scale

FloatArray = npt.NDArray[np.float64]

_DEPENDENT = 1e-10
"""A row whose squared distance from the span of others is below this part of its square is one of their combinations.

The Gram matrix carries squares, so this is a distance of 1e-5; rounding leaves some 1e-13 at a few thousand rows.
"""


def scaled_gram(columns: Any, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(``A A'``, ``t``) with each row and target divided by ``max(|target|, 1)``; only (targets x targets) is dense."""
    scales = error_scale(targets)
    gram = np.asarray((columns @ columns.T).todense(), dtype=np.float64) / np.outer(scales, scales)
    return gram, targets / scales


def assess_analytical_solution(columns: Any, targets: FloatArray, names: list[Any]) -> pd.DataFrame:
    """The least-squares error with the first 1, 2, ... targets, weights of any sign and size.

    It is 0 until a target contradicts those before it: one that no weights can meet beside them.

    Parameters
    ----------
    columns
        Shape (targets, records), sparse.
    targets
        Shape (targets,).

    Returns
    -------
    pandas.DataFrame
        ``target_added``, ``loss`` (mean squared relative error over the targets so far), ``delta_loss`` (NaN for
        the first).

    Notes
    -----
    The residual of ``min |A w - t|`` is the part of ``t`` in the null space of ``A'``. A Cholesky factor of
    ``A A'`` grows row by row; a row that adds nothing to it adds one vector to that null space.
    """
    gram, goal = scaled_gram(columns, targets)
    size = targets.size
    factor = np.zeros((size, size))
    basis: list[int] = []
    null: list[FloatArray] = []
    squares = np.empty(size)
    total = 0.0
    for k in range(size):
        rank = len(basis)
        lower = factor[:rank, :rank]
        part = scipy.linalg.solve_triangular(lower, gram[basis, k], lower=True) if rank else np.zeros(0)
        rest = gram[k, k] - part @ part
        if rest > _DEPENDENT * gram[k, k]:
            factor[rank, :rank], factor[rank, rank] = part, np.sqrt(rest)
            basis.append(k)
        else:
            vector = np.zeros(size)
            vector[k] = 1.0
            if rank:
                vector[basis] = -scipy.linalg.solve_triangular(lower, part, lower=True, trans=1)
            for _ in range(2):  # twice is enough for orthogonality to rounding
                for other in null:
                    vector -= (other @ vector) * other
            vector /= np.linalg.norm(vector)
            null.append(vector)
            total += float(vector @ goal) ** 2
        squares[k] = total / (k + 1)
    return pd.DataFrame({"target_added": names, "loss": squares, "delta_loss": np.diff(squares, prepend=np.nan)})

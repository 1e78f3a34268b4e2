"""Small problems of nation, states and districts, each of which publishes totals of the same items."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem


def nested_problem(
    rng: np.random.Generator, district: np.ndarray, states: int, items: int, each: int, info: pd.DataFrame | None = None
) -> CalibrationProblem:
    """Every record has ``each`` of the items; ``district`` numbers its place, as many districts in each state."""
    n, districts = district.size, int(district.max()) + 1
    of_record = np.array([rng.choice(items, each, replace=False) for _ in range(n)]).ravel()
    record, amounts = np.repeat(np.arange(n), each), rng.lognormal(0.0, 0.7, each * n)
    place = district[record]
    state = place // (districts // states)
    levels = (of_record, (1 + state) * items + of_record, (1 + states + place) * items + of_record)
    rows = (1 + states + districts) * items
    matrix = sp.csr_array((np.tile(amounts, 3), (np.concatenate(levels), np.tile(record, 3))), shape=(rows, n))
    w = rng.uniform(5.0, 15.0, n)
    truth = w * np.exp(rng.normal(0.0, 0.4, n))
    targets = matrix @ truth * rng.lognormal(0.0, 0.05, rows)
    return CalibrationProblem(matrix, targets, initial_weights=w, record_info=info)

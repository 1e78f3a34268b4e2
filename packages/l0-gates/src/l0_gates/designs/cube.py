"""The cube method: samples balanced on auxiliary variables with exact inclusion probabilities.

References
----------
Deville & Tillé (2004), Efficient balanced sampling: the cube method, Biometrika 91(4). Chauvet & Tillé (2006),
A fast algorithm for balanced sampling, Computational Statistics 21(1): the flight in windows of one unit more than
there are variables, so that its cost is linear in the units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from l0_core.errors import InputError
from l0_core.real_numbers import real_array
from l0_gates.designs.probabilities import BoolArray, FloatArray, check_probabilities
from l0_gates.jit import inner_jit, jit


@inner_jit
def null_vector(matrix: FloatArray, direction: FloatArray) -> None:
    """A vector u with ``matrix @ u = 0``, u != 0, for a matrix with more columns than rows (it is overwritten)."""
    rows, columns = matrix.shape
    pivots = np.full(columns, -1)
    row = 0
    for column in range(columns):
        best, size = -1, 1e-10
        for i in range(row, rows):
            if abs(matrix[i, column]) > size:
                best, size = i, abs(matrix[i, column])
        if best < 0:
            # No pivot: this column is a combination of those before it, which is the vector looked for.
            for j in range(columns):
                direction[j] = -matrix[pivots[j], column] if j < column and pivots[j] >= 0 else 0.0
            direction[column] = 1.0
            return
        for j in range(column, columns):
            matrix[row, j], matrix[best, j] = matrix[best, j], matrix[row, j]
        pivot = matrix[row, column]
        for j in range(column, columns):
            matrix[row, j] /= pivot
        for i in range(rows):
            factor = matrix[i, column]
            if i != row and factor != 0.0:
                for j in range(column, columns):
                    matrix[i, j] -= factor * matrix[row, j]
        pivots[column] = row
        row += 1  # noqa: SIM113 - a column without a pivot returns, so the row is not counted by the loop


@jit
def fly_and_land(chances: FloatArray, variables: FloatArray, draws: FloatArray) -> None:
    """Walk the probabilities (overwritten) to zeros and ones.

    ``variables`` has shape (units, variables), each row x_k / pi_k, the most important variable first. A martingale
    step along a vector that keeps every balancing equation settles at least one unit; when fewer units are open
    than the equations need, the last equation is given up (landing by suppression of variables).
    """
    units, count = variables.shape
    window = np.zeros(count + 1, dtype=np.int64)
    filled, following, used = 0, 0, 0
    while True:
        while filled < count + 1 and following < units:
            if 0.0 < chances[following] < 1.0:
                window[filled] = following
                filled += 1
            following += 1
        if filled == 0:
            return
        equations = min(count, filled - 1)
        size = equations + 1
        matrix = np.empty((equations, size))
        for j in range(size):
            for i in range(equations):
                matrix[i, j] = variables[window[j], i]
        for i in range(equations):
            largest = 0.0
            for j in range(size):
                largest = max(largest, abs(matrix[i, j]))
            if largest > 0.0:
                for j in range(size):
                    matrix[i, j] /= largest
        direction = np.zeros(size)
        if equations == 0:
            direction[0] = 1.0
        else:
            null_vector(matrix, direction)
        ahead, back = np.inf, np.inf
        first_ahead, first_back = 0, 0
        for j in range(size):
            step, chance = direction[j], chances[window[j]]
            if step != 0.0:
                room_ahead = (1.0 - chance) / step if step > 0.0 else -chance / step
                room_back = chance / step if step > 0.0 else (chance - 1.0) / step
                if room_ahead < ahead:
                    ahead, first_ahead = room_ahead, j
                if room_back < back:
                    back, first_back = room_back, j
        onward = draws[used] * (ahead + back) < back
        length = ahead if onward else -back
        # The unit that stops the step is settled exactly, whatever rounding says: every step settles one.
        first = first_ahead if onward else first_back
        chances[window[first]] = 1.0 if (direction[first] > 0.0) == onward else 0.0
        direction[first] = 0.0
        used += 1
        kept = 0
        for j in range(filled):
            unit = window[j]
            if j < size:
                chance = chances[unit] + length * direction[j]
                # 1e-11: what a few thousand steps of rounding leave; a unit that is settled must be exactly so.
                if chance < 1e-11:
                    chance = 0.0
                elif chance > 1.0 - 1e-11:
                    chance = 1.0
                chances[unit] = chance
            if 0.0 < chances[unit] < 1.0:
                window[kept] = unit
                kept += 1
        filled = kept


def cube(probabilities: Any, rng: np.random.Generator, balance: Any = None) -> BoolArray:
    """A sample of fixed size whose Horvitz-Thompson totals of the balancing variables are (nearly) the true ones.

    Parameters
    ----------
    probabilities
        Shape (units,), adding up to a whole number.
    balance
        Shape (units, variables): what is balanced on, the most important first. The size always is, before all.

    Notes
    -----
    Units are taken in random order. The balancing equations hold but for the last units, as many at most as
    there are variables.
    """
    values = check_probabilities(probabilities, fixed_size=True)
    none = np.zeros((values.size, 0))
    variables = none if balance is None else real_array(balance, "balance").astype(np.float64, copy=False)
    if variables.ndim != 2 or variables.shape[0] != values.size:
        raise InputError(f"balance must have shape ({values.size}, variables), got {variables.shape}")
    if not np.isfinite(variables).all():
        raise InputError(f"balance of unit {int(np.flatnonzero(~np.isfinite(variables).all(axis=1))[0])} is not finite")
    drawn = values >= 1.0
    uncertain = np.flatnonzero((values > 0.0) & ~drawn)
    if uncertain.size:
        order = rng.permutation(uncertain)
        chances = values[order]
        expanded = np.column_stack([np.ones(order.size), variables[order] / chances[:, None]])
        fly_and_land(chances, expanded, rng.random(order.size))
        drawn[order] = chances >= 0.5
    return drawn

"""Poisson sampling of a given size: its law by Fourier sums, its draws by rejection, maximum entropy.

Independent units with probabilities p, given that exactly n come out, are the design of maximum entropy for
the inclusion probabilities that it has (Hájek 1981; Chen, Dempster & Liu 1994). With ``phi`` the characteristic
function of the number drawn, S,

    P(S = n) = mean over a grid of theta of phi(theta) exp(-i theta n)
    pi_k     = p_k P(S - I_k = n - 1) / P(S = n),

and S - I_k has the characteristic function ``phi(theta) / (1 - p_k + p_k exp(i theta))``. The grid sum is exact but
for counts that wrap around it, and phi is below rounding for all but a few dozen of its points, whatever the
number of units: the cost is linear in the units, where the classical recursions cost units x n.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError
from l0_gates.designs.probabilities import BoolArray, FloatArray

ComplexArray = npt.NDArray[np.complex128]


def with_expected_size(log_odds: FloatArray, n: int) -> FloatArray:
    """The probabilities whose odds are those given up to one factor and that add up to ``n``.

    The conditional design depends on the odds up to that factor only; with it, the size asked for is the likeliest.
    """
    # The root lies between the shift that gives every unit odds below 1 / units and the one that gives all odds above
    # units; Newton's steps are kept inside what is known of it.
    margin = 1.0 + math.log(log_odds.size)
    low, high = -float(log_odds.max()) - margin, -float(log_odds.min()) + margin
    shift = min(max(0.0, low), high)
    for _ in range(100):
        p = _logistic(log_odds + shift)
        excess = float(p.sum()) - n
        if excess > 0.0:
            high = shift
        else:
            low = shift
        slope = float(np.sum(p * (1.0 - p)))
        following = shift - excess / slope if slope > 0.0 else math.inf
        if not low < following < high:
            following = 0.5 * (low + high)
        if abs(following - shift) <= 1e-15 * max(1.0, abs(shift)):
            break
        shift = following
    return _logistic(log_odds + shift)


def _logistic(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _grid(p: FloatArray) -> tuple[FloatArray, ComplexArray, FloatArray]:
    """Angles where the characteristic function is not negligible, its values there, and their weights."""
    spread = math.sqrt(float(np.sum(p * (1.0 - p))))
    # A count further than 10 spreads and 20 units away has probability below 1e-17 (Bernstein).
    points = min(p.size + 1, math.ceil(20.0 * spread) + 40)
    angles = 2.0 * np.pi * np.arange(points // 2 + 1) / points
    values = np.zeros(angles.size, dtype=np.complex128)
    for i, angle in enumerate(angles):
        factors = 1.0 + p * (np.exp(1j * angle) - 1.0)
        # A product of up to a million factors of modulus at most 1: in logarithms, with its own phase for each.
        # No factor is zero: exp(i pi) in floating point has an imaginary part.
        modulus = float(np.sum(np.log(np.abs(factors))))
        if modulus < -45.0 and spread > 3.0:
            angles, values = angles[: i + 1], values[: i + 1]
            break
        values[i] = np.exp(modulus + 1j * float(np.sum(np.angle(factors))))
    # Conjugate angles are folded in: all but 0 and, on an even grid, pi count twice.
    weights = np.full(angles.size, 2.0 / points)
    weights[0] = 1.0 / points
    if points % 2 == 0 and angles.size == points // 2 + 1:
        weights[-1] = 1.0 / points
    return angles, values, weights


def size_probability(p: FloatArray, n: int) -> float:
    """P(S = n) for independent units with probabilities ``p``."""
    return _weighed(*_grid(p), n)


def _weighed(angles: FloatArray, values: ComplexArray, weights: FloatArray, n: int) -> float:
    return float(np.sum(weights * (values * np.exp(-1j * angles * n)).real))


def conditional_probabilities(p: FloatArray, n: int) -> FloatArray:
    """Exact inclusion probabilities of Poisson sampling with probabilities ``p`` in (0, 1), given size ``n``."""
    # Only the odds matter. The sums are exact to rounding of 1, which is nothing to go by where the size is unlikely.
    if abs(float(p.sum()) - n) > 1e-3:
        p = with_expected_size(np.log(p) - np.log1p(-p), n)
    angles, values, weights = _grid(p)
    whole = _weighed(angles, values, weights, n)
    with_unit = np.zeros(p.size)
    for angle, value, weight in zip(angles, values, weights, strict=True):
        turn = np.exp(1j * angle)
        term = value * np.exp(-1j * angle * (n - 1)) / (1.0 + p * (turn - 1.0))
        with_unit += weight * term.real
    return np.clip(p * with_unit / whole, 0.0, 1.0)


def joint_probabilities(p: FloatArray, n: int) -> FloatArray:
    """Second-order inclusion probabilities, shape (units, units), the first-order ones on the diagonal.

    ``pi_kl = pi_k P(l | k)``, and given that k is drawn the others follow the same design with size n - 1.
    Of the order of units squared: for samples of up to a few thousand units.
    """
    first = conditional_probabilities(p, n)
    if n == 1:
        return np.diag(first)
    result = np.empty((p.size, p.size))
    for k in range(p.size):
        others = np.delete(p, k)
        inner = conditional_probabilities(with_expected_size(np.log(others) - np.log1p(-others), n - 1), n - 1)
        result[k] = first[k] * np.insert(inner, k, 1.0)
    return 0.5 * (result + result.T)


def maximum_entropy_parameters(probabilities: FloatArray, n: int) -> FloatArray:
    """Poisson probabilities p whose sampling given size ``n`` has the inclusion probabilities given, to 1e-8 at worst.

    The log-odds are moved by the difference of the log-odds of what is wanted and what is had; half of it where
    few units are uncertain, since the eigenvalues of that map reach 2 there (the covariance rows add up to zero).

    Parameters
    ----------
    probabilities
        Strictly between 0 and 1, adding up to ``n``.
    """
    wanted = np.log(probabilities) - np.log1p(-probabilities)
    step = 1.0 if float(np.sum(probabilities * (1.0 - probabilities))) > 20.0 else 0.5
    log_odds = wanted.copy()
    for _ in range(2_000):
        p = with_expected_size(log_odds, n)
        had = conditional_probabilities(p, n)
        # What rounding leaves of the sums above, in probabilities or in their log-odds.
        if np.max(np.abs(had - probabilities)) <= 1e-12:
            return p
        had = np.clip(had, 1e-300, 1.0 - 1e-16)
        move = wanted - (np.log(had) - np.log1p(-had))
        if np.max(np.abs(move)) <= 1e-11:
            return p
        log_odds = log_odds + step * move
    # Where rounding leaves more of them, next to 0 and 1, what is left is far below what any survey could notice.
    if np.max(np.abs(had - probabilities)) <= 1e-8:
        return p
    raise InputError(
        "no maximum entropy design was found for these inclusion probabilities; some lie too close to 0 or 1"
    )


def draw_given_size(p: FloatArray, n: int, rng: np.random.Generator) -> BoolArray:
    """Poisson sampling repeated until exactly ``n`` come out: some ``2.5 sqrt(sum p (1 - p))`` trials."""
    while True:
        drawn = rng.random(p.size) < p
        if np.count_nonzero(drawn) == n:
            return drawn

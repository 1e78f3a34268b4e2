"""The restarted primal-dual iteration over the arrays and sparse products of any backend (a GPU, say)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.iteration import Iteration, Opening
from l0_calibrate.solvers.restarts import RestartRule, Travel
from l0_core import Backend
from l0_core.plugins import registry

FloatArray = npt.NDArray[np.float64]


class BackendIteration(Iteration):
    """Two products an iteration, everything else elementwise, all of it in float64 on the backend's device."""

    def __init__(self, fit: Fit, opening: Opening, backend: str) -> None:
        self.rule = RestartRule(opening.omega)
        self._backend: Backend = registry().get("backend", backend)
        self._xp = self._backend.xp
        c = fit.columns
        matrix = sp.csc_array(
            (c.values, c.indices.astype(np.int64), c.indptr.astype(np.int64)), shape=(c.rows, c.count)
        )
        self._map = self._backend.linear_map(matrix, dtype="float64")
        put = self._put
        self._step_u, self._step_y = put(opening.step_u), put(opening.step_y)
        self._lower, self._upper, self._kappa = put(fit.lower), put(fit.upper), put(fit.spread)
        self._pull = put(fit.spread * fit.centre)
        self._b, self._cap = put(fit.b), put(fit.price.cap)
        self._dead_zone, self._curvature = put(fit.price.dead_zone), put(fit.price.curvature)
        self._u = self._u1 = self._u_anchor = put(opening.u)
        self._y = self._y1 = self._y_anchor = put(opening.y)
        self._product = self._product_1 = self._product_anchor = self._map.matvec(self._u)

    def _put(self, values: FloatArray) -> Any:
        return self._backend.asarray(values, "float64")

    def _clip(self, x: Any, low: Any, high: Any) -> Any:
        return self._xp.minimum(self._xp.maximum(x, low), high)

    def step(self, most: int = 1, still: float = -1.0) -> float:
        """One iteration; returns the fixed-point residual."""
        xp, rule = self._xp, self.rule
        q = rule.begin()
        tau = rule.omega * self._step_u
        g = self._map.rmatvec(self._y) - self._pull
        u1 = self._clip((self._u - tau * g) / (1.0 + tau * self._kappa), self._lower, self._upper)
        product_1 = self._map.matvec(u1)
        sigma = self._step_y / rule.omega
        v = self._y + sigma * (2.0 * product_1 - self._product - self._b)
        zone = sigma * self._dead_zone
        v = (v - self._clip(v, -zone, zone)) / (1.0 + sigma * self._curvature)
        y1 = self._clip(v, -self._cap, self._cap)
        du, dy = u1 - self._u, y1 - self._y
        squared = (
            xp.sum(du * du / self._step_u) / rule.omega
            + rule.omega * xp.sum(dy * dy / self._step_y)
            - 2.0 * xp.sum(dy * (product_1 - self._product))
        )
        self._u = q * (2.0 * u1 - self._u) + (1.0 - q) * self._u_anchor
        self._y = q * (2.0 * y1 - self._y) + (1.0 - q) * self._y_anchor
        self._product = q * (2.0 * product_1 - self._product) + (1.0 - q) * self._product_anchor
        self._u1, self._y1, self._product_1 = u1, y1, product_1
        return math.sqrt(max(float(squared), 0.0))

    def restart(self) -> None:
        """Go on from (u1, y1)."""
        self.rule.restart(
            self._travel(self._u1, self._u_anchor, self._step_u), self._travel(self._y1, self._y_anchor, self._step_y)
        )
        self._u = self._u_anchor = self._u1
        self._y = self._y_anchor = self._y1
        self._product = self._product_anchor = self._product_1

    def _travel(self, point: Any, anchor: Any, step: Any) -> Travel:
        change = point - anchor
        length = math.sqrt(float(self._xp.sum(change * change / step)))
        return Travel(length, math.sqrt(float(self._xp.sum(point * point / step))))

    def point(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(u1, y1, A u1)`` on the host."""
        fetch = self._backend.to_numpy
        return fetch(self._u1), fetch(self._y1), fetch(self._product_1)

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``, host to host."""
        return self._backend.to_numpy(self._map.matvec(self._put(u)))

    def gradient(self) -> FloatArray:
        """``A'y1``, on the host."""
        return self._backend.to_numpy(self._map.rmatvec(self._y1))

    def close(self) -> None:
        """Nothing is held beyond the arrays."""

"""The compiled step of the rows, against its formula written out for NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from l0_calibrate.solvers.kernels import Dual, Products, Rows, dual_step

ROWS = 700


@pytest.mark.parametrize(("first", "last"), [(0, ROWS), (0, 256), (255, 258), (300, ROWS), (5, 5)])
@pytest.mark.parametrize("lanes", [1, 3])
def test_is_its_formula(first: int, last: int, lanes: int) -> None:
    random = np.random.default_rng(lanes)
    dual = Dual(*(random.normal(size=ROWS) for _ in range(3)))
    products = Products(*(random.normal(size=ROWS) for _ in range(3)))
    some = random.permutation(np.arange(ROWS) % 3 == 0)
    rows = Rows(
        random.normal(size=ROWS),
        np.where(some, np.inf, random.uniform(0.1, 2.0, ROWS)),
        np.where(random.permutation(some), 0.0, random.uniform(0.0, 2.0, ROWS)),
        np.where(random.permutation(some), 0.0, random.uniform(0.0, 2.0, ROWS)),
        random.uniform(0.5, 2.0, ROWS),
    )
    sums, omega, q = random.normal(size=(lanes - 1, ROWS)), 0.7, 0.9
    before = Dual(*(x.copy() for x in dual)), Products(*(x.copy() for x in products))

    travel, cross = dual_step(first, last, sums, dual, products, rows, omega, q)

    (y, y_anchor, _), (product, new, anchor) = before
    new, sigma = new + sums.sum(axis=0), rows.step / omega
    free = y + sigma * (2.0 * new - product - rows.b)
    shrunk = np.sign(free) * np.maximum(np.abs(free) - sigma * rows.dead_zone, 0.0)
    y1 = np.clip(shrunk / (1.0 + sigma * rows.curvature), -rows.cap, rows.cap)
    at, change = slice(first, last), (y1 - y)[first:last]
    assert travel == pytest.approx((change**2 / rows.step[at]).sum(), rel=1e-12)
    assert cross == pytest.approx((change * (new - product)[at]).sum(), rel=1e-10, abs=1e-12)
    for got, was, wanted in (
        (dual.y, before[0].y, q * (2.0 * y1 - y) + (1.0 - q) * y_anchor),
        (dual.y1, before[0].y1, y1),
        (products.current, product, q * (2.0 * new - product) + (1.0 - q) * anchor),
        (products.new, before[1].new, new),
    ):
        np.testing.assert_allclose(got[at], wanted[at], rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(np.delete(got, np.r_[at]), np.delete(was, np.r_[at]))

"""The block-arrow interior point method: 0.1 % and better, where the rows fall into areas (or are few)."""

from l0_calibrate.solvers.interior_point.solver import InteriorPointSolver

__all__ = ["InteriorPointSolver"]

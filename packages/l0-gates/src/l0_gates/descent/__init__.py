"""L0 coordinate descent: closed form per coordinate, with ridge, bounds, swaps, paths and fixed sizes."""

from l0_gates.descent.problem import DescentSettings, Regression
from l0_gates.descent.search import DescentResult, best_subset, descend, path

__all__ = ["DescentResult", "DescentSettings", "Regression", "best_subset", "descend", "path"]

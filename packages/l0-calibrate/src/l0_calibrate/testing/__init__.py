"""The contract kit of the calibrator: what every loss, selector, solver and distance must do, as pytest classes.

Used as `l0_core.testing` is, whose rules hold here too: subclass the contract of what you have written, override the
fixture that makes it, and its tests are yours::

    from l0_calibrate.testing import SolverContract

    class TestMySolver(SolverContract):
        @pytest.fixture
        def solver(self):
            return MySolver()

The same classes run over every loss, selector, solver and distance that l0-calibrate brings. pytest is needed here and
nowhere else in l0-calibrate: ``pip install 'l0-calibrate[testing]'``.
"""

import pytest

pytest.register_assert_rewrite(*(f"l0_calibrate.testing.{name}" for name in ("distance", "loss", "selector", "solver")))

from l0_calibrate.testing.distance import DistanceContract  # noqa: E402  asserts are rewritten on import
from l0_calibrate.testing.loss import LossContract  # noqa: E402
from l0_calibrate.testing.selector import SelectorContract  # noqa: E402
from l0_calibrate.testing.solver import SolverContract  # noqa: E402

__all__ = ["DistanceContract", "LossContract", "SelectorContract", "SolverContract"]

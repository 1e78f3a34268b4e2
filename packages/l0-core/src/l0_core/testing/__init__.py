"""The contract kit: what every backend, distribution, gate strategy and penalty must do, as pytest classes.

Subclass the contract of what you have written, override the fixture that makes it, and its tests are yours::

    from l0_core.testing import DistributionContract

    class TestTriangularGate(DistributionContract):
        @pytest.fixture
        def distribution(self):
            return TriangularGate(width=0.3)

The same classes run over everything that L0 itself brings. pytest and scipy are needed here and nowhere else
in l0-core: ``pip install 'l0-core[testing]'``.
"""

import pytest

pytest.register_assert_rewrite(
    *(f"l0_core.testing.{name}" for name in ("contract", "backend", "linear_map", "distribution", "gate", "penalty"))
)

from l0_core.testing.backend import BackendContract  # noqa: E402  asserts are rewritten on import
from l0_core.testing.contract import Contract  # noqa: E402
from l0_core.testing.distribution import DistributionContract  # noqa: E402
from l0_core.testing.gate import GateContract  # noqa: E402
from l0_core.testing.penalty import PenaltyContract  # noqa: E402

__all__ = ["BackendContract", "Contract", "DistributionContract", "GateContract", "PenaltyContract"]

"""The contract of solvers over every registered one, and on torch for those that run on any."""

from __future__ import annotations

import pytest

from l0_calibrate.solvers import Machine
from l0_calibrate.testing import SolverContract
from l0_core.plugins import registry

SOLVERS = {name: registry().get("solver", name) for name in registry().names("solver")}


class TestRegisteredSolvers(SolverContract):
    @pytest.fixture(params=SOLVERS)
    def solver(self, request):
        return SOLVERS[request.param]


class TestOnTorch(SolverContract):
    @pytest.fixture(params=[name for name, solver in SOLVERS.items() if solver.runs_on_backends])
    def solver(self, request):
        return SOLVERS[request.param]

    @pytest.fixture
    def machine(self):
        pytest.importorskip("torch")
        return Machine(backend="torch")

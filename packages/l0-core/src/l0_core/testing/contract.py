"""What all contracts have in common: they are kept whole, run in both precisions and watch the global generators."""

from __future__ import annotations

import math
import pickle
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from l0_core.backends.base import Backend
from l0_core.backends.numpy import NumpyBackend

Array = Any
FloatArray = npt.NDArray[np.float64]


class Contract:
    """Tests that a subclass inherits; it overrides fixtures and adds tests, and replaces none.

    Raises
    ------
    TypeError
        When a subclass is defined that replaces or removes a test of the contract.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__[1:]:
            if not issubclass(base, Contract):
                continue
            for name, test in vars(base).items():
                if name.startswith("test_") and getattr(cls, name, None) is not test:
                    raise TypeError(
                        f"{cls.__name__} replaces {name} of {base.__name__}: a contract is kept whole; "
                        "override its fixtures, or add tests under other names"
                    )

    @pytest.fixture(params=["float32", "float64"])
    def dtype(self, request: pytest.FixtureRequest) -> str:
        """Both precisions."""
        return str(request.param)

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend whose arrays are handed in; override it to run the contract on yours."""
        return NumpyBackend()

    @pytest.fixture(autouse=True)
    def _global_generators_stay(self) -> Iterator[None]:
        """Fails a test that draws from, or seeds, a generator of the whole process."""
        before = global_generators()
        yield
        after = global_generators()
        moved = [name for name in before if before[name] != after[name]]
        assert not moved, f"the global generator of {', '.join(moved)} has moved; draw from a generator of your own"

    def gradient_of(self, function: Callable[[Array], Array], at: Array) -> Array | None:
        """The gradient of ``sum(function(at))`` by the library's own differentiation, or None where it has none.

        Override it for a library whose arrays do not differentiate as torch's do.
        """
        if not hasattr(at, "requires_grad_"):
            return None
        leaf = at.detach().clone().requires_grad_()
        function(leaf).sum().backward()
        return leaf.grad


def global_generators() -> dict[str, Any]:
    """The states of the generators of the process: Python's, NumPy's and, where it is loaded, torch's."""
    states = {
        "random": repr(random.getstate()),
        "numpy": pickle.dumps(np.random.get_state(legacy=False)),  # noqa: NPY002  watched, not drawn from
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states


@contextmanager
def moved_generators() -> Iterator[None]:
    """The generators of Python and NumPy elsewhere for a while: what is drawn from them is drawn otherwise."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  moved on purpose, and put back
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def epsilon(dtype: str) -> float:
    """The distance from 1 to the next number of that dtype."""
    return float(np.finfo(dtype).eps)


def on_host(backend: Backend, array: Array) -> FloatArray:
    """The array in double precision on the host."""
    return np.asarray(backend.to_numpy(array), dtype=np.float64)


def distance_bound(draws: int) -> float:
    """How far an empirical distribution may be from its law: exceeded once in 10^9 runs of the right code.

    Massart's constant in the inequality of Dvoretzky, Kiefer & Wolfowitz: P(D > e) <= 2 exp(-2 n e^2).
    """
    return math.sqrt(math.log(2e9) / (2.0 * draws))

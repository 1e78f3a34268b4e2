"""The contract of backends over every registered one that this machine can run, and over one of a third party."""

from __future__ import annotations

import pytest

from l0_core.plugins import registry
from l0_core.testing import BackendContract


class TestRegisteredBackends(BackendContract):
    @pytest.fixture
    def backend(self, any_backend):
        return any_backend


def test_only_a_gpu_may_be_missing(backend_names):
    assert {"numpy", "torch", "strict"} <= backend_names
    if "torch-cuda" not in backend_names:
        pytest.skip("torch-cuda: this machine has no CUDA device")


def test_everything_of_ours_is_registered():
    found = registry()
    assert {"numpy", "torch", "torch-cuda"} <= set(found.names("backend"))
    assert {"hard_concrete", "gaussian", "straight_through"} <= set(found.names("distribution"))
    assert {"l0", "l2", "l0l2"} <= set(found.names("penalty"))
    learning = {"sample", "feature", "hybrid"}
    designs = {"random", "poisson", "systematic", "sampford", "max_entropy", "cube"}
    assert learning | designs <= set(found.names("gate"))

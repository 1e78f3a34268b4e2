from __future__ import annotations

import pytest
import torch

no_cuda = not torch.cuda.is_available()


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(no_cuda, reason="this machine has no CUDA device"))]
)
def device(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _same_weights_in_every_run():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def untouched_generators():
    """Fails the test that moves a global generator."""
    import numpy as np

    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    yield
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()

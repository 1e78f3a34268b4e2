"""Gated models under `DistributedDataParallel`, two processes on one machine."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

SCRIPT = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from l0_torch import GateRule, SparsityControl, gate_module, parameter_groups, seed_gates

rank, file = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
for seeded in (True, False):
    torch.manual_seed(0)  # the same weights on both
    model = gate_module(nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2)), GateRule("weight"))
    if seeded:
        seed_gates(model, 3)
    torch.manual_seed(10 + rank)  # other data and, without seeds, other noise
    parallel = DistributedDataParallel(model)
    control = SparsityControl(model, 40)
    optimiser = torch.optim.Adam(parameter_groups(model, 0.0, lr=0.05), lr=0.01)
    for _ in range(12):
        x = torch.randn(16, 8)
        optimiser.zero_grad()
        (nn.functional.cross_entropy(parallel(x), (x[:, 0] > 0).long()) + control.penalty()).backward()
        optimiser.step()
    draws = model[0].weight_gates().detach().flatten()
    mine = torch.cat([p.detach().flatten() for p in model.parameters()] + [draws, torch.tensor([control.price])])
    both = [torch.empty_like(mine) for _ in range(2)]
    dist.all_gather(both, mine)
    count = draws.numel() + 1
    assert torch.equal(both[0][:-count], both[1][:-count]), "the ranks have drifted apart"
    assert both[0][-1] == both[1][-1], "the price differs"
    assert torch.equal(both[0][-count:-1], both[1][-count:-1]) == seeded
print("as it should be", flush=True)
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_stay_together_and_noise_is_as_documented(tmp_path):
    """Seeded gates are the same on all ranks, others are not; weights, logits and the price are, either way."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meeting")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    try:
        answers = [process.communicate(timeout=120) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    # Not their exit codes: gloo's own threads sometimes abort a process that has done its work.
    assert [out.strip() for out, _ in answers] == ["as it should be"] * 2, "\n".join(error for _, error in answers)

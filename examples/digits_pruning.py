"""Prune a classifier of handwritten digits to a stated size, and compare with magnitude pruning at that size.

Run: python examples/digits_pruning.py

A multilayer perceptron (64-300-100-10, 50,400 weights) learns scikit-learn's digits. Then
1. gates on weights keep 1,000 of them (2 %) at a test accuracy of at least 0.965; magnitude pruning keeps as
   many, with as many epochs, in one cut and in eight;
2. gates on units make the network really smaller: bytes and milliseconds before and after.

Needs l0-torch and scikit-learn; less than a minute on one core.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

from l0_core.sparsity_control import ControlSettings
from l0_torch import GateRule, SparsityControl, compact, gate_module, keep_exactly, parameter_groups, size_report

KEEP = 1_000
STATED = 0.965
UNITS = 60
DENSE_EPOCHS, SPARSE_EPOCHS, REFIT_EPOCHS = 40, 120, 40
BATCH = 128


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    digits = load_digits()
    parts = train_test_split(digits.data / 16.0, digits.target, test_size=0.3, random_state=0, stratify=digits.target)
    x_train, x_test, y_train, y_test = (torch.as_tensor(part) for part in parts)
    return x_train.float(), y_train.long(), x_test.float(), y_test.long()


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epochs: int,
    penalty: Callable[[], Tensor] | None = None,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Adam with weight decay on the weights alone, in the same order of batches for every model."""
    groups = parameter_groups(model, weight_decay=1e-4, lr=0.05)
    optimiser = torch.optim.AdamW(groups, lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            optimiser.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(model(x[batch]), y[batch])
            (loss if penalty is None else loss + penalty()).backward()
            optimiser.step()
            if after_step is not None:
                after_step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model.eval()(x).argmax(dim=1) == y).float().mean())


def weights_of(model: nn.Module) -> list[Tensor]:
    return [p for name, p in model.named_parameters() if name.endswith("weight")]


def fix_zeros(model: nn.Module) -> Callable[[], None]:
    """A function that puts the zeros of now back, for training on a fixed set of weights."""
    masks = [(weight, weight.detach() != 0) for weight in weights_of(model)]

    @torch.no_grad()
    def put_back() -> None:
        for weight, mask in masks:
            weight.mul_(mask)

    return put_back


@torch.no_grad()
def prune_by_magnitude(model: nn.Module, keep: int) -> nn.Module:
    """The model with all but the ``keep`` largest weights set to zero."""
    model = copy.deepcopy(model)
    weights = weights_of(model)
    sizes = torch.cat([weight.abs().flatten() for weight in weights])
    chosen = torch.zeros(len(sizes)).scatter_(0, sizes.topk(keep).indices, 1.0)
    for weight, mask in zip(weights, chosen.split([w.numel() for w in weights]), strict=True):
        weight.mul_(mask.reshape(weight.shape))
    return model


def prune_by_gates(dense: nn.Module, x: Tensor, y: Tensor, rule: GateRule, keep: int) -> nn.Module:
    """Train gates to the number asked for, close all the others for good, and fit the weights that are left."""
    model = gate_module(copy.deepcopy(dense), rule)
    steps = SPARSE_EPOCHS * (-(-len(x) // BATCH))
    control = SparsityControl(model, keep, ControlSettings(warmup=steps // 2))
    train(model, x, y, SPARSE_EPOCHS, control.penalty)
    expected = float(control.expected_open().detach())
    print(
        f"  asked for {keep:,} open gates; expected count after training {expected:,.1f}, "
        f"price found {control.price:.2e} per gate"
    )
    keep_exactly(model, keep)
    return model


def main() -> None:
    torch.manual_seed(0)
    x, y, x_test, y_test = data()
    dense = mlp()
    train(dense, x, y, DENSE_EPOCHS)
    print(f"dense: 50,400 weights, test accuracy {accuracy(dense, x_test, y_test):.4f}")

    start = time.perf_counter()
    gated = prune_by_gates(dense, x, y, GateRule("weight", init_sparsity=0.05), KEEP)
    sparse = compact(gated, x_test)
    train(sparse, x, y, REFIT_EPOCHS, after_step=fix_zeros(sparse))
    count = sum(int((w != 0).sum()) for w in weights_of(sparse))
    reached = accuracy(sparse, x_test, y_test)
    print(f"gates: {count:,} weights, test accuracy {reached:.4f} ({time.perf_counter() - start:.1f} s)")

    once = prune_by_magnitude(dense, KEEP)
    train(once, x, y, SPARSE_EPOCHS + REFIT_EPOCHS, after_step=fix_zeros(once))
    print(f"magnitude, in one cut: {KEEP:,} weights, test accuracy {accuracy(once, x_test, y_test):.4f}")

    gradual, cuts = copy.deepcopy(dense), 8
    for cut in range(1, cuts + 1):
        gradual = prune_by_magnitude(gradual, round(50_400 * (KEEP / 50_400) ** (cut / cuts)))
        train(gradual, x, y, (SPARSE_EPOCHS + REFIT_EPOCHS) // cuts, after_step=fix_zeros(gradual))
    print(f"magnitude, in {cuts} cuts: {KEEP:,} weights, test accuracy {accuracy(gradual, x_test, y_test):.4f}")

    if reached < STATED or count > KEEP:
        raise SystemExit(f"the stated point (accuracy {STATED} with {KEEP:,} weights) was not reached")

    rule = GateRule("output", init_sparsity=0.05, where=lambda path, layer: path != "4")
    narrow = prune_by_gates(dense, x, y, rule, UNITS)
    small = compact(narrow, x_test)
    print(f"gates on units: {UNITS} of 400 hidden units\n{size_report(dense, small, x_test, equal=False)}")
    train(small, x, y, REFIT_EPOCHS)
    print(f"  test accuracy {accuracy(small, x_test, y_test):.4f}")


if __name__ == "__main__":
    main()

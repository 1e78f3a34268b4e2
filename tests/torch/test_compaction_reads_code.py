"""What else a model's code does with a layer than hand its output on decides whether it may be made smaller."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from l0_torch import CompactionError, compact
from l0_torch.compaction.compact import check_equal


def half_read() -> nn.Sequential:
    """4 -> 16 -> 3, of whose 16 units the last layer reads 8."""
    body = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        body[2].weight[:, :8] = 0.0
    return body


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = half_read()


class OtherContext(Base):
    def forward(self, x, context=None):
        hidden = self.body[0](x)
        context = hidden if context is None else context
        return self.body[2](torch.relu(hidden)) + context.mean()


class Switch(Base):
    def forward(self, x, hidden_too=False):
        hidden = torch.relu(self.body[0](x))
        return (self.body[2](hidden), hidden) if hidden_too else self.body[2](hidden)


class TwoSwitches(Base):
    """Gives its hidden units where both are on."""

    def forward(self, x, inner=False, raw=False):
        hidden = self.body[0](x)
        return hidden if inner and raw else self.body[2](torch.relu(hidden))


class SwitchedMask(Base):
    def forward(self, x, mask=None, raw=False):
        hidden = torch.relu(self.body[0](x))
        return hidden * mask if raw and mask is not None else self.body[2](hidden)


class Number(Base):
    def forward(self, x, scale=1.0):
        return self.body(x) * scale


class Loop(Base):
    """Cannot be traced, and gives what its layers give one by one."""

    def forward(self, x):
        if bool(x.sum() > 1e9):
            return x
        outputs = []
        for layer in self.body:
            x = layer(x)
            outputs.append(x)
        return outputs


class SharedParts(nn.Module):
    """Cannot be traced; its two parts have a layer in common."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = half_read(), half_read()
        self.two[0] = self.one[0]
        nn.init.normal_(self.two[2].weight)

    def forward(self, x):
        return self.one(x) + self.two(x) if bool(x.sum() < 1e9) else x


class SharedBias(nn.Module):
    """Cannot be traced; its two parts have a bias in common, and one has constant units."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in range(2))
        self.two[2].bias = self.one[2].bias
        with torch.no_grad():
            self.one[0].weight[:8], self.one[0].bias[:8] = 0.0, 1.0

    def forward(self, x):
        return self.one(x) + self.two(x) if bool(x.sum() < 1e9) else x


class EncoderLayer(nn.TransformerEncoderLayer):
    """Reads its hidden units a second time."""

    def __init__(self) -> None:
        super().__init__(4, 2, 16, batch_first=True)
        with torch.no_grad():
            self.linear2.weight[:, :8] = 0.0

    def forward(self, x):
        hidden = self.activation(self.linear1(x))
        return self.linear2(hidden) * hidden.sum()


class TwoIntoOne(nn.Module):
    """One layer reads the units of two, of which one has some that are always 0."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(4, 16), nn.Linear(4, 16), nn.Linear(16, 3)
        with torch.no_grad():
            self.one.weight[:8], self.one.bias[:8] = 0.0, 0.0

    def forward(self, x):
        return self.head(torch.relu(self.one(x))) + self.head(torch.relu(self.two(x)))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (OtherContext(), {}),
        (OtherContext(), {"context": torch.ones(3)}),
        (Switch(), {}),
        (Switch(), {"hidden_too": True}),
        (TwoSwitches(), {"inner": True, "raw": True}),
        (SwitchedMask(), {"mask": torch.ones(16), "raw": True}),
        (Loop(), {}),
        (SharedParts(), {}),
        (SharedBias(), {}),
        (EncoderLayer(), {}),
        (TwoIntoOne(), {}),
        (nn.Sequential(nn.Embedding(4, 16, max_norm=0.5), half_read()[2]), {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else ",".join(value),
)
@pytest.mark.parametrize("with_example", [False, True])
def test_outputs_are_equal_whatever_the_code_reads(model, options, with_example):
    torch.manual_seed(1)
    x = torch.arange(4) if isinstance(model, nn.Sequential) else torch.randn(5, 4)
    small = compact(model.eval(), *((x,) if with_example else ()))
    torch.testing.assert_close(small(x, **options), model(x, **options))


@pytest.mark.parametrize("model", [Number(), nn.Sequential(Base().body, nn.Flatten(0))])
def test_what_no_argument_changes_is_made_smaller(model):
    assert sum(p.numel() for p in compact(model).parameters()) == 8 * 4 + 8 + 3 * 8 + 3


def test_dropout_that_is_on_in_evaluation_makes_no_constant():
    class Noisy(Base):
        def forward(self, x):
            return self.body[2](functional.dropout(self.body[0](x), 0.5))

    model = Noisy()
    with torch.no_grad():
        model.body[0].weight[8:] = 0.0
    assert compact(model).body[0].out_features == 16


def test_hooks_of_containers_see_what_they_saw():
    body = half_read()
    model = nn.Sequential(nn.Sequential(body[0], body[1]), body[2])
    seen: list[torch.Tensor] = []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    small = compact(model)
    assert seen == []
    small(torch.ones(2, 4))
    assert seen[0].shape == (2, 16)


def test_a_model_that_remembers_keeps_no_symbols():
    class Remembers(Base):
        def __init__(self) -> None:
            super().__init__()
            self.last = None
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.last, self.calls = self.body(x), self.calls + 1
            return self.last

    small = compact(Remembers())
    assert small.last is None
    assert float(small.calls) == 0.0
    assert copy.deepcopy(small).body[0].out_features == 8
    pickle.dumps(small.state_dict())


class Masked(Base):
    def forward(self, x):
        scores = self.body(x).masked_fill(torch.tensor([True, False, False]), -torch.inf)
        return scores, scores.argmax(1), scores > 0, torch.complex(scores, scores)


def test_outputs_of_any_dtype_are_compared():
    model, x = Masked(), torch.randn(5, 4)
    small = compact(model, x)
    assert small.body[0].out_features == 8
    with torch.no_grad():
        small.body[2].bias[1] += 1e-2
    with pytest.raises(CompactionError, match="differs"):
        check_equal(model, small, x)
    with torch.no_grad():
        small.body[2].bias[1] = torch.nan
    with pytest.raises(CompactionError, match="differs"):
        check_equal(model, small, x)
    check_equal(small, small, x)


def test_a_compact_model_that_does_not_run_is_refused():
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Linear(16, 3))  # that normalises dimension 1
    with torch.no_grad():
        model[2].weight[:, :8] = 0.0
    assert compact(model, torch.randn(5, 4))[0].out_features == 8
    with pytest.raises(CompactionError, match="does not run"):
        compact(model, torch.randn(5, 16, 4))


def test_an_output_that_cannot_be_compared_is_refused():
    class Opaque(Base):
        def forward(self, x):
            return {self.body(x)}

    with pytest.raises(CompactionError, match="no tensors"):
        compact(Opaque(), torch.ones(2, 4))

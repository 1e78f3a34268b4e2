"""Taking channels out of a chain of plain layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from l0_torch.compaction.chains import Chain
from l0_torch.compaction.steps import Constants, pads_with_zeros, sliced_parameter


def _produced(producer: Any) -> Constants:
    """The producer's constant channels: those all of whose weights are zero."""
    if isinstance(producer, nn.Embedding):
        silent = (producer.weight == 0).all(dim=0)
        return Constants(silent, torch.zeros_like(producer.weight[0]))
    silent = (producer.weight.flatten(1) == 0).all(dim=1)
    values = torch.zeros_like(producer.weight.flatten(1)[:, 0]) if producer.bias is None else producer.bias
    return Constants(silent, values.detach().clone())


def _read(consumer: Any, columns: Tensor) -> Tensor:
    """Shape (outputs, channels, numbers per channel): the consumer's weights, by channel."""
    weight: Tensor = consumer.weight
    return weight[:, columns.to(weight.device)].flatten(2)


@torch.no_grad()
def shrink(chain: Chain) -> bool:
    """Take out the channels that nobody reads or that are constant; whether there were any.

    What a constant channel gives its reader goes into the reader's bias. One channel always stays.
    """
    consumer: Any = chain.consumer
    state = _produced(chain.producer)
    for step in chain.steps:
        state = step.constants(state)
    weights = _read(consumer, chain.columns)
    unread = (weights == 0).all(dim=2).all(dim=0)
    foldable = state.known & torch.isfinite(state.values)
    if not isinstance(consumer, nn.Linear) and pads_with_zeros(consumer):
        foldable &= state.values == 0  # the border would be zero, not the constant
    kept = ~(unread | foldable)
    if not bool(kept.any()):
        kept[0] = True
    if bool(kept.all()):
        return False
    folded = ~kept & ~unread
    _fold(consumer, (weights.sum(dim=2)[:, folded] * state.values[folded]).sum(dim=1))
    _slice_producer(chain.producer, kept)
    for step in chain.steps:
        step.slice(kept)
    _slice_consumer(consumer, chain.columns, kept)
    return True


def _fold(consumer: Any, shift: Tensor) -> None:
    """Add to the consumer's bias (which it gets where it has none and needs one)."""
    if not bool((shift != 0).any()):
        return
    if consumer.bias is None:
        consumer.bias = nn.Parameter(shift.clone(), requires_grad=consumer.weight.requires_grad)
    else:
        consumer.bias.add_(shift)


def _slice_producer(producer: Any, kept: Tensor) -> None:
    index = torch.nonzero(kept).flatten()
    if isinstance(producer, nn.Embedding):
        producer.weight = sliced_parameter(producer.weight, index, dim=1)  # type: ignore[assignment]
        producer.embedding_dim = int(index.numel())
        return
    producer.weight, producer.bias = sliced_parameter(producer.weight, index), sliced_parameter(producer.bias, index)
    if isinstance(producer, nn.Linear):
        producer.out_features = int(index.numel())
    else:
        producer.out_channels = int(index.numel())


def _slice_consumer(consumer: Any, columns: Tensor, kept: Tensor) -> None:
    index = torch.sort(columns.to(kept.device)[kept].flatten()).values
    consumer.weight = sliced_parameter(consumer.weight, index, dim=1)
    if isinstance(consumer, nn.Linear):
        consumer.in_features = int(index.numel())
    else:
        consumer.in_channels = int(index.numel())

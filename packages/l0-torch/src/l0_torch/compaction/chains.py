"""Finding the pairs of layers between which channels can be taken out."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from l0_torch.compaction.steps import Depthwise, Elementwise, Normalisation, Pooling, Step
from l0_torch.compaction.tracing import Trace, traces
from l0_torch.encoder_layers import feed_forwards
from l0_torch.hooks import has_hooks

_CONVS = (nn.Conv1d, nn.Conv2d)
_ELEMENTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout,
)  # fmt: skip
_ELEMENTWISE_FUNCTIONS: dict[Any, Callable[[Tensor], Tensor]] = {
    **dict.fromkeys((torch.relu, functional.relu, torch.nn.functional.relu_, torch.relu_, "relu", "relu_"), torch.relu),
    **dict.fromkeys((torch.tanh, functional.tanh, "tanh"), torch.tanh),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, "sigmoid"), torch.sigmoid),
    functional.relu6: functional.relu6,
    functional.gelu: functional.gelu,
    functional.silu: functional.silu,
    functional.hardswish: functional.hardswish,
    functional.mish: functional.mish,
}
"""Functions of one tensor alone; one with further arguments in the graph is not taken for one of these."""

_STEADY_POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
)  # fmt: skip


@attrs.frozen(eq=False)
class Chain:
    """A layer, what stands between, and the one layer that reads it.

    Parameters
    ----------
    producer
        Linear, convolution (one group) or embedding.
    steps
        Operations in between, in order.
    consumer
        Linear, or convolution (one group).
    columns
        Shape (channels, columns per channel): the consumer's input positions that read each channel.
    key
        Equal for equal operations on the same modules.
    """

    producer: Any
    steps: tuple[Step, ...]
    consumer: Any
    columns: Tensor
    key: tuple[Any, ...]


def find_chains(model: nn.Module, *, parts: bool) -> list[Chain]:
    """Every chain of the model, from symbolic traces of it.

    Parameters
    ----------
    parts
        Whether those of its children are looked for where the model itself cannot be traced. They are right only
        if its code calls the children whole, which nobody can see.
    """
    owners = _owners(model)
    places = _places(model)
    found: dict[int, Chain] = {}
    for chain in (*_traced_chains(model, owners, places, parts), *_feed_forward_chains(model, owners)):
        found.setdefault(id(chain.producer), chain)
    return list(found.values())


def _traced_chains(model: nn.Module, owners: Counter[int], places: Counter[int], parts: bool) -> Iterator[Chain]:
    ways = traces(model)
    if ways is None:
        if parts:
            for child in model.children():
                yield from _traced_chains(child, owners, places, parts)
        return
    inside = _places(model)
    found = [_chains_of(way, owners, lambda m: places[id(m)] == inside[id(m)]) for way in ways]
    for key, chain in {key: chain for chains in found for key, chain in chains.items()}.items():
        layers = [chain.producer, chain.consumer, *(part for step in chain.steps for part in step.modules())]
        if all(
            key in chains or not any(way.touches(layer) for layer in layers)
            for way, chains in zip(ways, found, strict=True)
        ):
            yield chain


def _chains_of(
    way: Trace, owners: Counter[int], only_here: Callable[[nn.Module], bool]
) -> dict[tuple[Any, ...], Chain]:
    """The chains of one way through the model, by the operations that they consist of."""

    def alone(module: nn.Module) -> bool:
        read = any(way.read[id(p)] for p in module.parameters())
        return way.calls[id(module)] == 1 and not read and only_here(module) and _unshared(module, owners)

    found = {}
    for node in way.graph.nodes:
        if node.op != "call_module" or not alone(way.modules[str(node.target)]):
            continue
        producer: Any = way.modules[str(node.target)]
        if not (type(producer) in (nn.Linear, nn.Embedding) or (type(producer) in _CONVS and _groups(producer) == 1)):
            continue
        if isinstance(producer, nn.Embedding) and producer.max_norm is not None:
            continue  # the norm of a row is that of all its dimensions
        chain = _follow(node, producer, way.modules, alone)
        if chain is not None:
            found[chain.key] = chain
    return found


def _places(model: nn.Module) -> Counter[int]:
    """By id, under how many names each module is in the model."""
    return Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))


def _owners(model: nn.Module) -> Counter[int]:
    """How many modules have each parameter."""
    return Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))


def _unshared(module: nn.Module, owners: Counter[int]) -> bool:
    # A hook may make the weight anew, change the output, or count on its shape.
    return not has_hooks(module) and all(owners[id(p)] == 1 for p in module.parameters())


def _feed_forward_chains(model: nn.Module, owners: Counter[int]) -> Iterator[Chain]:
    """Those inside torch's transformer layers, which a trace does not look into."""
    for first, activation, second in feed_forwards(model):
        if type(first) is not nn.Linear or type(second) is not nn.Linear:
            continue
        if not (_unshared(first, owners) and _unshared(second, owners)):
            continue
        step: Step | None = None
        if isinstance(activation, nn.Module):
            step = _module_step(activation, lambda module: True)
        elif activation in _ELEMENTWISE_FUNCTIONS:
            step = Elementwise(_ELEMENTWISE_FUNCTIONS[activation])
        if isinstance(step, Elementwise):
            yield Chain(first, (step,), second, torch.arange(first.out_features)[:, None], (id(first), id(second)))


def _groups(conv: Any) -> int:
    return int(conv.groups)


def _follow(
    node: fx.Node, producer: Any, modules: dict[str, nn.Module], alone: Callable[[nn.Module], bool]
) -> Chain | None:
    """The chain that starts here, if every operation up to the next layer can be understood."""
    spatial = type(producer) in _CONVS
    channels = producer.embedding_dim if isinstance(producer, nn.Embedding) else producer.weight.shape[0]
    steps: list[Step] = []
    key: list[Any] = [id(producer)]
    flattened = False
    while len(node.users) == 1:
        previous, node = node, next(iter(node.users))
        if not node.args or node.args[0] is not previous or node.all_input_nodes != [previous]:
            return None
        key.append(id(modules[str(node.target)]) if node.op == "call_module" else node.target)
        if _is_flatten(node, modules):
            flattened = True
            continue
        module = modules[str(node.target)] if node.op == "call_module" else None
        if type(module) in (nn.Linear, *_CONVS) and module is not None and _reads_all(module):
            columns = _columns(module, channels, spatial, flattened) if alone(module) else None
            return None if columns is None else Chain(producer, tuple(steps), module, columns, tuple(key))
        step = _module_step(module, alone) if module is not None else _function_step(node)
        if step is None or (step.spatial and (not spatial or flattened)):
            return None
        if step.channels() is not None and (flattened or step.channels() != channels):
            return None
        steps.append(step)
    return None


def _reads_all(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or _groups(module) == 1


def _columns(consumer: Any, channels: int, spatial: bool, flattened: bool) -> Tensor | None:
    """The consumer's input positions of each channel, or None where it does not read channels."""
    inputs = int(consumer.weight.shape[1])
    positions = torch.arange(inputs)
    if type(consumer) in _CONVS:
        return positions[:, None] if spatial and not flattened and inputs == channels else None
    if inputs % channels or (not flattened and (spatial or inputs != channels)):
        return None
    # A flattened map has its channels one after another; a flattened sequence has them side by side.
    return positions.reshape(channels, -1) if spatial else positions.reshape(-1, channels).t()


def _is_flatten(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        module = modules[str(node.target)]
        return isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)
    if node.target not in (torch.flatten, "flatten"):
        return False
    given = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | dict(node.kwargs)
    return (given.get("start_dim", 0), given.get("end_dim", -1)) == (1, -1)


def _module_step(module: nn.Module, alone: Callable[[nn.Module], bool]) -> Step | None:
    if has_hooks(module):
        return None
    if type(module) in _ELEMENTWISE_MODULES:
        return Elementwise(functools.partial(_evaluated, module))
    if type(module) in _STEADY_POOLS:
        return Pooling(pads=False)
    if type(module) in (nn.AvgPool1d, nn.AvgPool2d):
        if getattr(module, "divisor_override", None) is not None:
            return None  # the mean of a constant is another number
        pool: Any = module
        padding = pool.padding if isinstance(pool.padding, tuple) else (pool.padding,)
        return Pooling(pads=any(padding) and bool(pool.count_include_pad))
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d) and alone(module):
        # Without running statistics a channel's output depends on the batch.
        return Normalisation(module) if getattr(module, "running_mean", None) is not None else None
    if type(module) in _CONVS and alone(module):
        conv: Any = module
        return Depthwise(conv) if conv.groups == conv.in_channels == conv.out_channels else None
    return None


def _evaluated(module: nn.Module, values: Tensor) -> Tensor:
    """An elementwise module's function of evaluation, whatever mode it is in."""
    if isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)):
        return values
    result: Tensor = module(values.clone())  # cloned: some are set to work in place
    return result


def _function_step(node: fx.Node) -> Step | None:
    if node.target in (functional.dropout, functional.dropout1d, functional.dropout2d):
        # Dropout that is on in evaluation too (its default) makes no constant of a constant.
        on = node.args[2] if len(node.args) > 2 else node.kwargs.get("training", True)
        return Elementwise(lambda values: values) if on is False else None
    if len(node.args) > 1 or set(node.kwargs) - {"inplace"}:
        if node.target in (functional.max_pool1d, functional.max_pool2d, torch.max_pool1d, torch.max_pool2d):
            return Pooling(pads=False)
        return None
    function = _ELEMENTWISE_FUNCTIONS.get(node.target)
    return None if function is None else Elementwise(function)

"""What a model does, as symbolic traces of it: one for each way in which its optional arguments send it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
from torch import fx, nn

from l0_torch.hooks import has_hooks
from l0_torch.layers.attention import MultiheadAttention
from l0_torch.layers.base import GatedLayer
from l0_torch.stochastic_gates import StochasticGates

_log = logging.getLogger(__name__)

_ALL_WAYS = 5
"""Optional arguments of which all combinations are traced."""


@attrs.frozen(eq=False)
class Trace:
    """One way through a model.

    Parameters
    ----------
    graph
        Of torch.fx; torch's own modules are leaves.
    modules
        By path, each under all its names.
    calls
        By id of a module how often it is called; what a leaf holds is called with it.
    read
        Ids of the parameters that the model's own code reads, beside the layer that has them.
    """

    graph: fx.Graph
    modules: dict[str, nn.Module]
    calls: Counter[int]
    read: Counter[int]

    def touches(self, module: nn.Module) -> bool:
        """Whether the module is called or one of its parameters read."""
        return bool(self.calls[id(module)] or any(self.read[id(p)] for p in module.parameters()))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # Hooks see what their module gives, so that nothing inside it may change its shape; nor are they for proxies.
        ours = isinstance(m, (GatedLayer, StochasticGates, MultiheadAttention)) or has_hooks(m)
        return ours or super().is_leaf_module(m, module_qualified_name)


def traces(model: nn.Module) -> list[Trace] | None:
    """The ways through the model in the mode that it is in, or None where one of them cannot be traced.

    Each optional argument is left out in some and given in others, where those that default to true or false are the
    opposite: in all combinations of up to five such arguments, and by twos, and all at once, where there are more.
    """
    try:
        return [_traced(model, fixed) for fixed in _ways(model)]
    except Exception as error:  # whatever the model's own code raises on a symbolic input
        _log.info("%s cannot be traced as a whole (%s)", type(model).__name__, error)
        return None


def _ways(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Which arguments of `forward` have which fixed values."""
    parameters = inspect.signature(type(model).forward).parameters.values()
    defaults = {p.name: p.default for p in parameters if isinstance(p.default, (bool, int, float, str, type(None)))}
    together = len(defaults) if len(defaults) <= _ALL_WAYS else 2
    counts = [*range(together + 1), *([len(defaults)] if together < len(defaults) else [])]
    for changed in itertools.chain.from_iterable(itertools.combinations(defaults, count) for count in counts):
        kept = {name: value for name, value in defaults.items() if name not in changed}
        yield kept | {name: not defaults[name] for name in changed if isinstance(defaults[name], bool)}


def _traced(model: nn.Module, fixed: dict[str, Any]) -> Trace:
    with _attributes_restored(model):
        graph = _Tracer().trace(model, concrete_args=fixed or None)
    modules = dict(model.named_modules(remove_duplicate=False))
    leaves = [modules[str(node.target)] for node in graph.nodes if node.op == "call_module"]
    read = (functools.reduce(getattr, str(n.target).split("."), model) for n in graph.nodes if n.op == "get_attr")
    calls = Counter(id(part) for leaf in leaves for part in leaf.modules())
    return Trace(graph, modules, calls, Counter(id(value) for value in read))


@contextlib.contextmanager
def _attributes_restored(model: nn.Module) -> Iterator[None]:
    """Models that keep what they saw last must not keep the symbols of a trace."""
    places = [part.__dict__ for part in model.modules()]
    places += [part._buffers for part in model.modules()]
    before = [dict(place) for place in places]
    try:
        yield
    finally:
        for place, values in zip(places, before, strict=True):
            place.clear()
            place.update(values)

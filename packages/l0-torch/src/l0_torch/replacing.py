"""Replacing modules inside a model, each once however often it is used."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replace_modules(model: nn.Module, make: Callable[[str, nn.Module], nn.Module | None]) -> nn.Module:
    """The model with modules replaced in place; the replacement itself where the model is replaced.

    Parameters
    ----------
    make
        Of (path, module) the replacement, or None to look inside. Asked once for each module.
    """
    memo: dict[int, nn.Module] = {}

    def visit(path: str, module: nn.Module) -> nn.Module:
        if id(module) not in memo:
            replacement = make(path, module)
            memo[id(module)] = module if replacement is None else replacement
            if replacement is None:
                # Not named_children, which leaves out the second name of a shared module.
                for name, child in [(n, m) for n, m in module._modules.items() if m is not None]:
                    found = visit(f"{path}.{name}" if path else name, child)
                    if found is not child:
                        setattr(module, name, found)
        return memo[id(module)]

    return visit("", model)

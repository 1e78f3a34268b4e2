"""Hooks that users have registered on layers."""

from __future__ import annotations

from torch import nn

from l0_core.errors import InputError

_OF_CALLS = (
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_backward_pre_hooks", "_backward_hooks",
)  # fmt: skip
"""Where torch keeps the hooks that run when a module is called, and what it notes of each."""


def has_hooks(module: nn.Module) -> bool:
    """Whether anything runs before or after the module, forwards or backwards."""
    return any(getattr(module, name) for name in _OF_CALLS)


def refuse_hooks_of_its_own(path: str, layer: nn.Module) -> None:
    """InputError where a gated layer has hooks that the plain layer in its place could not have.

    Those on modules inside it, and those that make a parameter anew at each call (old weight or spectral
    normalisation, pruning).
    """
    for name, part in layer.named_modules():
        if part is not layer and has_hooks(part):
            raise InputError(
                f"module {'.'.join(filter(None, (path, name)))!r} has hooks, and is not part of the plain layer that "
                "takes its place; remove them, or register them on the gated layer itself"
            )
    for hook in layer._forward_pre_hooks.values():
        if type(hook).__module__.startswith("torch.nn.utils."):
            raise InputError(
                f"layer {path!r} has a hook that makes a parameter anew at each call ({type(hook).__name__}), which "
                "the plain layer in its place cannot have; make the parameter permanent first "
                "(torch.nn.utils.remove_weight_norm, remove_spectral_norm or prune.remove)"
            )


def with_hooks_of(layer: nn.Module, plain: nn.Module) -> nn.Module:
    """The plain layer, which has the inputs and outputs of the gated one, with that one's hooks."""
    for name in _OF_CALLS:
        getattr(plain, name).update(getattr(layer, name))
    plain._is_full_backward_hook = layer._is_full_backward_hook
    return plain

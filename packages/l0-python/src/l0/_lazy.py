"""How every module of the umbrella re-exports: names are imported when they are asked for (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(
    namespace: dict[str, Any], homes: Mapping[str, tuple[str, ...]], modules: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a module whose names live elsewhere.

    Parameters
    ----------
    namespace
        ``globals()`` of the module.
    homes
        Names by the module that defines them.
    modules
        Submodules that are attributes without being imported first.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    module = namespace["__name__"]

    def get(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{module}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home_of[name]), name)
        namespace[name] = value
        return value

    def names() -> list[str]:
        return sorted({*namespace, *home_of, *modules} - {"annotations", "lazy", "TYPE_CHECKING"})

    return get, names

"""What a hook returns (`PluginRecord`) and what `plugins()` lists (`PluginInfo`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

import attrs

_TARGET = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")
_DISTRIBUTION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def _matches(pattern: re.Pattern[str], shape: str):  # type: ignore[no-untyped-def]
    def check(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
        if not isinstance(value, str) or not pattern.match(value):
            raise ValueError(f"{attribute.name} must look like {shape}, got {value!r}")

    return check


def _text(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{attribute.name} must be a text, got {value!r}")


def _names(values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise ValueError(f"requires must be several names, such as ({values!r},), got the text {values!r}")
    return tuple(values)


@attrs.frozen
class PluginRecord:
    """A name and where its implementation lives; nothing is imported until the name is asked for.

    Parameters
    ----------
    name
        What users type: lower case letters, digits, ``-`` and ``_``.
    target
        ``"package.module:attribute"``, a class or function that builds the implementation
        when it is called with the settings of the request.
    summary
        One line for the list of plugins.
    requires
        Names of the distributions without which the target cannot be imported (``"torch"``).
    install
        What to give to ``pip install`` when one of them is missing; the missing names by default.
    probe
        ``"package.module:function"``: says in a few words what this machine lacks for it (a device), "" for
        nothing. Only the list of plugins calls it, so it must be quick: no heavy imports.
    """

    name: str = attrs.field(validator=_matches(_NAME, "'lower-case-name'"))
    target: str = attrs.field(validator=_matches(_TARGET, "'package.module:attribute'"))
    summary: str = attrs.field(validator=_text)
    requires: tuple[str, ...] = attrs.field(
        default=(),
        converter=_names,
        validator=attrs.validators.deep_iterable(_matches(_DISTRIBUTION, "a distribution's name")),
    )
    install: str = ""
    probe: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(_matches(_TARGET, "'package.module:function'"))
    )


@attrs.frozen
class PluginKind:
    """A kind of extension: the hook that announces it and the interface that it must have.

    Parameters
    ----------
    name
        Singular, as in messages: ``"backend"``.
    hook
        The hook of that kind: ``"l0_backends"``.
    interface
        ``"module:Class"`` that what the target builds must be an instance of.
    homes
        ``{name: distribution}`` of the implementations that other distributions are known to bring.
    """

    name: str
    hook: str
    interface: str = attrs.field(validator=_matches(_TARGET, "'package.module:Class'"))
    homes: dict[str, str] = attrs.field(factory=dict)


class PluginState(StrEnum):
    """Whether a plugin can be used."""

    OK = "ok"
    MISSING = "missing dependency"
    NO_DEVICE = "missing device"
    CONFLICT = "conflict"
    BROKEN = "broken"


@attrs.frozen
class PluginInfo:
    """One line of `plugins()`: what it is, who brings it, and whether it can be used.

    ``name`` is empty for a package whose entry point could not be loaded at all; ``detail`` then
    holds the error, otherwise the remedy where there is one to give.
    """

    kind: str
    name: str
    package: str
    version: str
    state: PluginState
    summary: str = ""
    target: str = ""
    detail: str = ""

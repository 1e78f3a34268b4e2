"""Options that belong together are one attrs class: a command takes it whole, the command line sees its fields."""

from __future__ import annotations

import copy
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import attrs
from typer.models import OptionInfo


def bundled(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are attrs classes are given field by field.

    Each field is annotated as a typer option or argument; the first line of the class's docstring heads
    its options in ``--help``.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    bundles: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if attrs.has(hints[name]):
            bundles[name] = hints[name]
            parameters += _fields(hints[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, kind in bundles.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in attrs.fields(kind)})
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _fields(kind: type[Any]) -> list[inspect.Parameter]:
    panel = (inspect.getdoc(kind) or "").partition("\n")[0].rstrip(".")
    hints = {name: _headed(hint, panel) for name, hint in typing.get_type_hints(kind, include_extras=True).items()}
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is attrs.NOTHING else field.default,
            annotation=hints[field.name],
        )
        for field in attrs.fields(kind)
    ]


def _headed(hint: Any, panel: str) -> Any:
    """The annotation with its option under a heading; the option itself may be that of another class too."""
    notes = [copy.copy(note) for note in getattr(hint, "__metadata__", ())]
    for note in notes:
        if isinstance(note, OptionInfo):
            note.rich_help_panel = panel
    return typing.Annotated[(hint.__origin__, *notes)] if notes else hint

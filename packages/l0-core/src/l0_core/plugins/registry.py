"""The one registry: entry points are loaded one by one, names resolve lazily, faults are reported by name."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
import logging
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol

import attrs
import pluggy

from l0_core.errors import (
    BrokenPluginError,
    InputError,
    MissingDependencyError,
    PluginConflictError,
    UnknownPluginError,
)
from l0_core.plugins.hooks import CORE_KINDS, ENTRY_POINT_GROUP, PROJECT, CoreHooks
from l0_core.plugins.records import PluginInfo, PluginKind, PluginRecord, PluginState

_log = logging.getLogger(__name__)

RAISE_VARIABLE = "L0_PLUGINS_RAISE"
"""Environment variable: set to ``1``, a plugin that cannot be loaded raises instead of being listed."""


class EntryPoint(Protocol):
    """What the registry needs of `importlib.metadata.EntryPoint` (tests bring their own)."""

    @property
    def name(self) -> str:
        """Left of the equals sign."""

    @property
    def value(self) -> str:
        """Right of it: ``"package.module"`` or ``"package.module:attribute"``."""

    @property
    def dist(self) -> Any:
        """The distribution (``name``, ``version``), or None."""

    def load(self) -> Any:
        """Import what the value names."""


@attrs.frozen
class _Claim:
    """One record and the distribution that announces it."""

    record: PluginRecord
    package: str
    version: str

    @property
    def label(self) -> str:
        return f"{self.package} ({self.record.target})"


def _origin(point: EntryPoint) -> tuple[str, str]:
    try:
        package, version = point.dist.name, point.dist.version
    except Exception:  # no distribution, or one whose metadata cannot be read: still a plugin to be named
        package = version = None
    return package or point.name, version or "unknown"


def _missing(requires: Iterable[str]) -> list[str]:
    """Those of the named distributions that are not installed."""
    absent = []
    for name in requires:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    return absent


def _probed(probe: str) -> tuple[PluginState, str]:
    """The state of a plugin that depends on the machine."""
    module, _, attribute = probe.partition(":")
    try:
        lack = str(getattr(importlib.import_module(module), attribute)())
    except Exception as error:
        return PluginState.BROKEN, f"{probe}: {_describe(error)}"
    return (PluginState.NO_DEVICE, lack) if lack else (PluginState.OK, "")


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


class Registry:
    """Every installed plugin, by kind and name.

    Parameters
    ----------
    entry_points
        The entry points to load, in any order; those of group ``l0`` by default.

    Notes
    -----
    Building the registry imports the light modules that the entry points name and calls their hooks.
    It imports no implementation. A module or hook that raises is kept in `plugins` with its error,
    and the others load all the same (pluggy's own loader would stop at the first).
    """

    def __init__(self, entry_points: Iterable[EntryPoint] | None = None) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(CoreHooks)
        self._kinds: dict[str, PluginKind] = {kind.name: kind for kind in CORE_KINDS}
        self._claims: dict[str, dict[str, list[_Claim]]] = {}
        self._broken: list[PluginInfo] = []
        self._origins: dict[str, tuple[str, str]] = {}
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
        self._load_all(entry_points)
        self._add_kinds()
        self._check_hooks()
        for kind in self._kinds.values():
            self._collect(kind)

    # ------------------------------------------------------------------ building

    def _load_all(self, entry_points: Iterable[EntryPoint]) -> None:
        for point in sorted(entry_points, key=lambda p: (_origin(p)[0], p.name)):
            package, version = _origin(point)
            key = f"{package}:{point.name}"
            if key in self._origins:
                continue  # one distribution seen twice on the path: the first is the one that imports
            self._origins[key] = (package, version)
            try:
                self._register(point.load(), key)
            except (Exception, SystemExit) as error:
                self._fault(key, f"entry point {point.name} = {point.value}: {_describe(error)}", error)

    def _register(self, plugin: Any, key: str) -> None:
        """Register a plugin whole or not at all.

        Signatures are checked here, not by pluggy, which checks those of a kind that is added later only
        then, and would blame (and lose) the kind.
        """
        for name in dir(plugin):
            options = self._manager.parse_hookimpl_opts(plugin, name)
            if options is None:
                continue
            if inspect.signature(getattr(plugin, name)).parameters:
                raise TypeError(f"{name}() must take no argument")
            if options.get("wrapper") or options.get("hookwrapper"):
                raise TypeError(f"{name}() must not be a wrapper: hooks are asked one by one")
        self._manager.register(plugin, name=key)

    def _fault(self, key: str, detail: str, error: BaseException | None = None, kind: str = "") -> None:
        if os.environ.get(RAISE_VARIABLE) == "1":
            raise BrokenPluginError(f"plugin {key}: {detail}") from error
        package, version = self._origins[key]
        _log.warning("plugin of %s %s is left out: %s", package, version, detail)
        self._broken.append(PluginInfo(kind, "", package, version, PluginState.BROKEN, detail=detail))

    def _call(self, hook: str) -> Iterable[tuple[str, Any]]:
        """What each plugin answers to one hook, plugin by plugin, so that one fault hides no other."""
        caller = getattr(self._manager.hook, hook, None)
        if caller is None:
            return
        for impl in caller.get_hookimpls():
            try:
                answer = list(impl.function() or ())
            except Exception as error:
                self._fault(impl.plugin_name, f"{hook}() raised {_describe(error)}", error)
                continue
            for item in answer:
                yield impl.plugin_name, item

    def _add_kinds(self) -> None:
        for key, item in self._call("l0_kinds"):
            try:
                kind, spec = item
                if kind.name in self._kinds:
                    raise ValueError(f"the kind {kind.name!r} exists already")
                if any(kind.hook == other.hook for other in self._kinds.values()):
                    raise ValueError(f"the hook {kind.hook} is that of another kind")
                if not self._is_specified(kind.hook):  # kinds may share one object of specifications
                    self._manager.add_hookspecs(spec)
                if not self._is_specified(kind.hook):
                    raise ValueError(f"{spec!r} specifies no hook {kind.hook}")
            except Exception as error:
                self._fault(key, f"l0_kinds() gave {item!r}: {_describe(error)}", error)
                continue
            self._kinds[kind.name] = kind

    def _is_specified(self, hook: str) -> bool:
        caller = getattr(self._manager.hook, hook, None)
        return caller is not None and caller.has_spec()

    def _check_hooks(self) -> None:
        """Report each hook that nobody specifies (a misspelt name is silent in pluggy until asked)."""
        known = [kind.hook for kind in self._kinds.values()] + ["l0_kinds"]
        for caller in list(vars(self._manager.hook).values()):
            if not isinstance(caller, pluggy.HookCaller) or caller.has_spec():
                continue
            for impl in caller.get_hookimpls():
                if not impl.optionalhook:
                    near = difflib.get_close_matches(caller.name, known, n=1)
                    hint = f"; did you mean {near[0]}?" if near else f"; known hooks: {', '.join(sorted(known))}"
                    self._fault(impl.plugin_name, f"unknown hook {caller.name}{hint}")

    def _collect(self, kind: PluginKind) -> None:
        names = self._claims.setdefault(kind.name, {})
        for key, record in self._call(kind.hook):
            if not isinstance(record, PluginRecord):
                self._fault(key, f"{kind.hook}() gave {record!r}, not a PluginRecord", kind=kind.name)
                continue
            names.setdefault(record.name, []).append(_Claim(record, *self._origins[key]))

    # ------------------------------------------------------------------ asking

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds of plugin that exist."""
        return tuple(self._kinds)

    def names(self, kind: str) -> tuple[str, ...]:
        """Sorted names of the installed plugins of one kind (with those that miss a dependency)."""
        return tuple(sorted(self._claims[self._kind(kind).name]))

    def has(self, kind: str, name: str) -> bool:
        """Whether some package announces that name."""
        return name in self._claims[self._kind(kind).name]

    def plugins(self) -> list[PluginInfo]:
        """Every plugin and every fault, sorted by kind and name."""
        rows = list(self._broken)
        for kind, names in self._claims.items():
            for name, claims in names.items():
                for claim in claims:
                    state, detail = self._state(claims, claim)
                    if state is PluginState.OK and claim.record.probe is not None:
                        state, detail = _probed(claim.record.probe)
                    rows.append(
                        PluginInfo(
                            kind,
                            name,
                            claim.package,
                            claim.version,
                            state,
                            claim.record.summary,
                            claim.record.target,
                            detail,
                        )
                    )
        return sorted(rows, key=lambda row: (row.kind, row.name, row.package))

    def check_name(self, kind: str, name: str) -> None:
        """See that a name can be asked for, without an import of what is behind it.

        Raises
        ------
        InputError
            The name is no text.
        UnknownPluginError
            Nobody announces the name.
        PluginConflictError
            More than one distribution does.
        MissingDependencyError
            It needs a distribution that is not installed.
        """
        self._claim(kind, name)

    def _claim(self, kind: str, name: str) -> _Claim:
        if not isinstance(name, str):
            raise InputError(f"a {kind} is asked for by its name, a text; got {name!r}")
        claims = self._claims[self._kind(kind).name].get(name)
        if not claims:
            raise UnknownPluginError(self._unknown(kind, name))
        claim = claims[0]
        state, detail = self._state(claims, claim)
        if state is PluginState.CONFLICT:
            raise PluginConflictError(f"{kind} {name!r}: {detail}")
        if state is PluginState.MISSING:
            raise MissingDependencyError(f"{kind} {name!r} of {claim.package} cannot be used: {detail}")
        return claim

    def factory(self, kind: str, name: str) -> Any:
        """The class or function behind a name, imported now.

        Raises
        ------
        InputError, UnknownPluginError, PluginConflictError, MissingDependencyError
            As in `check_name`.
        BrokenPluginError
            Its module cannot be imported or lacks the attribute.
        """
        claim = self._claim(kind, name)
        module, _, attribute = claim.record.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise BrokenPluginError(
                f"{kind} {name!r} of {claim.package} {claim.version} cannot be loaded from "
                f"{claim.record.target}: {_describe(error)}"
            ) from error

    def get(self, kind: str, name: str, **settings: Any) -> Any:
        """Build the implementation behind a name with the given settings and check its interface.

        Raises
        ------
        InputError
            A setting that it does not have, or a value that it refuses (also where it does so as Python's
            TypeError or ValueError, as the validators of attrs do).
        UnknownPluginError, PluginConflictError, MissingDependencyError, BrokenPluginError
            As in `factory`; the last also where what was built has not the interface of its kind.
        """
        factory = self.factory(kind, name)
        self._check_settings(kind, name, factory, settings)
        try:
            built = factory(**settings)
        except (TypeError, ValueError) as error:
            if not settings:
                raise
            raise InputError(f"{kind} {name!r}: {error.args[0] if error.args else error}") from error
        module, _, attribute = self._kind(kind).interface.partition(":")
        interface = getattr(importlib.import_module(module), attribute)
        if not isinstance(built, interface):
            claim = self._claims[kind][name][0]
            raise BrokenPluginError(
                f"{kind} {name!r} of {claim.package}: {claim.record.target} gave a "
                f"{type(built).__name__}, which is not a {interface.__module__}.{interface.__name__}"
            )
        return built

    @staticmethod
    def _check_settings(kind: str, name: str, factory: Any, settings: dict[str, Any]) -> None:
        """InputError that names the settings there are, where the call would not fit."""
        try:
            signature = inspect.signature(factory)
        except (TypeError, ValueError):
            return  # no signature to read: the call itself will say
        try:
            signature.bind(**settings)
        except TypeError as error:
            known = ", ".join(str(p) for p in signature.parameters.values()) or "none"
            raise InputError(f"{kind} {name!r}: {error}; settings: {known}") from None

    # ------------------------------------------------------------------ wording

    def _kind(self, kind: str) -> PluginKind:
        try:
            return self._kinds[kind]
        except KeyError:
            raise UnknownPluginError(
                f"unknown kind of plugin {kind!r}; installed kinds: {', '.join(sorted(self._kinds))}"
            ) from None

    @staticmethod
    def _state(claims: list[_Claim], claim: _Claim) -> tuple[PluginState, str]:
        if len(claims) > 1:
            who = " and ".join(sorted(c.label for c in claims))
            return PluginState.CONFLICT, f"claimed by {who}; uninstall one of them"
        absent = _missing(claim.record.requires)
        if absent:
            what = claim.record.install or " ".join(absent)
            return PluginState.MISSING, f"{', '.join(absent)} is not installed: pip install '{what}'"
        return PluginState.OK, ""

    def _unknown(self, kind: str, name: str) -> str:
        installed = self.names(kind)
        text = f"unknown {kind} {name!r}; installed: {', '.join(installed) if installed else 'none'}"
        near = difflib.get_close_matches(name, installed, n=1)
        if near:
            text += f"; did you mean {near[0]!r}?"
        home = self._kinds[kind].homes.get(name)
        if home:
            text += f"; {name!r} comes with {home}: pip install {home}"
        elif not near:
            text += (
                f"; install a distribution that announces it by the hook {self._kinds[kind].hook} "
                f"(entry-point group '{ENTRY_POINT_GROUP}')"
            )
        broken = [row for row in self._broken if row.kind in ("", kind)]
        if broken:
            text += "; left out as broken: " + "; ".join(f"{row.package}: {row.detail}" for row in broken)
        return text


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The registry of this process, built at the first call (`registry.cache_clear` rebuilds it)."""
    return Registry()

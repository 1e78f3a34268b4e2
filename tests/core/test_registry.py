"""The registry with entry points of our own making: what it loads, and what it says when it cannot."""

from __future__ import annotations

import sys
import types

import pytest

import l0_core
from l0_core import (
    BrokenPluginError,
    HardConcrete,
    InputError,
    MissingDependencyError,
    PluginConflictError,
    PluginKind,
    PluginRecord,
    PluginState,
    UnknownPluginError,
    hookimpl,
    hookspec,
)
from l0_core.plugins import Registry
from l0_core.plugins.registry import RAISE_VARIABLE

HARD_CONCRETE = "l0_core.distributions.hard_concrete:HardConcrete"


class Point:
    """An entry point that loads what it is given, or raises it."""

    def __init__(self, name: str, plugin: object, package: str | None = None, version: str = "1.2") -> None:
        self.name, self.value, self._plugin = name, f"{name}.plugin", plugin
        self.dist = types.SimpleNamespace(name=package or name, version=version)

    def load(self) -> object:
        if isinstance(self._plugin, BaseException):
            raise self._plugin
        return self._plugin


def announces(*records: object, hook: str = "l0_distributions") -> types.SimpleNamespace:
    """A plugin whose one hook gives the records."""

    def answer():
        return list(records)

    return types.SimpleNamespace(**{hook: hookimpl(answer)})


def record(name: str = "mine", target: str = HARD_CONCRETE, **settings) -> PluginRecord:
    return PluginRecord(name, target, "a summary", **settings)


def rows(registry: Registry, state: PluginState) -> list[l0_core.PluginInfo]:
    return [row for row in registry.plugins() if row.state is state]


@pytest.fixture(autouse=True)
def _faults_are_listed(monkeypatch):
    monkeypatch.delenv(RAISE_VARIABLE, raising=False)


# ---------------------------------------------------------------------- what works


def test_a_plugin_is_built_with_its_settings():
    registry = Registry([Point("other-package", announces(record()))])
    assert registry.names("distribution") == ("mine",)
    assert registry.has("distribution", "mine")
    assert registry.get("distribution", "mine", temperature=0.25) == HardConcrete(temperature=0.25)
    (row,) = registry.plugins()
    assert (row.kind, row.name, row.package, row.version) == ("distribution", "mine", "other-package", "1.2")
    assert (row.state, row.summary, row.target) == (PluginState.OK, "a summary", HARD_CONCRETE)


def test_nothing_is_imported_until_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "implementation_of_a_plugin.py").write_text("from l0_core import HardConcrete as Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry([Point("lazy", announces(record(target="implementation_of_a_plugin:Mine")))])
    registry.plugins()
    assert "implementation_of_a_plugin" not in sys.modules
    try:
        assert registry.get("distribution", "mine") == HardConcrete()
        assert "implementation_of_a_plugin" in sys.modules
    finally:
        sys.modules.pop("implementation_of_a_plugin", None)


def test_a_kind_of_another_package_comes_by_the_same_hooks():
    class Specs:
        @hookspec
        def l0_flavours(self):
            """Flavours."""

    kind = PluginKind("flavour", "l0_flavours", "l0_core.distributions.base:GateDistribution")
    home = types.SimpleNamespace(l0_kinds=hookimpl(lambda: [(kind, Specs())]))
    # The name sorts before that of the package that brings the kind.
    third = announces(record("sweet"), hook="l0_flavours")
    registry = Registry([Point("z-home", home), Point("a-third", third)])
    assert "flavour" in registry.kinds
    assert registry.get("flavour", "sweet") == HardConcrete()
    assert not rows(registry, PluginState.BROKEN)


def test_kinds_may_share_the_object_that_specifies_their_hooks():
    class Specs:
        @hookspec
        def l0_sweets(self):
            """Sweets."""

        @hookspec
        def l0_sours(self):
            """Sours."""

    shared = Specs()
    of = "l0_core.distributions.base:GateDistribution"
    kinds = [(PluginKind("sweet", "l0_sweets", of), shared), (PluginKind("sour", "l0_sours", of), shared)]
    home = types.SimpleNamespace(l0_kinds=hookimpl(lambda: kinds), l0_sours=hookimpl(lambda: [record("lemon")]))
    assert Registry([Point("home", home)]).get("sour", "lemon") == HardConcrete()


def test_one_distribution_seen_twice_on_the_path_is_one():
    twice = [Point("same", announces(record())), Point("same", announces(record()))]
    assert [row.state for row in Registry(twice).plugins()] == [PluginState.OK]


def test_a_hook_for_a_kind_that_is_not_installed_is_sound_when_it_is_optional():
    plugin = types.SimpleNamespace(l0_solvers=hookimpl(optionalhook=True)(lambda: [record()]))
    assert Registry([Point("third", plugin)]).plugins() == []


# ---------------------------------------------------------------------- what does not


@pytest.mark.parametrize(
    "error", [ImportError("no module"), SyntaxError("bad"), SystemExit(3), RuntimeError("at import"), ValueError()]
)
def test_an_entry_point_that_raises_hides_no_other(error, caplog):
    registry = Registry([Point("a-broken", error), Point("b-sound", announces(record()))])
    assert registry.get("distribution", "mine") == HardConcrete()
    (row,) = rows(registry, PluginState.BROKEN)
    assert (row.package, row.name) == ("a-broken", "")
    assert type(error).__name__ in row.detail
    assert "a-broken" in caplog.text


def hook_that_raises():
    return types.SimpleNamespace(l0_distributions=hookimpl(lambda: 1 / 0))


def wrapping():
    return (yield)


class OtherHook:
    @hookspec
    def l0_y(self):
        """Not the hook of the kind."""


BROKEN = {
    "a hook that raises": (hook_that_raises(), "ZeroDivisionError"),
    "a misspelt hook": (announces(record(), hook="l0_distribution"), "did you mean l0_distributions"),
    "an answer that is no record": (announces("mine"), "not a PluginRecord"),
    "a hook that wants arguments": (types.SimpleNamespace(l0_gates=hookimpl(lambda config: [])), "no argument"),
    "a kind that is none": (types.SimpleNamespace(l0_kinds=hookimpl(lambda: ["kind"])), "l0_kinds"),
    "a kind that exists": (
        types.SimpleNamespace(
            l0_kinds=hookimpl(lambda: [(PluginKind("gate", "l0_gates", "l0_core.gates:GateStrategy"), object())])
        ),
        "exists already",
    ),
    "a kind without its hook": (
        types.SimpleNamespace(
            l0_kinds=hookimpl(lambda: [(PluginKind("x", "l0_x", "l0_core.gates:GateStrategy"), object())])
        ),
        "l0_x",
    ),
    "a kind whose specification is of another hook": (
        types.SimpleNamespace(
            l0_kinds=hookimpl(lambda: [(PluginKind("x", "l0_x", "l0_core.gates:GateStrategy"), OtherHook)]),
            l0_x=hookimpl(optionalhook=True)(lambda: [record()]),
        ),
        "specifies no hook l0_x",
    ),
    "a kind with the hook of another": (
        types.SimpleNamespace(
            l0_kinds=hookimpl(lambda: [(PluginKind("x", "l0_gates", "l0_core.gates:GateStrategy"), object())])
        ),
        "that of another kind",
    ),
    "a wrapper": (types.SimpleNamespace(l0_gates=hookimpl(wrapper=True)(wrapping)), "must not be a wrapper"),
    "a wrapper of the old kind": (
        types.SimpleNamespace(l0_gates=hookimpl(hookwrapper=True)(wrapping)),
        "must not be a wrapper",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_faulty_plugin_is_named_and_the_others_load(case):
    plugin, text = BROKEN[case]
    registry = Registry([Point("faulty", plugin), Point("sound", announces(record("theirs")))])
    assert registry.get("distribution", "theirs") == HardConcrete()
    (row,) = rows(registry, PluginState.BROKEN)
    assert row.package == "faulty"
    assert text in row.detail


@pytest.mark.parametrize("case", BROKEN)
def test_faults_raise_where_that_is_wanted(case, monkeypatch):
    monkeypatch.setenv(RAISE_VARIABLE, "1")
    with pytest.raises(BrokenPluginError, match="faulty"):
        Registry([Point("faulty", BROKEN[case][0])])


def test_two_that_claim_one_name_are_both_named():
    registry = Registry(
        [Point("first", announces(record())), Point("second", announces(record("mine"), record("own")))]
    )
    with pytest.raises(PluginConflictError, match=r"first.* and second"):
        registry.get("distribution", "mine")
    assert registry.get("distribution", "own") == HardConcrete()
    assert [row.package for row in rows(registry, PluginState.CONFLICT)] == ["first", "second"]


def test_a_missing_dependency_comes_with_its_remedy():
    needs = record(requires=("numpy", "no-such-distribution-of-ours"), install="other-package[extra]")
    registry = Registry([Point("other-package", announces(needs))])
    with pytest.raises(MissingDependencyError, match=r"pip install 'other-package\[extra\]'"):
        registry.get("distribution", "mine")
    (row,) = rows(registry, PluginState.MISSING)
    assert "no-such-distribution-of-ours" in row.detail
    assert "numpy" not in row.detail


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        (lambda: "no abacus on this machine", PluginState.NO_DEVICE, "no abacus on this machine"),
        (lambda: "", PluginState.OK, ""),
        (lambda: 1 / 0, PluginState.BROKEN, "ZeroDivisionError"),
    ],
)
def test_what_the_machine_lacks_is_listed_and_hinders_nobody(monkeypatch, answer, state, detail):
    monkeypatch.setitem(sys.modules, "abacus_probe", types.SimpleNamespace(lack=answer))
    registry = Registry([Point("abacus", announces(record(probe="abacus_probe:lack")))])
    (row,) = rows(registry, state)
    assert detail in row.detail
    assert registry.get("distribution", "mine") == HardConcrete()


def test_an_unknown_name_lists_what_there_is_and_where_it_comes_from(monkeypatch):
    registry = Registry([Point("sound", announces(record("gaussean"))), Point("broken", ImportError("no module"))])
    with pytest.raises(UnknownPluginError) as caught:
        registry.get("distribution", "gaussian")
    text = str(caught.value)
    for part in ("installed: gaussean", "did you mean 'gaussean'", "pip install l0-core", "broken", "no module"):
        assert part in text
    with pytest.raises(UnknownPluginError, match=r"none.*hook l0_gates"):
        registry.get("gate", "of-nobody")
    with pytest.raises(UnknownPluginError, match=r"installed kinds: backend, distribution, gate, penalty"):
        registry.names("solver")


@pytest.mark.parametrize("target", ["no_such_module_of_ours:Thing", "l0_core.gates:Missing"])
def test_an_implementation_that_cannot_be_imported_is_broken(target):
    registry = Registry([Point("other-package", announces(record(target=target)))])
    with pytest.raises(BrokenPluginError, match=r"other-package 1\.2.*" + target.split(":")[1]):
        registry.get("distribution", "mine")


def test_an_implementation_of_another_kind_is_broken():
    registry = Registry([Point("other-package", announces(record(target="l0_core.penalties.l0:L0")))])
    with pytest.raises(BrokenPluginError, match=r"gave a L0, which is not a l0_core\.distributions\.base\.GateDistr"):
        registry.get("distribution", "mine")


def test_a_setting_that_is_none_lists_those_there_are():
    with pytest.raises(InputError, match="temperature"):
        l0_core.get_distribution("hard_concrete", temprature=0.5)
    # An error inside of the constructor is its own.
    with pytest.raises(InputError, match="positive and finite"):
        l0_core.get_distribution("hard_concrete", temperature=-1.0)


def test_a_constructor_that_fails_by_itself_is_no_error_of_the_input(monkeypatch):
    def fails(temperature=1.0):
        raise ValueError("by itself")

    monkeypatch.setattr("l0_core.distributions.hard_concrete.HardConcrete", fails)
    with pytest.raises(ValueError, match="by itself") as caught:
        l0_core.get_distribution("hard_concrete")
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"name": "Upper Case"}, "name"),
        ({"target": "no.colon"}, "target"),
        ({"summary": 3}, "summary must be a text, got 3"),
        ({"requires": "torch"}, "several names"),
        ({"probe": "no.colon"}, "probe"),
        ({"requires": ("torch>=2",)}, "distribution's name"),
    ],
)
def test_records_are_checked_where_they_are_written(settings, text):
    fields = {"name": "mine", "target": HARD_CONCRETE, "summary": "a summary", **settings}
    with pytest.raises(ValueError, match=text):
        PluginRecord(**fields)


@pytest.mark.parametrize("name", [None, 3, ["numpy"], HardConcrete()])
def test_a_name_is_a_text(name):
    with pytest.raises(InputError, match="asked for by its name"):
        l0_core.get_distribution(name)


def test_the_homes_of_what_our_other_packages_bring_are_known():
    ours = [row for row in l0_core.plugins() if row.package in ("l0-gates", "l0-torch")]
    assert ours
    for row in ours:
        with pytest.raises(UnknownPluginError, match=f"pip install {row.package}"):
            Registry([]).get(row.kind, row.name)


def test_everything_of_the_core_can_be_built():
    ours = [row for row in l0_core.plugins() if row.package == "l0-core"]
    assert {row.kind for row in ours} == {"backend", "distribution", "penalty"}
    for row in ours:
        assert row.state is PluginState.OK
        getattr(l0_core, f"get_{row.kind}")(row.name)

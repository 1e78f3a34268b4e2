"""What a calibration is asked for, in one frozen record that is checked when it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import attrs
import numpy as np
import pandas as pd

from l0_calibrate.elsewhere import CALLS, COUNTS, named
from l0_calibrate.problem.checks import LARGEST_WEIGHT
from l0_calibrate.problem.labels import meant, own_labels, refuse_masked, refuse_other_order, shown
from l0_core import InputError
from l0_core.real_numbers import number, real_array
from l0_core.selection import check_seed
from l0_core.whole_numbers import whole

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem

Made = TypeVar("Made")

_optional_number = partial(number, closed=False, optional=True)
"""A validator: None, or a finite number above one (from it on, if closed)."""


def _name(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator: the name of a plugin. What it builds is none: a run is written down, and repeated, by names."""
    if not isinstance(value, str):
        settings = f", its settings as {attribute.name}_settings" if attribute.name in ("loss", "selector") else ""
        raise InputError(
            f"{attribute.name} must be the name of an installed {attribute.name}{settings}; got {value!r} "
            "(an entry point of group 'l0' gives one of your own a name)"
        )


def _flag(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator: true or false, or None where that is the default."""
    if not isinstance(value, bool) and not (value is None and attribute.default is None):
        raise InputError(f"{attribute.name} must be True or False, got {value!r}")


def _count(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator: a number of records, or None; who gives several is told what takes them."""
    try:
        whole(1, optional=True)(instance, attribute, value)
    except InputError as error:
        several = isinstance(value, Iterable) and not isinstance(value, str)
        raise InputError(str(error) + (named(COUNTS) if several else "")) from None


DEFAULT_SELECTOR = "prune"
"""The selector of a budget that names none; a dense fit refuses any other, having nothing to select."""


def _labelled(values: Any) -> bool:
    """Whether it is a Series or DataFrame with labels of its own, which `Options.on` compares with the records."""
    return isinstance(values, (pd.Series, pd.DataFrame)) and own_labels(values.index) is not None


def _array(values: Any, complaint: str) -> Any:
    """An array of its own; InputError with a complaint where rows are of different lengths."""
    try:
        return values.to_numpy(dtype=object) if isinstance(values, pd.DataFrame) else np.array(values)
    except ValueError as error:
        raise InputError(complaint) from error


def _ids(values: Any) -> Any:
    if _labelled(values):
        return values.copy()
    return None if values is None else _array(values, "groups must have one id for each record")


def _areas(values: Any) -> Any:
    """Shape (records, levels)."""
    if values is None:
        return None
    if _labelled(values):
        return pd.DataFrame(values)
    array = _array(values, "areas must have as many labels on each level")
    return array.reshape(-1, 1) if array.ndim == 1 else array


_CAPS = "max_weight must be a positive number, or one for each record in their order"
_FLAGS = "must_keep and never_keep take one true or false for each record, in their order, not ids"


def _flags(values: Any) -> Any:
    """True and false, or 0 and 1; text, missing values and positions are no flags."""
    if values is None:
        return None
    array = _array(values, _FLAGS)
    if array.dtype == object and all(isinstance(value, bool | np.bool_) for value in array.flat):
        array = array.astype(bool)
    flags = array.astype(bool) if array.dtype.kind in "biuf" else array
    if array.dtype.kind not in "biuf" or not np.array_equal(flags, array):
        raise InputError(_FLAGS)
    return pd.Series(flags, values.index) if _labelled(values) else flags


def _caps(values: Any) -> Any:
    """One number as it is, or float64 of shape (records,), read-only; `Options.on` looks at the numbers."""
    refuse_masked(values, "max_weight")
    try:
        if np.ndim(values) == 0:
            return _plain(values)
    except ValueError as error:  # rows of several lengths
        raise InputError(_CAPS) from error
    array = real_array(values.to_numpy(na_value=np.nan) if isinstance(values, pd.Series) else values, "max_weight")
    if array.ndim != 1 or array.dtype.kind == "b":
        raise InputError(f"{_CAPS}, got shape {array.shape} and dtype {array.dtype}")
    caps = array.astype(np.float64)
    caps.setflags(write=False)
    return pd.Series(caps, values.index, copy=False) if _labelled(values) else caps


def _cap(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator: None, a positive number, or what `_caps` made of one for each record."""
    if np.ndim(value) == 0:
        _optional_number(0.0, "a positive number, or one for each record")(instance, attribute, value)


def _settings(values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise InputError(f"loss_settings and selector_settings must be names and values, got {values!r}")
    return dict(values)


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's own, so that equal options are equal wherever they are written down."""
    return value.item() if isinstance(value, np.integer | np.floating) else value


class OptionFields(TypedDict, total=False):
    """The fields of `Options`, as keyword arguments of `l0_calibrate.calibrate`."""

    keep: int | None
    share: float | None
    max_weight_ratio: float | None
    min_weight_ratio: float | None
    max_weight: Any
    conserve_mass: bool
    spread: float | None
    ess_at_least: float | None
    must_keep: Any
    never_keep: Any
    groups: Any
    areas: Any
    dense_bound: bool | None
    loss: str
    loss_settings: dict[str, Any]
    selector: str
    selector_settings: dict[str, Any]
    solver: str
    backend: str
    unreachable: Literal["report", "error"]
    tol: float
    time_limit: float | None
    threads: int
    seed: int


@attrs.frozen(kw_only=True, eq=False)
class Options:
    """How a problem is calibrated.

    Parameters
    ----------
    keep
        Exactly how many records get a positive weight; None (and no ``share``) keeps all: a dense fit.
    share
        The same as a fraction of the records, in (0, 1].
    max_weight_ratio, min_weight_ratio
        Bounds of weight / reference weight. With a budget the reference is scaled up by records / kept,
        so that the same number means the same inequality of weights whatever the count.
    max_weight
        Largest weight, in the units of the weights: a positive number, or one for each record, shape (records,),
        ``inf`` where a record has no such bound.
    conserve_mass
        Hold the sum of the weights at that of the initial weights.
    spread
        mu, the price on unequal weights, in the units of the loss: it raises the effective sample size.
        None is the default of the road taken: `DENSE_SPREAD` or `BUDGET_SPREAD`; 0 switches it off.
    ess_at_least
        Find the spread that gives at least this effective sample size (instead of ``spread``).
    must_keep, never_keep
        Flags of shape (records,).
    groups
        An id for each record, shape (records,), such as that of its household: records with one id are kept or
        dropped together, and each kept one has a positive weight. ``keep`` still counts records and is met
        exactly; where no whole groups have that many, the error says which counts can be had. A record that
        must be kept keeps its group, one that must not, or cannot get weight, drops it.
    areas
        The area of each record, shape (records,), or one on each level, coarse to fine (states, districts), shape
        (records, levels), such as columns of a data frame. The interior point then takes each target to the deepest
        area that has all its records instead of looking for blocks; the result does not depend on it but by rounding.
    dense_bound
        Whether a fit of all records at the bounds of the budget is made as well, for a certified lower bound of the
        loss of any selection (`CalibrationResult.dense_bound`). It costs as much as a dense fit to ``tol``. None: where
        fewer records are kept than there are targets, which leaves the best loss unknown, and the loss is convex.
    loss, selector, solver, backend
        Names of plugins; ``solver="auto"`` takes the interior point where it is the faster (see
        `l0_calibrate.solvers.auto.choose_solver`), the primal-dual one otherwise; the result says which and why.
    loss_settings, selector_settings
        Settings of the loss and of the selector, by name.
    unreachable
        Whether a target that no record can move is reported as a finding or refused.
    tol
        Certified relative gap at which a fit is good enough, below 1: 0.01 is 1 %.
    time_limit
        Wall-clock seconds for the whole run; where it binds, the result depends on the machine's speed.
    threads
        Threads of the kernels; the result is bit-equal for equal numbers of threads.
    seed
        Of everything random.
    """

    keep: int | None = attrs.field(default=None, converter=_plain, validator=_count)
    share: float | None = attrs.field(
        default=None, converter=_plain, validator=_optional_number(0.0, "a fraction in (0, 1]")
    )
    max_weight_ratio: float | None = attrs.field(
        default=None, converter=_plain, validator=_optional_number(0.0, "a positive number")
    )
    min_weight_ratio: float | None = attrs.field(
        default=None, converter=_plain, validator=_optional_number(0.0, "a non-negative number", closed=True)
    )
    max_weight: Any = attrs.field(default=None, converter=_caps, validator=_cap)
    conserve_mass: bool = attrs.field(default=False, validator=_flag)
    spread: float | None = attrs.field(
        default=None, converter=_plain, validator=_optional_number(0.0, "a non-negative number", closed=True)
    )
    ess_at_least: float | None = attrs.field(
        default=None, converter=_plain, validator=_optional_number(0.0, "a positive number")
    )
    must_keep: Any = attrs.field(default=None, converter=_flags)
    never_keep: Any = attrs.field(default=None, converter=_flags)
    groups: Any = attrs.field(default=None, converter=_ids)
    areas: Any = attrs.field(default=None, converter=_areas)
    dense_bound: bool | None = attrs.field(default=None, validator=_flag)
    loss: str = attrs.field(default="absolute", validator=_name)
    loss_settings: dict[str, Any] = attrs.field(factory=dict, converter=_settings)
    selector: str = attrs.field(default=DEFAULT_SELECTOR, validator=_name)
    selector_settings: dict[str, Any] = attrs.field(factory=dict, converter=_settings)
    solver: str = attrs.field(default="auto", validator=_name)
    backend: str = attrs.field(default="numpy", validator=_name)
    unreachable: Literal["report", "error"] = attrs.field(default="report")
    tol: float = attrs.field(
        default=0.01, converter=_plain, validator=_optional_number(0.0, "a non-negative number", closed=True)
    )
    time_limit: float | None = attrs.field(
        default=None, converter=_plain, validator=_optional_number(0.0, "a positive number")
    )
    threads: int = attrs.field(default=1, converter=_plain, validator=whole(1))
    seed: int = attrs.field(default=0, converter=check_seed)

    def __attrs_post_init__(self) -> None:
        if self.keep is not None and self.share is not None:
            raise InputError("give keep or share, not both")
        if self.share is not None and self.share > 1:
            raise InputError(f"share must be a fraction in (0, 1], got {self.share!r}; a count is keep=")
        low, high = self.min_weight_ratio, self.max_weight_ratio
        if low is not None and high is not None and low > high:
            raise InputError(f"min_weight_ratio {low} is above max_weight_ratio {high}: no weight can meet both")
        if self.spread is not None and self.ess_at_least is not None:
            raise InputError("give spread or ess_at_least, not both: the second finds the first")
        if self.tol is None:
            raise InputError("tol must be a non-negative number, got None")
        if self.tol >= 1.0:
            raise InputError(f"tol is a certified relative gap, below 1 (0.01 is 1 %), got {self.tol:g}")
        if self.unreachable not in ("report", "error"):
            raise InputError(f"unreachable must be 'report' or 'error', got {self.unreachable!r}")
        if self.keep is None and self.share is None:
            for name in ("must_keep", "never_keep", "groups"):
                if getattr(self, name) is not None:
                    raise InputError(f"{name} needs a budget: give keep or share")
            if self.dense_bound:
                raise InputError("dense_bound needs a budget: give keep or share (a dense fit certifies its own gap)")

    def on(self, problem: CalibrationProblem) -> Options:
        """The options for a problem: flags, groups, areas and caps are arrays in the order of its records.

        Raises
        ------
        InputError
            One of them is a Series or DataFrame whose labels are the records' in another order, or other text; caps
            are not one for each record, or one of them is no such number (it names the record).
        """
        changes: dict[str, Any] = {}
        for name in ("must_keep", "never_keep", "groups", "areas", "max_weight"):
            value = getattr(self, name)
            if isinstance(value, (pd.Series, pd.DataFrame)):
                refuse_other_order(value, problem.record_ids, name, "the problem's records")
                changes[name] = value.to_numpy(dtype=object) if name == "areas" else value.to_numpy()
        options = attrs.evolve(self, **changes) if changes else self
        options._check_caps(problem)
        return options

    def _check_caps(self, problem: CalibrationProblem) -> None:
        """Whether there is a positive cap for each record, where they are more than one number."""
        caps = self.max_weight
        if np.ndim(caps) == 0:
            return
        if caps.shape != (problem.n_records,):
            raise InputError(f"{_CAPS}: there are {problem.n_records}, got shape {caps.shape}")
        wrong = np.flatnonzero(~(caps > 0) | ((caps > LARGEST_WEIGHT) & np.isfinite(caps)))
        if wrong.size:
            j = int(wrong[0])
            more = f" (and {wrong.size - 1:,} more)" if wrong.size > 1 else ""
            raise InputError(
                f"max_weight of record {shown(problem.record_ids[j])} (position {j}) is {caps[j]}{more}; it must be a "
                f"positive number up to {LARGEST_WEIGHT:g}, or inf for a record without a largest weight"
            )

    def flags(self, name: str, records: int) -> Any:
        """``must_keep`` or ``never_keep``, shape (records,), or None; InputError where it has another."""
        given = getattr(self, name)
        if given is not None and given.shape != (records,):
            raise InputError(f"{name} must have one flag for each of the {records} records, got shape {given.shape}")
        return given

    def budget(self, records: int) -> int | None:
        """K for a problem of that many records, or None for a dense fit.

        Raises
        ------
        InputError
            K is above the number of records, or the effective sample size that is wanted above K or all records.
        """
        keep = self.keep
        if keep is not None and keep > records:
            raise InputError(f"keep={keep} is above the number of records, {records}")
        if self.share is not None:
            keep = max(1, round(self.share * records))
        if self.ess_at_least is not None and self.ess_at_least > (keep or records):
            raise InputError(
                f"ess_at_least={self.ess_at_least:g} cannot be had with {keep or records} records: no effective sample "
                "size is above the number of records"
            )
        return keep

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the record of a run (flags, groups and areas as their count, caps as given)."""
        out: dict[str, Any] = attrs.asdict(self)
        for name in ("must_keep", "never_keep"):
            if out[name] is not None:
                out[name] = int(out[name].sum())
        if np.ndim(out["max_weight"]):
            out["max_weight"] = "given"
        if out["groups"] is not None:
            out["groups"] = int(pd.unique(out["groups"]).size)
        if out["areas"] is not None:
            out["areas"] = [int(pd.unique(labels).size) for labels in out["areas"].T]
        return out


def options_from(fields: dict[str, Any]) -> Options:
    """`Options` from keyword arguments; an unknown name lists those that exist, or the call that does it."""
    return made_from(Options, fields, "option", CALLS)


def made_from(
    kind: type[Made], fields: dict[str, Any], what: str, others: Mapping[str, str] = MappingProxyType({})
) -> Made:
    """A class of settings from some of its fields, called ``what``; an unknown name lists those that exist.

    ``others`` are calls that do what no field does, by the name that is unknown.
    """
    known = sorted(field.name for field in attrs.fields(kind))  # type: ignore[arg-type]
    unknown = sorted(set(fields) - set(known))
    if unknown:
        listed = ", ".join(name + (named(others[name]) if name in others else meant(name, known)) for name in unknown)
        raise InputError(f"unknown {what} {listed}; there are: {', '.join(known)}")
    return kind(**fields)

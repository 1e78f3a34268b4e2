"""The options of a `Calibration`, checked together before anything is done."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

from l0_core import InputError
from l0_core.plugins import registry
from l0_core.real_numbers import number
from l0_core.selection import check_seed
from l0_core.whole_numbers import whole

Options = TypeVar("Options")

LOSSES = ("relative", "historical")


def _one_of(names: tuple[str, ...]) -> Any:
    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in names:
            raise InputError(f"unknown {attribute.name} {value!r}; known: {', '.join(names)}")

    return check


@attrs.frozen(kw_only=True)
class TrainingOptions:
    """How the differentiable road is walked.

    Parameters
    ----------
    epochs
        Steps of Adam of the dense fit; the gated one takes twice as many.
    noise_level
        Weights start at ``weight + noise_level U``, U uniform on [0, 1).
    learning_rate
        Adam's step size on log-weights.
    dropout_rate
        Share of weights left out of each epoch's estimates, in [0, 1).
    device
        Of torch.
    seed
        Of all noise.
    batch_size
        Records that are on the device at a time; None is all of them. The gradient is the same.
    loss
        ``"relative"``: ``((estimate - target) / (|target| + 1))^2``. ``"historical"``: `metrics.loss`.
    """

    epochs: int = attrs.field(default=32, validator=whole(1))
    noise_level: float = attrs.field(default=10.0, validator=number(0.0, "at least 0"))
    learning_rate: float = attrs.field(default=1e-3, validator=number(0.0, "positive", closed=False))
    dropout_rate: float = attrs.field(default=0.0, validator=number(0.0, "in [0, 1)", below=1.0))
    device: str = attrs.field(default="cpu")
    seed: int = attrs.field(default=42, converter=check_seed)
    batch_size: int | None = attrs.field(default=None, validator=whole(1, optional=True))
    loss: str = attrs.field(default="relative", validator=_one_of(LOSSES))


@attrs.frozen(kw_only=True)
class GateOptions:
    """The gated fit.

    Parameters
    ----------
    l0_lambda
        Price of an open gate, in the unit of the loss.
    init_mean
        The probability with which each gate is open at first.
    temperature
        beta of the gates.
    sparse_learning_rate
        Adam's step size on log-weights and gates.
    """

    l0_lambda: float = attrs.field(default=5e-6, validator=number(0.0, "at least 0"))
    init_mean: float = attrs.field(
        default=0.999, validator=number(0.0, "strictly between 0 and 1", closed=False, below=1.0)
    )
    temperature: float = attrs.field(default=0.5, validator=number(0.0, "positive", closed=False))
    sparse_learning_rate: float = attrs.field(default=0.2, validator=number(0.0, "positive", closed=False))


def given_options(kind: type[Options], **given: Any) -> Options:
    """The options, where None is the default of a field, as in microcalibrate's optional arguments."""
    return kind(**{name: value for name, value in given.items() if value is not None})


def refuse_together(
    training: TrainingOptions, regularized: bool, has_function: bool, solver: str, keep: int | None
) -> None:
    """InputError, with the reason, for options that cannot work together.

    Parameters
    ----------
    regularized
        ``regularize_with_l0``.
    """
    known = ("adam", "auto", *registry().names("solver"))
    if solver not in known:
        raise InputError(f"unknown solver {solver!r}; known: {', '.join(known)}")
    if solver == "adam" and keep is not None:
        raise InputError(
            "keep (an exact number of records) is met by the convex solvers; leave out solver='adam', "
            "or give regularize_with_l0=True and a price instead of keep"
        )
    if solver == "adam":
        if has_function and training.batch_size is not None:
            raise InputError("batch_size needs an estimate_matrix: a function is asked for all records at once")
        return
    if has_function:
        raise InputError(
            "keep and the convex solvers need the estimates as a matrix; with an estimate_function there is only "
            "solver='adam', and regularize_with_l0=True for fewer records"
        )
    if regularized:
        raise InputError(
            "regularize_with_l0 (a price for each record) belongs to solver='adam'; give keep, an exact number, instead"
        )
    if training.dropout_rate > 0.0 or training.batch_size is not None:
        raise InputError("dropout_rate and batch_size belong to solver='adam'; keep and the convex solvers have none")


def unused_without_adam(training: TrainingOptions, gates: GateOptions) -> list[str]:
    """Names of options that differ from their defaults, to no effect where Adam is not asked.

    The seed is that of every solver, and without noise is how the convex ones begin.
    """
    return [
        field.name
        for options in (training, gates)
        for field in attrs.fields(type(options))
        if field.name != "seed"
        and getattr(options, field.name) != field.default
        and (field.name, getattr(options, field.name)) != ("noise_level", 0)
    ]

"""The squared-error losses of the torch faces: one scale and one weight for each target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_core import InputError

Array = Any
FloatArray = npt.NDArray[np.float64]

LOSS_TYPES = ("mse", "relative")


def target_scales(targets: FloatArray, loss_type: str) -> FloatArray:
    """Shape (targets,): what each error is divided by.

    ``"mse"``: 1. ``"relative"``: ``|target| + 1``, which is l0-python's ``target + 1`` for every target that is
    not negative, never smaller than 1, and as good for a loss of a billion as for an income of a billion.

    Raises
    ------
    InputError
        For another ``loss_type``.
    """
    if loss_type not in LOSS_TYPES:
        raise InputError(f"unknown loss_type {loss_type!r}; known: {', '.join(LOSS_TYPES)}")
    return np.ones_like(targets) if loss_type == "mse" else np.abs(targets) + 1.0


def group_weights(count: int, groups: Any | None, normalize: bool, multipliers: dict[Any, float] | None) -> FloatArray:
    """Shape (targets,): what each target counts for in the sum of squares.

    Without groups 1. With groups the multiplier of its group (1 where none is given), divided by the number
    of targets in the group if ``normalize``, so that each group counts as one target.

    Raises
    ------
    InputError
        Groups of a wrong shape, multipliers that are no mapping, without groups, for a group that no target has, or
        negative.
    """
    if groups is None:
        if multipliers:
            raise InputError("group_multipliers need target_groups")
        return np.ones(count)
    labels = np.asarray(groups.detach().cpu() if hasattr(groups, "detach") else groups)
    if labels.shape != (count,):
        raise InputError(f"target_groups must have shape ({count},), one group for each target; got {labels.shape}")
    names, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if multipliers is not None and not isinstance(multipliers, Mapping):
        raise InputError(f"group_multipliers must be a mapping of groups to numbers, got {type(multipliers).__name__}")
    factor = dict.fromkeys(names.tolist(), 1.0)
    for name, value in (multipliers or {}).items():
        if name not in factor:
            raise InputError(
                f"group_multipliers names group {name!r}, which no target has; groups: {list(factor)[:20]}"
            )
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"the multiplier of group {name!r} must be finite and not negative, got {value!r}")
        factor[name] = float(value)
    each = np.array([factor[name] for name in names.tolist()])
    return np.asarray((each / sizes if normalize else each)[member], dtype=np.float64)


@attrs.frozen(eq=False)
class SquaredError:
    """``sum_i weights_i ((estimate_i - target_i) / scale_i)^2``, over arrays of any library.

    Parameters
    ----------
    targets, inverse_scales, weights
        Shape (targets,), of one library and dtype.
    """

    targets: Array
    inverse_scales: Array
    weights: Array

    def errors(self, estimates: Array) -> Array:
        """Scaled errors, shape (targets,)."""
        return (estimates - self.targets) * self.inverse_scales

    def value(self, estimates: Array) -> float:
        """The loss."""
        errors = self.errors(estimates)
        return float((self.weights * errors * errors).sum())

    def slope(self, estimates: Array) -> Array:
        """d loss / d estimates, shape (targets,)."""
        return 2.0 * self.weights * self.errors(estimates) * self.inverse_scales

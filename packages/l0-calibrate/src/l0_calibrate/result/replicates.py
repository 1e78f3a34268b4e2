"""Replicate weights of a result, and what makes variances of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_core import InputError
from l0_core.real_numbers import is_number, real_array

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem

FloatArray = npt.NDArray[np.float64]


def _checked_scale(scale: Any) -> Any:
    """A number, or read-only numbers, of a Series with its names; none is negative, and not all are zero."""
    if is_number(scale):
        if not 0.0 < scale < np.inf:
            raise InputError(
                f"the scale of a variance over replicates must be a number, positive and finite, got {scale!r}"
            )
        return float(scale)
    if isinstance(scale, str | bool | np.bool_) or np.ndim(scale) != 1:
        raise InputError(f"the scale of a variance over replicates must be a number, or one a replicate, got {scale!r}")
    values = real_array(scale, "scales of replicates").astype(np.float64)
    bad = np.flatnonzero(~((values >= 0.0) & (values < np.inf)))
    if bad.size:
        name = f" ({scale.index[bad[0]]!r})" if isinstance(scale, pd.Series) else ""
        raise InputError(
            f"the scale of replicate {bad[0] + 1}{name} must be finite and not negative, got {values[bad[0]]}"
        )
    if not values.any():
        raise InputError("all scales of replicates are 0: there would be no variance")
    values.setflags(write=False)
    return pd.Series(values, index=scale.index) if isinstance(scale, pd.Series) else values


@attrs.frozen(eq=False)
class Replicates:
    """Replicate weights, and what makes a variance of them.

    The variance of a total t is ``sum_r scale_r (t_r - t)^2`` (Wolter 2007, "Introduction to Variance Estimation").
    For all replicates alike, ``scale`` is 1 / R for R balanced half-samples (BRR) or bootstrap replicates, 1 / (R (1 -
    rho)^2) for Fay's variant, (R - 1) / R for a jackknife that leaves out one of R units at a time, 4 / R for
    successive differences. A stratified jackknife has one for each: (n_h - 1) / n_h, with n_h the units of the stratum
    that the replicate leaves one out of. The variance is around the total itself, not around the mean of the replicates
    (``mse=TRUE`` of R's survey). Its root tells how uncertain a total is, the calibration included, where the
    replicates were calibrated too.

    Parameters
    ----------
    weights
        Shape (records, R), in the problem's order; negative ones are possible, as among ``weights``.
    scale
        A number, positive and finite; or one a replicate, shape (R,), none negative. A Series is by the names of the
        replicates where these have names.
    """

    weights: FloatArray | pd.DataFrame
    scale: float | npt.ArrayLike | pd.Series = attrs.field(converter=_checked_scale)

    def checked(self, problem: CalibrationProblem) -> tuple[FloatArray, FloatArray]:
        """The weights, shape (records, R), and a scale for each, shape (R,); InputError where they do not fit."""
        from l0_calibrate.problem.replicate_weights import checked_replicates

        weights = checked_replicates(problem, self.weights, calibrated=True)
        return weights, self._scales(weights.shape[1])

    def _scales(self, count: int) -> FloatArray:
        scale = self.scale
        if isinstance(scale, float):
            return np.full(count, scale)
        if isinstance(scale, pd.Series) and isinstance(self.weights, pd.DataFrame):
            return _by_name(scale, [str(name) for name in self.weights.columns])
        values = np.asarray(scale, dtype=np.float64)
        if values.size != count:
            raise InputError(f"there are {values.size:,} scales for {count:,} replicates; give one for each")
        return values


def _by_name(scale: pd.Series, names: list[str]) -> FloatArray:
    """The scale of each replicate by its name."""
    from l0_calibrate.problem.labels import naming

    given = pd.Index([str(name) for name in scale.index])
    if given.has_duplicates:
        raise InputError(f"the scale of replicate {given[given.duplicated()][0]!r} is given twice")
    places = given.get_indexer(pd.Index(names))
    absent = [name for name, place in zip(names, places, strict=True) if place < 0]
    if absent:
        raise InputError(f"there is no scale for {len(absent):,} of {len(names):,} replicates: {naming(absent)}")
    unknown = given[~given.isin(names)]
    if unknown.size:
        raise InputError(f"there are scales for {unknown.size:,} replicates that there are not: {naming(unknown)}")
    ordered: FloatArray = scale.to_numpy(dtype=np.float64)[places]
    return ordered


def read_scale(given: str) -> float | pd.Series:
    """A scale as it is told on the command line: a number, or a table with columns ``replicate`` and ``scale``.

    Raises
    ------
    InputError
        It is neither.
    """
    from l0_calibrate.problem.files import read_table
    from l0_calibrate.problem.labels import near

    try:
        return float(given)
    except ValueError:
        pass
    if Path(given).suffix.lower() not in (".csv", ".parquet"):
        raise InputError(
            f"the scale of replicates must be a number, or a .csv or .parquet file with columns replicate and scale, "
            f"got {given!r}"
        )
    table = read_table(given)
    for name in ("replicate", "scale"):
        if name not in table.columns:
            raise InputError(f"{given} has no column {name!r}; {near(name, table.columns)}")
    scale = pd.Series(table["scale"].to_numpy(), index=table["replicate"].astype(str))
    try:
        _checked_scale(scale)
    except InputError as fault:
        raise InputError(f"{given}: {fault}") from fault
    return scale

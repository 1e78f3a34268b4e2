"""What a `Calibration` was given, under the names of microcalibrate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.microcalibrate.evaluation import vector
from l0_calibrate.microcalibrate.matrices import record_columns
from l0_calibrate.microcalibrate.settings import TrainingOptions
from l0_calibrate.microcalibrate.targets import NamedTargets, factors
from l0_calibrate.microcalibrate.training import tensor_of
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]


class CalibrationInputs:
    """Weights, targets and estimates; the matrix is kept sparse, by targets."""

    training: TrainingOptions
    named: NamedTargets
    weights: FloatArray
    original_weights: FloatArray
    original_estimate_matrix: Any
    _columns: Any
    _function: Callable[[Any], Any] | None

    def read_inputs(self, weights: Any, named: NamedTargets, estimate_matrix: Any | None) -> None:
        """Check and keep them.

        Raises
        ------
        InputError
            Shapes that do not fit, a weight or an entry that is not finite, a negative weight.
        """
        self.original_estimate_matrix = estimate_matrix
        self._columns = None if estimate_matrix is None else record_columns(estimate_matrix)
        found = vector(weights, "weights", None if self._columns is None else self._columns.shape[1])
        if (found < 0).any():
            j = int(np.flatnonzero(found < 0)[0])
            raise InputError(f"weights[{j}] is {found[j]:g}; weights must not be negative")
        self.weights, self.original_weights = found.copy(), found.copy()
        self.named = named
        if self._columns is not None and self._columns.shape[0] != named.values.size:
            raise InputError(
                f"estimate_matrix has {self._columns.shape[0]} columns and there are {named.values.size} targets"
            )

    @property
    def targets(self) -> FloatArray:
        """Shape (included targets,); set them to calibrate to others of the same names."""
        return self.named.values[self.named.included]

    @targets.setter
    def targets(self, value: Any) -> None:
        included = self.named.included
        values = self.named.values.copy()
        values[included] = vector(value, "targets", int(included.sum()))
        self.named = attrs.evolve(self.named, values=values)

    @property
    def target_names(self) -> npt.NDArray[Any]:
        """Names of the included targets."""
        return self.named.names[self.named.included]

    @property
    def original_targets(self) -> FloatArray:
        """Shape (all targets,)."""
        return self.named.values

    @property
    def original_target_names(self) -> npt.NDArray[Any]:
        """Names of all targets."""
        return self.named.names

    @property
    def normalization_factor(self) -> FloatArray:
        """Shape (all targets,), what each target counts for; set it to one number, one for each, or None for 1."""
        return self.named.factor

    @normalization_factor.setter
    def normalization_factor(self, value: Any | None) -> None:
        self.named = attrs.evolve(self.named, factor=factors(value, self.named.values.size))

    @property
    def excluded_targets(self) -> list[str]:
        """Names of the targets that take no part."""
        return list(self.named.excluded)

    @property
    def estimate_matrix(self) -> pd.DataFrame | None:
        """The included columns, as a frame of sparse columns; None where there is only a function."""
        if self._columns is None:
            return None
        part = self._columns[self.named.included].T.tocsc()
        return pd.DataFrame.sparse.from_spmatrix(part, columns=list(self.target_names))

    @property
    def columns(self) -> Any:
        """Shape (all targets, records), the estimate matrix as it is kept: sparse, by targets. None without one."""
        return self._columns

    @property
    def estimate_function(self) -> Callable[[Any], Any]:
        """Weights (a tensor) to estimates: the function that was given, or the product with the included columns."""
        if self._function is not None:
            return self._function
        assert self._columns is not None
        columns = self._columns[self.named.included]

        def product(weights: Any) -> Any:
            from l0_torch.backend import TorchBackend

            dtype = str(weights.dtype).removeprefix("torch.")
            return TorchBackend(str(weights.device)).linear_map(columns, dtype).matvec(weights)

        return product

    def exclude_targets(self, excluded_targets: list[str] | None = None) -> None:
        """Leave exactly these targets out of the fit; ``None`` changes nothing.

        Parameters
        ----------
        excluded_targets
            Names; the former ones are taken back in unless they are named again.
        """
        if excluded_targets is not None:
            self.named = self.named.without(excluded_targets)

    def estimate(self, weights: Any | None = None) -> pd.Series:
        """The estimate of each included target, by name.

        Parameters
        ----------
        weights
            Shape (records,); those of the object by default.
        """
        found = self.weights if weights is None else vector(weights, "weights", self.weights.size)
        return pd.Series(self.estimates_of(found)[self.named.included], index=self.target_names)

    def estimates_of(self, weights: FloatArray) -> FloatArray:
        """Shape (all targets,); NaN for excluded ones of a function that leaves them out."""
        if self._function is None:
            return np.asarray(self.columns @ weights, dtype=np.float64)
        import torch

        with torch.no_grad():
            given = tensor_of(self._function(torch.tensor(weights, dtype=torch.float32, device=self.training.device)))
        found = given.double().cpu().numpy()
        if found.size == self.named.values.size:
            return np.asarray(found, dtype=np.float64)
        estimates = np.full(self.named.values.size, np.nan)
        estimates[self.named.included] = found
        return estimates

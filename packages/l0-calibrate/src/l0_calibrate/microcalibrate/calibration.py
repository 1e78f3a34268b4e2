"""`Calibration`: the interface of microcalibrate over the one way through, and over Adam where it is asked for."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.microcalibrate.analytical import assess_analytical_solution
from l0_calibrate.microcalibrate.attributes import OptionAttributes
from l0_calibrate.microcalibrate.engine import solve_with_engine
from l0_calibrate.microcalibrate.inputs import CalibrationInputs
from l0_calibrate.microcalibrate.performance import beside, performance_frame, summary_frame, write_csv
from l0_calibrate.microcalibrate.robustness import evaluate_holdout_robustness
from l0_calibrate.microcalibrate.settings import (
    GateOptions,
    TrainingOptions,
    given_options,
    refuse_together,
    unused_without_adam,
)
from l0_calibrate.microcalibrate.targets import named_targets
from l0_calibrate.microcalibrate.training import (
    History,
    TrainingTargets,
    starting_weights,
    train_on_function,
    train_on_matrix,
)
from l0_calibrate.microcalibrate.tuning import tune_l0_hyperparameters
from l0_core import InputError

if TYPE_CHECKING:
    from l0_calibrate.result.result import CalibrationResult

_log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]


class Calibration(CalibrationInputs, OptionAttributes):
    """Weights whose sums meet targets, as microcalibrate asks for them.

    By default Adam on log-weights, as there. ``keep=`` and ``solver="primal_dual"`` take the engine instead: an
    exact number of records, a certified loss, in seconds.

    Parameters
    ----------
    weights
        Shape (records,), the weights before.
    targets
        Shape (targets,).
    target_names
        Shape (targets,); by default the columns of the matrix.
    estimate_matrix
        Shape (records, targets), what each record adds to each target: DataFrame (dense or sparse columns),
        ndarray or scipy sparse. It is kept sparse.
    estimate_function
        Weights (a tensor of shape (records,)) to estimates (a tensor of shape (targets,)), differentiable.
        With both, estimates come from the function.
    epochs, noise_level, learning_rate, dropout_rate, device, seed, batch_size, loss
        See `TrainingOptions`.
    normalization_factor
        Shape (targets,), what each target counts for.
    excluded_targets
        Names of targets that take no part in the fit; their estimates are reported all the same.
    csv_path
        Where `calibrate` writes the performance frame; that of the gated fit goes beside it (``..._sparse.csv``).
    l0_lambda, init_mean, temperature, sparse_learning_rate
        See `GateOptions`.
    regularize_with_l0
        Fit weights with gates too; they are `sparse_weights`.
    keep
        Exactly how many records get a positive weight: select, then refit; see `l0_calibrate.calibrate`. Not by Adam.
    solver
        ``"adam"``, or ``"auto"``, ``"primal_dual"``, ``"interior_point"``: convex, mean |relative error|, from the
        weights as they are (no noise, no epochs; options of Adam that are given all the same are named in a
        warning).
    options
        Further fields of `l0_calibrate.Options` for ``keep`` and the convex solvers, such as ``max_weight_ratio``.

    Attributes
    ----------
    weights
        Shape (records,), float64: given ones before `calibrate`, found ones after.
    sparse_weights
        Shape (records,) with zeros where a record is dropped, or None.
    performance_df
        See `log_performance_over_epochs`; None before `calibrate`.
    result
        The `CalibrationResult` of ``keep`` and the convex solvers.
    epochs, learning_rate, l0_lambda, ...
        Every option, to read and to set.

    Raises
    ------
    InputError
        Shapes that do not fit, numbers that are not finite, options that cannot work together.
    """

    def __init__(
        self,
        weights: Any,
        targets: Any,
        target_names: Any | None = None,
        estimate_matrix: Any | None = None,
        estimate_function: Callable[[Any], Any] | None = None,
        epochs: int | None = 32,
        noise_level: float | None = 10.0,
        learning_rate: float | None = 1e-3,
        dropout_rate: float | None = 0,
        normalization_factor: Any | None = None,
        excluded_targets: list[str] | None = None,
        csv_path: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        l0_lambda: float | None = 5e-6,
        init_mean: float | None = 0.999,
        temperature: float | None = 0.5,
        sparse_learning_rate: float | None = 0.2,
        regularize_with_l0: bool | None = False,
        seed: int | None = 42,
        batch_size: int | None = None,
        *,
        keep: int | None = None,
        solver: str | None = None,
        loss: str = "relative",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.training = given_options(
            TrainingOptions,
            epochs=epochs,
            noise_level=noise_level,
            learning_rate=learning_rate,
            dropout_rate=dropout_rate,
            device=device,
            seed=seed,
            batch_size=batch_size,
            loss=loss,
        )
        self.gates = given_options(
            GateOptions,
            l0_lambda=l0_lambda,
            init_mean=init_mean,
            temperature=temperature,
            sparse_learning_rate=sparse_learning_rate,
        )
        self.regularize_with_l0 = bool(regularize_with_l0)
        self.keep = keep
        self.solver = ("adam" if keep is None else "auto") if solver is None else solver
        self.options = dict(options or {})
        self.csv_path = csv_path
        self._function = estimate_function
        self.sparse_weights: FloatArray | None = None
        self.performance_df: pd.DataFrame | None = None
        self.result: CalibrationResult | None = None
        self._told: list[str] = []
        self._check_options(estimate_matrix is not None)
        self.read_inputs(
            weights,
            named_targets(targets, target_names, getattr(estimate_matrix, "columns", None), normalization_factor),
            estimate_matrix,
        )
        if excluded_targets:
            self.exclude_targets(excluded_targets)

    @property
    def is_convex(self) -> bool:
        """Whether the engine is asked, rather than Adam."""
        return self.solver != "adam" or self.keep is not None

    def _check_options(self, has_matrix: bool) -> None:
        if not has_matrix and self._function is None:
            raise InputError("give estimate_matrix (records x targets) or estimate_function")
        refuse_together(self.training, self.regularize_with_l0, self._function is not None, self.solver, self.keep)
        if self.options and not self.is_convex:
            raise InputError("options are those of keep and the convex solvers; give one of the two")
        unused = unused_without_adam(self.training, self.gates) if self.is_convex else []
        if unused and unused != self._told:
            warnings.warn(
                f"{', '.join(unused)}: of no effect with keep and the convex solvers, which end where the loss is "
                "certified; leave them out, or leave out keep and solver to train with Adam",
                UserWarning,
                stacklevel=3,
            )
        self._told = unused

    # ------------------------------------------------------------------ fitting

    def calibrate(self) -> pd.DataFrame:
        """Fit the weights and return the performance frame.

        A second call goes on from the weights that the first one found. The last epoch of the frame belongs to
        the weights that are returned.
        """
        self._check_options(self._columns is not None)
        if self.is_convex:
            history, sparse = self._solve(), None
        else:
            history, sparse = self._train()
        self.performance_df = self._frame(history)
        if self.csv_path is not None:
            write_csv(self.performance_df, self.csv_path)
            if sparse is not None:
                write_csv(self._frame(sparse), beside(self.csv_path, "_sparse"))
        return self.performance_df

    def _frame(self, history: History) -> pd.DataFrame:
        """One row for each logged epoch and target, included targets first."""
        order = self.named.order
        if len(history.estimates[0]) == order.size:
            estimates = np.array(history.estimates)[:, order]
        else:  # a function that gives the included ones alone
            order = order[: int(self.named.included.sum())]
            estimates = np.array(history.estimates)
        return performance_frame(
            history.epochs, history.losses, estimates, self.named.values[order], list(self.named.names[order])
        )

    def _fit(self, gates: GateOptions | None) -> tuple[FloatArray, History]:
        """(weights, history) of one fit from the weights as they are, which stay so."""
        included = self.named.included
        targets = TrainingTargets(self.named.values[included], self.named.factor[included], included)
        start = starting_weights(self.weights, self.training)
        if self._function is not None:
            return train_on_function(self._function, targets, start, self.training, gates)
        return train_on_matrix(self._columns, targets, start, self.training, gates)

    def _train(self) -> tuple[History, History | None]:
        """(of the dense fit, of the gated one)."""
        weights, history = self._fit(None)
        self.sparse_weights, sparse = None, None
        if self.regularize_with_l0:
            self.sparse_weights, sparse = self._fit(self.gates)
            kept = int(np.count_nonzero(self.sparse_weights))
            _log.info("the gates keep %d of %d records", kept, self.sparse_weights.size)
        self.weights = weights
        return history, sparse

    def weights_to_score(self) -> FloatArray:
        """Shape (records,): what `calibrate` would find, of the gated fit alone where there is one; nothing is kept."""
        self._check_options(self._columns is not None)
        if self.is_convex:
            return np.array(self._solve_for(self.weights)[0].weights)
        return self._fit(self.gates if self.regularize_with_l0 else None)[0]

    def _solve_for(self, weights: FloatArray) -> tuple[CalibrationResult, History]:
        options = {"keep": self.keep, "solver": self.solver, "seed": self.training.seed, **self.options}
        return solve_with_engine(self._columns, self.named, weights, options)

    def _solve(self) -> History:
        self.result, history = self._solve_for(self.weights)
        self.weights = np.array(self.result.weights)
        self.sparse_weights = None if self.keep is None else self.weights.copy()
        return history

    # ------------------------------------------------------------------ what came out

    def summary(self) -> pd.DataFrame:
        """One row for each target, excluded ones last: official target, final estimate, relative error.

        Raises
        ------
        InputError
            `calibrate` has not run.
        """
        if self.performance_df is None:
            raise InputError("there is nothing to sum up yet; call calibrate() first")
        order = self.named.order
        estimates = self.estimates_of(self.weights)[order]
        return summary_frame(self.named.names[order], self.named.values[order], estimates)

    def assess_analytical_solution(self, use_sparse: bool | None = False) -> pd.DataFrame:
        """How much of the error least squares without bounds leaves, as targets are added one by one.

        Parameters
        ----------
        use_sparse
            Accepted as in microcalibrate; the matrix is sparse here in any case.

        Returns
        -------
        pandas.DataFrame
            ``target_added``, ``loss`` with the targets up to it, and ``delta_loss``, what it added (NaN for the first).
        """
        if self._columns is None:
            raise InputError("assess_analytical_solution needs an estimate_matrix")
        included = self.named.included
        return assess_analytical_solution(self._columns[included], self.targets, list(self.target_names))

    evaluate_holdout_robustness = evaluate_holdout_robustness
    tune_l0_hyperparameters = tune_l0_hyperparameters

    def fresh(self, excluded: list[str], **changes: Any) -> Calibration:
        """Another calibration of the same problem, from the original weights, with other targets left out.

        Parameters
        ----------
        excluded
            Names that take no part.
        changes
            Fields of `TrainingOptions` and `GateOptions`, ``keep`` and ``regularize_with_l0``.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        training = {k: v for k, v in changes.items() if k in attrs.fields_dict(TrainingOptions)}
        gates = {k: v for k, v in changes.items() if k in attrs.fields_dict(GateOptions)}
        other.training, other.gates = attrs.evolve(self.training, **training), attrs.evolve(self.gates, **gates)
        for name in ("keep", "regularize_with_l0"):
            if name in changes:
                setattr(other, name, changes[name])
        unknown = set(changes) - set(training) - set(gates) - {"keep", "regularize_with_l0"}
        if unknown:
            raise InputError(f"unknown option {', '.join(sorted(unknown))}")
        other.weights = self.original_weights.copy()
        other.sparse_weights, other.performance_df, other.result, other.csv_path = None, None, None, None
        other.named = self.named.without(excluded)
        return other

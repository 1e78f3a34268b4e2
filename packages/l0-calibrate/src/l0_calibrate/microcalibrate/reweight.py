"""`reweight`: the function behind microcalibrate's class, for those who call it directly."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]


def reweight(
    original_weights: Any,
    estimate_function: Callable[[Any], Any] | None,
    targets_array: Any,
    target_names: Any,
    l0_lambda: float,
    init_mean: float,
    temperature: float,
    regularize_with_l0: bool,
    sparse_learning_rate: float | None = 0.2,
    dropout_rate: float | None = 0.05,
    epochs: int | None = 2000,
    noise_level: float | None = 10.0,
    learning_rate: float | None = 1e-3,
    normalization_factor: Any | None = None,
    excluded_targets: list[str] | None = None,
    excluded_target_data: dict[str, dict[str, Any]] | None = None,
    csv_path: str | os.PathLike[str] | None = None,
    device: str | None = None,
    logger: logging.Logger | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    estimate_matrix: Any | None = None,
    *,
    loss: str = "relative",
) -> tuple[FloatArray, FloatArray | None, pd.DataFrame]:
    """(weights, sparse weights or None, performance frame).

    Parameters
    ----------
    original_weights
        Shape (records,).
    estimate_function
        Weights to the estimates of ``targets_array``, differentiable; it is not asked where there is a matrix.
    targets_array, target_names
        Shape (targets,): the targets that take part.
    excluded_targets, excluded_target_data
        What `log_performance_over_epochs` adds to the frame.
    logger
        Where the number of kept records is told, at level INFO.
    estimate_matrix
        Shape (records, targets), in place of the function: faster, and what ``batch_size`` needs.
    l0_lambda, init_mean, temperature, regularize_with_l0, sparse_learning_rate, dropout_rate, epochs, noise_level, \
learning_rate, normalization_factor, csv_path, device, seed, batch_size, loss
        See `Calibration`.
    """
    from l0_calibrate.microcalibrate.calibration import Calibration
    from l0_calibrate.microcalibrate.performance import log_performance_over_epochs, write_csv

    calibration = Calibration(
        original_weights,
        targets_array,
        target_names,
        estimate_matrix=estimate_matrix,
        estimate_function=estimate_function if estimate_matrix is None else None,
        epochs=epochs,
        noise_level=noise_level,
        learning_rate=learning_rate,
        dropout_rate=dropout_rate,
        normalization_factor=normalization_factor,
        csv_path=csv_path,
        device=device or "cpu",
        l0_lambda=l0_lambda,
        init_mean=init_mean,
        temperature=temperature,
        sparse_learning_rate=sparse_learning_rate,
        regularize_with_l0=regularize_with_l0,
        seed=seed,
        batch_size=batch_size,
        loss=loss,
    )
    frame = calibration.calibrate()
    if excluded_targets:
        groups = [part for _, part in frame.groupby("epoch", sort=True)]
        tracked: dict[str, list[Any]] = {
            "epochs": [int(part["epoch"].iloc[0]) for part in groups],
            "loss": [float(part["loss"].iloc[0]) for part in groups],
            "estimates": [part["estimate"].to_numpy() for part in groups],
        }
        frame = log_performance_over_epochs(
            tracked, targets_array, calibration.target_names, excluded_targets, excluded_target_data
        )
        if csv_path is not None:
            write_csv(frame, csv_path)
    if logger is not None and calibration.sparse_weights is not None:
        kept = int(np.count_nonzero(calibration.sparse_weights))
        logger.info("the gates keep %d of %d records", kept, calibration.sparse_weights.size)
    return calibration.weights, calibration.sparse_weights, frame

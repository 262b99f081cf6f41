"""Estimators for values: errors against the truth."""

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.estimator import Estimator, mean_of
from edgewise.measure.rows import check_finite, flat_rows
from edgewise.runtime.engine import Array

__all__ = ["mae_estimator", "rmse_estimator"]


def rmse_estimator(outputs: Array, y: Array) -> Estimator:
    """outputs and y: (N, ...) with equally many values for each sample."""
    mean = mean_of((_errors(outputs, y) ** 2).mean(axis=1))
    return Estimator("rmse", lambda weights: np.sqrt(mean(weights)), len(y), higher_is_better=False)


def mae_estimator(outputs: Array, y: Array) -> Estimator:
    """outputs and y: (N, ...) with equally many values for each sample."""
    return Estimator("mae", mean_of(np.abs(_errors(outputs, y)).mean(axis=1)), len(y), higher_is_better=False)


def _errors(outputs: Array, y: Array) -> Array:
    said = flat_rows(outputs)
    if not y.ndim or outputs.size != y.size or len(outputs) != len(y):
        raise DataError(f"outputs {outputs.shape} and y {y.shape} must have equally many values")
    check_finite(y, "the true values")
    return said.astype(np.float64) - y.reshape(len(y), -1)

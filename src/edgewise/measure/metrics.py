"""Quality metrics by task. Each takes a model's outputs and the truth and gives a number with its interval.

outputs: (N, ...) as the deciding output gave them. y: the truth (N, ...). group: (N,) or None; samples of one group (a person, a
board) are correlated and are resampled together. chance draws the resamples; without it they are those of seed 0, so that
the same outputs always give the same interval. Every one raises DataError, in words, where outputs and truth do not fit.
"""

from typing import Protocol

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.classification import (
    accuracy_estimator,
    auc_estimator,
    macro_f1_estimator,
    micro_f1_estimator,
    top_k_accuracy_estimator,
)
from edgewise.measure.detection import map50_estimator
from edgewise.measure.estimator import difference_of
from edgewise.measure.metric import Metric
from edgewise.measure.ranking import recall_at_k_estimator
from edgewise.measure.regression import mae_estimator, rmse_estimator
from edgewise.runtime.engine import Array

__all__ = [
    "METRICS", "accuracy", "auc", "default_metric", "default_metrics", "difference", "macro_f1", "mae",
    "mean_average_precision", "micro_f1", "recall_at_k", "rmse", "top_k_accuracy",
]  # fmt: skip

Chance = np.random.Generator | None


class Measure(Protocol):
    """A metric by name, as in ``METRICS``."""

    def __call__(
        self, outputs: Array, y: Array, group: Array | None = None, *, confidence: float = 0.95, chance: Chance = None
    ) -> Metric: ...


def accuracy(
    outputs: Array, y: Array, group: Array | None = None, *, confidence: float = 0.95, chance: Chance = None
) -> Metric:
    """Share of samples whose highest output is the true class. outputs (N, classes), y (N,)."""
    return accuracy_estimator(outputs, y).metric(group, confidence=confidence, chance=chance)


def top_k_accuracy(
    outputs: Array, y: Array, group: Array | None = None, *, k: int = 5, confidence: float = 0.95, chance: Chance = None
) -> Metric:
    """Share of samples whose true class is among the ``k`` highest outputs. outputs (N, classes), y (N,)."""
    return top_k_accuracy_estimator(outputs, y, k).metric(group, confidence=confidence, chance=chance)


def macro_f1(
    outputs: Array, y: Array, group: Array | None = None, *, confidence: float = 0.95, chance: Chance = None
) -> Metric:
    """Mean over classes of F1; classes absent from both truth and predictions are left out. outputs (N, classes), y (N,)."""
    return macro_f1_estimator(outputs, y).metric(group, confidence=confidence, chance=chance)


def micro_f1(
    outputs: Array, y: Array, group: Array | None = None, *, confidence: float = 0.95, chance: Chance = None
) -> Metric:
    """F1 over all (sample, label) pairs of a multi-label task. outputs (N, labels) with 0.5 as threshold, y (N, labels) of 0/1."""
    return micro_f1_estimator(outputs, y).metric(group, confidence=confidence, chance=chance)


def auc(
    outputs: Array, y: Array, group: Array | None = None, *, confidence: float = 0.95, chance: Chance = None
) -> Metric:
    """Area under the ROC curve by ranks (Mann-Whitney, ties count half); for more classes, the mean of one-versus-rest.

    outputs: (N,), (N, 1) or (N, 2) with y (N,) of 0/1, or (N, classes). Resampled within each class where there are no groups.
    """
    return auc_estimator(outputs, y).metric(group, confidence=confidence, chance=chance)


def mean_average_precision(
    outputs: Array, y: Array, group: Array | None = None, *, confidence: float = 0.95, chance: Chance = None
) -> Metric:
    """mAP at an overlap of 0.5, all-point interpolation, with an interval over resampled images.

    outputs: (N, detections, 6) rows x1, y1, x2, y2, score, class; y: (N, objects, 5) rows x1, y1, x2, y2, class. Rows with a
    negative class are padding.
    """
    return map50_estimator(outputs, y).metric(group, confidence=confidence, chance=chance)


def rmse(
    outputs: Array, y: Array, group: Array | None = None, *, confidence: float = 0.95, chance: Chance = None
) -> Metric:
    """Root of the mean squared error. outputs and y: (N, ...) with equally many values."""
    return rmse_estimator(outputs, y).metric(group, confidence=confidence, chance=chance)


def mae(
    outputs: Array, y: Array, group: Array | None = None, *, confidence: float = 0.95, chance: Chance = None
) -> Metric:
    """Mean absolute error. outputs and y: (N, ...) with equally many values."""
    return mae_estimator(outputs, y).metric(group, confidence=confidence, chance=chance)


def recall_at_k(
    outputs: Array,
    y: Array,
    group: Array | None = None,
    *,
    k: int = 1,
    gallery: Array | None = None,
    gallery_y: Array | None = None,
    confidence: float = 0.95,
    chance: Chance = None,
) -> Metric:
    """Share of embeddings with one of the same class among their ``k`` nearest by cosine.

    outputs (N, d), y (N,), sought in gallery (M, d) with gallery_y (M,); without a gallery, among the other samples.
    """
    estimator = recall_at_k_estimator(outputs, y, k, gallery, gallery_y)
    return estimator.metric(group, confidence=confidence, chance=chance)


#: Metric name -> function. What a task measures by default is in ``_DEFAULTS``.
METRICS: dict[str, Measure] = {
    "accuracy": accuracy, "top5_accuracy": top_k_accuracy, "macro_f1": macro_f1, "micro_f1": micro_f1, "auc": auc,
    "map50": mean_average_precision, "rmse": rmse, "mae": mae, "recall@1": recall_at_k,
}  # fmt: skip
_ESTIMATORS = {
    "accuracy": accuracy_estimator, "top5_accuracy": top_k_accuracy_estimator, "macro_f1": macro_f1_estimator,
    "micro_f1": micro_f1_estimator, "auc": auc_estimator, "map50": map50_estimator, "rmse": rmse_estimator,
    "mae": mae_estimator, "recall@1": recall_at_k_estimator,
}  # fmt: skip
_DEFAULTS = {
    "classification": ("accuracy", "macro_f1"), "multilabel": ("micro_f1",), "detection": ("map50",),
    "regression": ("rmse", "mae"), "anomaly": ("auc",), "embedding": ("recall@1",), "tensor": ("rmse",),
}  # fmt: skip


def default_metric(task: str) -> str:
    """The name of the metric that decides for a task. Raises DataError for a task that has none."""
    return _defaults(task)[0]


def default_metrics(task: str, outputs: Array, y: Array, group: Array | None = None) -> list[Metric]:
    """The metrics that a task is judged by, the telling one first. Raises DataError where outputs and truth do not fit."""
    return [METRICS[name](outputs, y, group) for name in _defaults(task)]


def difference(
    name: str,
    first: Array,
    second: Array,
    y: Array,
    group: Array | None = None,
    *,
    confidence: float = 0.95,
    chance: Chance = None,
) -> Metric:
    """How much higher the metric ``name`` is for the outputs ``second`` than for ``first``, both of the same samples.

    The interval is that of the paired bootstrap: far narrower than the two intervals apart where the models err alike.
    """
    if name not in _ESTIMATORS:
        raise DataError(f"there is no metric {name}; there are {', '.join(_ESTIMATORS)}")
    make = _ESTIMATORS[name]
    return difference_of(make(first, y), make(second, y), group, confidence=confidence, chance=chance)


def _defaults(task: str) -> tuple[str, ...]:
    if task not in _DEFAULTS:
        raise DataError(f"there is no task {task}; there are {', '.join(_DEFAULTS)}")
    return _DEFAULTS[task]

"""What a trained model is judged by, for each task."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.estimator import share_of
from edgewise.measure.metric import Metric
from edgewise.measure.metrics import accuracy, auc, mean_average_precision, micro_f1, rmse
from edgewise.measure.npz import Array
from edgewise.measure.segmentation import mean_iou_estimator

__all__ = ["Task", "judge", "known_from_unknown"]

Task = Literal["classification", "multilabel", "regression", "recommendation", "anomaly", "segmentation", "detection"]
_TOP = 10  # of a recommendation


def judge(
    task: Task, outputs: Mapping[str, Array], inputs: Mapping[str, Array], y: Array, group: Array | None = None
) -> Metric:
    """The one figure that counts for a task, with its interval.

    outputs, inputs: of the model, by name, (N, ...). y: the truth. Raises DataError where they do not fit.
    """
    first = next(iter(outputs.values()))
    if task == "recommendation":
        return _hits(first, next(iter(inputs.values())), y)
    if task == "anomaly":
        return _anomalies(outputs["score"], y, group)
    if task == "segmentation":
        return mean_iou_estimator(first, y).metric(group)
    if task == "regression":
        return rmse(first.reshape(len(first), -1), y.reshape(len(y), -1).astype(first.dtype), group)
    measure = {"classification": accuracy, "multilabel": micro_f1, "detection": mean_average_precision}[task]
    return measure(first, y, group)


def known_from_unknown(known: Array, unknown: Array) -> Metric:
    """Area under the ROC curve with which the largest probability tells known classes from texts of none; scores (N, classes)."""
    sure = np.concatenate([_surest(known), _surest(unknown)])
    truth = np.concatenate([np.ones(len(known), np.int64), np.zeros(len(unknown), np.int64)])
    found = auc(sure, truth)
    return Metric("unknown_auc", found.value, found.low, found.high, found.samples, found.method)


def _surest(scores: Array) -> Array:
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return 1 / powers.sum(axis=1)


def _hits(scores: Array, history: Array, y: Array) -> Metric:
    """Share of choices that are among the ten best scores; what was chosen before is not suggested again."""
    left = scores.astype(np.float64)
    left[:, 0] = -np.inf  # the padding
    np.put_along_axis(left, history, -np.inf, axis=1)
    own = left[np.arange(len(y)), y]
    hit = ((left > own[:, None]).sum(axis=1) < _TOP) & np.isfinite(own)
    return share_of(f"hit@{_TOP}", hit).metric()


def _anomalies(score: Array, y: Array, group: Array | None) -> Metric:
    if y.ndim == 1 and 0 < int((y > 0).sum()) < len(y):
        return auc(score.reshape(-1), (y > 0).astype(np.int64), group)
    if not np.isfinite(score).all():
        raise DataError("the model's scores are not all finite")
    value = float(score.mean())
    spread = 1.96 * float(score.std()) / max(1, len(score)) ** 0.5
    return Metric("mean_error", value, value - spread, value + spread, len(score), "normal", higher_is_better=False)

"""Quality metrics by task. Each takes a model's outputs and the truth and gives a number with its interval.

outputs: (N, ...) as the deciding output gave them. y: the truth (N, ...). group: (N,) or None; samples of one group (a person, a
board) are correlated and are resampled together.
"""

from collections.abc import Callable

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.detection import mean_average_precision
from edgewise.measure.intervals import Indices, bootstrap, wilson
from edgewise.measure.metric import Metric
from edgewise.runtime.engine import Array

__all__ = [
    "METRICS", "accuracy", "auc", "default_metrics", "macro_f1", "mae", "micro_f1", "recall_at_k", "rmse", "top_k_accuracy",
]  # fmt: skip

Measure = Callable[[Array, Array, Array | None], Metric]


def accuracy(outputs: Array, y: Array, group: Array | None = None) -> Metric:
    """Share of samples whose highest output is the true class. outputs (N, classes), y (N,)."""
    return _share("accuracy", _classes(outputs, y) == y, group)


def top_k_accuracy(outputs: Array, y: Array, group: Array | None = None, *, k: int = 5) -> Metric:
    """Share of samples whose true class is among the ``k`` highest outputs. outputs (N, classes), y (N,)."""
    _classes(outputs, y)
    best = np.argsort(-_flat(outputs), axis=1, kind="stable")[:, :k]
    return _share(f"top{k}_accuracy", (best == y[:, None]).any(axis=1), group)


def macro_f1(outputs: Array, y: Array, group: Array | None = None) -> Metric:
    """Mean over classes of F1; classes absent from both truth and predictions are left out. outputs (N, classes), y (N,)."""
    predicted = _classes(outputs, y)
    classes = int(max(predicted.max(), y.max())) + 1

    def statistic(at: Indices) -> float:
        table = np.bincount(y[at] * classes + predicted[at], minlength=classes * classes).reshape(classes, classes)
        hits, total = np.diag(table), table.sum(0) + table.sum(1)
        present = total > 0
        return float(np.mean(2 * hits[present] / total[present]))

    return _resampled("macro_f1", statistic, len(y), group)


def micro_f1(outputs: Array, y: Array, group: Array | None = None) -> Metric:
    """F1 over all (sample, label) pairs of a multi-label task. outputs (N, labels) with 0.5 as threshold, y (N, labels) of 0/1."""
    if outputs.shape != y.shape or outputs.ndim != 2:
        raise DataError(f"outputs {outputs.shape} and y {y.shape} must both be (N, labels)")
    predicted, truth = outputs >= 0.5, y > 0
    hits, total = (predicted & truth).sum(1), predicted.sum(1) + truth.sum(1)

    def statistic(at: Indices) -> float:
        return float(2 * hits[at].sum() / total[at].sum()) if total[at].sum() else float("nan")

    return _resampled("micro_f1", statistic, len(y), group)


def auc(outputs: Array, y: Array, group: Array | None = None) -> Metric:
    """Area under the ROC curve by ranks (Mann-Whitney, ties count half); for more classes, the mean of one-versus-rest.

    outputs: (N,), (N, 1) or (N, classes); y: (N,).
    """
    scores = _flat(outputs)
    _check_rows(scores, y)
    columns = (
        {1: scores[:, -1]} if scores.shape[1] <= 2 else {label: scores[:, label] for label in range(scores.shape[1])}
    )

    def statistic(at: Indices) -> float:
        areas = [_area(column[at], y[at] == label) for label, column in columns.items()]
        known = [area for area in areas if np.isfinite(area)]
        return float(np.mean(known)) if known else float("nan")

    return _resampled("auc", statistic, len(y), group)


def rmse(outputs: Array, y: Array, group: Array | None = None) -> Metric:
    """Root of the mean squared error. outputs and y: (N, ...) with equally many values."""
    squared = (_errors(outputs, y) ** 2).mean(axis=1)
    return _resampled("rmse", lambda at: float(np.sqrt(squared[at].mean())), len(y), group, higher_is_better=False)


def mae(outputs: Array, y: Array, group: Array | None = None) -> Metric:
    """Mean absolute error. outputs and y: (N, ...) with equally many values."""
    absolute = np.abs(_errors(outputs, y)).mean(axis=1)
    return _resampled("mae", lambda at: float(absolute[at].mean()), len(y), group, higher_is_better=False)


def recall_at_k(outputs: Array, y: Array, group: Array | None = None, *, k: int = 1) -> Metric:
    """Share of embeddings with another of the same class among their ``k`` nearest by cosine. outputs (N, d), y (N,)."""
    rows = _flat(outputs).astype(np.float64)
    _check_rows(rows, y)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    hits = np.empty(len(y), bool)
    for start in range(0, len(y), 1024):  # blocks bound the similarity matrix to 8 MB per 1,000 samples
        near = rows[start : start + 1024] @ rows.T
        near[np.arange(len(near)), start + np.arange(len(near))] = -np.inf
        best = np.argpartition(-near, min(k, len(y) - 1) - 1, axis=1)[:, :k]
        hits[start : start + 1024] = (y[best] == y[start : start + 1024, None]).any(axis=1)
    return _share(f"recall@{k}", hits, group)


#: Metric name -> function. What a task measures by default is in ``_DEFAULTS``.
METRICS: dict[str, Measure] = {
    "accuracy": accuracy, "top5_accuracy": top_k_accuracy, "macro_f1": macro_f1, "micro_f1": micro_f1, "auc": auc,
    "map50": mean_average_precision, "rmse": rmse, "mae": mae, "recall@1": recall_at_k,
}  # fmt: skip
_DEFAULTS = {
    "classification": ("accuracy", "macro_f1"), "multilabel": ("micro_f1",), "detection": ("map50",),
    "regression": ("rmse", "mae"), "anomaly": ("auc",), "embedding": ("recall@1",), "tensor": ("rmse",),
}  # fmt: skip


def default_metrics(task: str, outputs: Array, y: Array, group: Array | None = None) -> list[Metric]:
    """The metrics that a task is judged by, the telling one first. Raises DataError where outputs and truth do not fit."""
    return [METRICS[name](outputs, y, group) for name in _DEFAULTS[task]]


def _share(name: str, hits: Array, group: Array | None) -> Metric:
    count, successes = len(hits), int(hits.sum())
    if group is not None:
        return _resampled(name, lambda at: float(hits[at].mean()), count, group)
    low, high = wilson(successes, count)
    return Metric(name, successes / count, low, high, count, "wilson")


def _resampled(
    name: str,
    statistic: Callable[[Indices], float],
    samples: int,
    group: Array | None,
    *,
    higher_is_better: bool = True,
) -> Metric:
    value = statistic(np.arange(samples))
    if not np.isfinite(value):
        raise DataError(f"{name} is undefined on this data: it needs samples of more than one class")
    low, high = bootstrap(statistic, samples, group=group)
    method = "bootstrap" if group is None else "bootstrap over groups"
    return Metric(name, value, min(low, value), max(high, value), samples, method, higher_is_better=higher_is_better)


def _flat(outputs: Array) -> Array:
    if not len(outputs):
        raise DataError("there are no outputs to judge")
    if not np.issubdtype(outputs.dtype, np.number) or not np.isfinite(outputs).all():
        raise DataError("the model's outputs are not all finite numbers")
    return outputs.reshape(len(outputs), -1)


def _check_rows(outputs: Array, y: Array) -> None:
    if not len(y) or len(outputs) != len(y) or y.ndim != 1:
        raise DataError(
            f"there are {len(outputs)} outputs for labels of shape {y.shape}; one label per output is needed"
        )


def _classes(outputs: Array, y: Array) -> Array:
    scores = _flat(outputs)
    _check_rows(scores, y)
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= scores.shape[1]:
        raise DataError(f"labels are {y.dtype} in {y.min()}..{y.max()}; the model has classes 0..{scores.shape[1] - 1}")
    return scores.argmax(axis=1)


def _errors(outputs: Array, y: Array) -> Array:
    if not len(y) or outputs.size != y.size or len(outputs) != len(y):
        raise DataError(f"outputs {outputs.shape} and y {y.shape} must have equally many values")
    return (_flat(outputs).astype(np.float64) - y.reshape(len(y), -1)).reshape(len(y), -1)


def _area(scores: Array, positive: Array) -> float:
    above, below = int(positive.sum()), int((~positive).sum())
    if not above or not below:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank of tied values, from 1
    return float((ranks[positive].sum() - above * (above + 1) / 2) / (above * below))

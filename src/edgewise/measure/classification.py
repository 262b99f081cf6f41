"""Estimators for classes and labels: shares, F1 and the area under the ROC curve."""

import numpy as np
import numpy.typing as npt

from edgewise.errors import DataError
from edgewise.measure.estimator import Estimator, share_of
from edgewise.measure.resampling import Weights
from edgewise.measure.rows import class_labels, decided, flat_rows
from edgewise.runtime.decision import are_indices
from edgewise.runtime.engine import Array

__all__ = [
    "accuracy_estimator", "auc_estimator", "macro_f1_estimator", "micro_f1_estimator", "top_k_accuracy_estimator",
]  # fmt: skip

_THRESHOLD = 0.5  # of a multi-label output


def accuracy_estimator(outputs: Array, y: Array) -> Estimator:
    """outputs in any form that a classifier decides by (see ``runtime.decision``), y (N,)."""
    said, truth, _ = decided(outputs, y)
    return share_of("accuracy", said == truth)


def top_k_accuracy_estimator(outputs: Array, y: Array, k: int = 5) -> Estimator:
    """outputs (N, classes), or class indices (N, k) with the best first; y (N,)."""
    scores = flat_rows(outputs)
    _, truth, _ = decided(outputs, y)
    if k < 1:
        raise DataError(f"the true class cannot be among the {k} highest outputs")
    if are_indices(outputs):
        return share_of(f"top{k}_accuracy", (scores[:, :k] == truth[:, None]).any(axis=1))
    best = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :k]
    return share_of(f"top{k}_accuracy", (best == truth[:, None]).any(axis=1))


def macro_f1_estimator(outputs: Array, y: Array) -> Estimator:
    """outputs as for accuracy, y (N,). Classes absent from both truth and predictions are left out, in each resample anew."""
    said, truth, classes = decided(outputs, y)
    hits = (truth == said).astype(np.float64)

    def statistic(weights: Weights) -> npt.NDArray[np.float64]:
        total = _by_class(weights, truth, classes) + _by_class(weights, said, classes)
        f1 = _ratio(2 * _by_class(weights * hits, truth, classes), total)
        return np.nanmean(f1, axis=1)  # no row is all NaN: every resample has a truth

    return Estimator("macro_f1", statistic, len(y), width=classes)


def micro_f1_estimator(outputs: Array, y: Array) -> Estimator:
    """outputs (N, labels), y (N, labels) of 0 and 1."""
    if outputs.shape != y.shape or outputs.ndim != 2:
        raise DataError(f"outputs {outputs.shape} and y {y.shape} must both be (N, labels)")
    flat_rows(outputs)
    if not np.isin(y, (0, 1)).all():
        raise DataError("the labels of a multi-label task are 0 or 1 each")
    said, truth = outputs >= _THRESHOLD, y > 0
    hits, total = ((2 * (said & truth)).sum(axis=1), said.sum(axis=1) + truth.sum(axis=1))
    hits, total = hits.astype(np.float64), total.astype(np.float64)
    if not total.any():
        raise DataError("micro_f1 is undefined: no label is set, neither in the truth nor in the outputs")
    return Estimator("micro_f1", lambda weights: _ratio(weights @ hits, weights @ total), len(y))


def auc_estimator(outputs: Array, y: Array) -> Estimator:
    """outputs (N,), (N, 1) or (N, 2) with labels 0 and 1, or (N, classes) for the mean of one-versus-rest; y (N,)."""
    scores = flat_rows(outputs)
    classes = max(scores.shape[1], 2)
    truth = class_labels(scores, y, classes)
    labels = [1] if classes == 2 else range(classes)
    areas = [_Area.of(scores[:, -1] if classes == 2 else scores[:, label], truth == label) for label in labels]
    known = [area for area in areas if len(area.positives) and len(area.positives) < len(truth)]
    if not known:
        raise DataError("auc is undefined on this data: it needs samples of more than one class")

    def statistic(weights: Weights) -> npt.NDArray[np.float64]:
        total, defined = np.zeros(len(weights)), np.zeros(len(weights))
        for area in known:
            values = area.weighted(weights)
            there = np.isfinite(values)
            total += np.where(there, values, 0)
            defined += there
        return _ratio(total, defined)

    return Estimator("auc", statistic, len(truth), strata=truth, method="stratified bootstrap")


class _Area:
    """The area under one ROC curve by ranks (Mann and Whitney 1947), ties counting half, under any weights.

    With S the running weight in order of score and a tied run from a to b, a positive of weight w beats or ties
    ``w (S[a] + S[b]) / 2`` of all weight; the positives among those are half the square of their weight in all.
    """

    def __init__(self, order: Array, positives: Array, begin: Array, end: Array) -> None:
        self.order, self.positives, self.begin, self.end = order, positives, begin, end

    @classmethod
    def of(cls, scores: Array, positive: Array) -> "_Area":
        order = np.argsort(scores, kind="stable")
        ranked, positives = scores[order], np.flatnonzero(positive)
        begin = np.searchsorted(ranked, scores[positives], "left")
        return cls(order, positives, begin, np.searchsorted(ranked, scores[positives], "right"))

    def weighted(self, weights: Weights) -> npt.NDArray[np.float64]:
        running = np.zeros((len(weights), len(self.order) + 1))
        np.cumsum(weights[:, self.order], axis=1, out=running[:, 1:])
        own = weights[:, self.positives]
        above = own.sum(axis=1)
        beaten = np.einsum("bp,bp->b", own, running[:, self.begin] + running[:, self.end])
        return _ratio(beaten - above**2, 2 * above * (running[:, -1] - above))


def _by_class(weights: Weights, labels: Array, classes: int) -> npt.NDArray[np.float64]:
    """Weight per class: (B, N) and (N,) -> (B, classes)."""
    at = labels + np.arange(len(weights))[:, None] * classes
    sums = np.bincount(at.ravel(), weights.ravel(), len(weights) * classes).astype(np.float64, copy=False)
    return sums.reshape(len(weights), classes)


def _ratio(above: Array, below: Array) -> npt.NDArray[np.float64]:
    """NaN where the denominator is zero."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)

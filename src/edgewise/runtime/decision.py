"""What the deciding output of a model says: the class of each row of a classifier, the objects that a detector found.

A classifier decides in one of three forms, told apart by the output itself. Scores (N, classes): the largest wins. One score
(N,) or (N, 1): the probability of class 1, which wins from one half on. Whole numbers of 32 or 64 bits: class indices, one for
each row, or (N, k) with the best first. Integers of 8 and 16 bits are quantized scores.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgewise.records import dataclass
from edgewise.runtime.engine import Array

__all__ = ["Detection", "are_indices", "class_name", "read_detections", "top_scores", "winners"]

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: corners x1, y1, x2, y2 in the model's own coordinates."""

    label: str
    score: float
    box: tuple[float, float, float, float]

    def to_json(self) -> dict[str, Any]:
        return {"label": self.label, "score": self.score, "box": list(self.box)}


def are_indices(values: Array) -> bool:
    """Whether these are class indices and not scores."""
    return values.dtype.kind in "iu" and values.dtype.itemsize >= 4


def winners(values: Array) -> Array:
    """The class of each row, (N,) int64, from an output with the batch axis first."""
    if are_indices(values):
        return (values if values.ndim == 1 else values.reshape(len(values), -1)[:, 0]).astype(np.int64)
    rows = values.reshape(len(values), -1)
    if rows.shape[1] == 1 and rows.dtype.kind == "f":
        return (rows[:, 0] >= _HALF).astype(np.int64)
    return rows.argmax(axis=1)


def top_scores(values: Array, beside: Iterable[Array] = ()) -> Array:
    """The score of each row's winner, (N,); for one score, that of the class that wins.

    beside: the model's other outputs, among which the scores of class indices are looked for: values in the same order, or one
    for each class. NaN where none fits, or more than one does.
    """
    if are_indices(values):
        found = [scores for other in beside if (scores := _scores_of(values, other)) is not None]
        return found[0] if len(found) == 1 else np.full(len(values), np.nan)
    rows = values.reshape(len(values), -1)
    if rows.shape[1] == 1 and rows.dtype.kind == "f":
        return np.where(rows[:, 0] >= _HALF, rows[:, 0], 1 - rows[:, 0])
    return rows.max(axis=1)


def _scores_of(indices: Array, other: Array) -> Array | None:
    if other.dtype.kind != "f" or not other.ndim or len(other) != len(indices):
        return None
    if other.shape == indices.shape:
        return other.reshape(len(other), -1)[:, 0]
    chosen = winners(indices)
    if other.ndim == 2 and chosen.min() >= 0 and chosen.max() < other.shape[1]:
        return np.asarray(other[np.arange(len(other)), chosen])
    return None


def class_name(labels: tuple[str, ...], index: int) -> str:
    """The label of a class, or its number where labels do not reach."""
    return labels[index] if 0 <= index < len(labels) else str(index)


def read_detections(rows: Array, labels: tuple[str, ...]) -> list[Detection]:
    """Rows x1, y1, x2, y2, score, class of one image (k, 6) as objects; rows with a negative class are padding."""
    return [
        Detection(class_name(labels, int(row[5])), float(row[4]), (float(row[0]), float(row[1]), float(row[2]), float(row[3])))
        for row in rows
        if row[5] >= 0
    ]  # fmt: skip

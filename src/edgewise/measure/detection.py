"""Mean average precision of detections at an overlap of one half.

Average precision is the area under the interpolated precision-recall curve over all recall points (PASCAL VOC 2010 development
kit; COCO uses 101 of them). Matching is greedy by score; a second box on the same object is a false alarm.
"""

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.intervals import Indices, bootstrap
from edgewise.measure.metric import Metric
from edgewise.runtime.engine import Array

__all__ = ["average_precision", "mean_average_precision", "overlaps"]

_OVERLAP = 0.5


def overlaps(a: Array, b: Array) -> Array:
    """Intersection over union of boxes x1, y1, x2, y2: (n, 4) and (m, 4) -> (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = (np.prod(np.clip(boxes[:, 2:4] - boxes[:, :2], 0, None), axis=1) for boxes in (a, b))
    union = area_a[:, None] + area_b[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared, dtype=float), where=union > 0)


def mean_average_precision(outputs: Array, y: Array, group: Array | None = None) -> Metric:
    """mAP at 0.5 with an interval over resampled images.

    outputs: (N, detections, 6) rows x1, y1, x2, y2, score, class; y: (N, objects, 5) rows x1, y1, x2, y2, class. Rows with a
    negative class are padding.
    """
    if outputs.ndim != 3 or y.ndim != 3 or outputs.shape[2] != 6 or y.shape[2] != 5 or len(outputs) != len(y):
        raise DataError(f"detections (N, k, 6) and objects (N, m, 5) are needed, not {outputs.shape} and {y.shape}")
    classes = [int(label) for label in np.unique(y[..., 4]) if label >= 0]
    if not classes:
        raise DataError("there is no object in the data, so there is nothing to find")
    # Matching does not depend on the other images: done once, then only the curve is made anew for each resample.
    matched = [[_match(outputs[at], y[at], label) for label in classes] for at in range(len(y))]

    def statistic(indices: Indices) -> float:
        values = []
        for position in range(len(classes)):
            parts = [matched[at][position] for at in indices]
            objects = sum(part[2] for part in parts)
            if objects:
                values.append(average_precision(_joined(parts, 0), _joined(parts, 1).astype(bool), objects))
        return float(np.mean(values)) if values else float("nan")

    value = statistic(np.arange(len(y)))
    low, high = bootstrap(statistic, len(y), group=group, count=200)
    return Metric("map50", value, min(low, value), max(high, value), len(y), "bootstrap over images")


def average_precision(scores: Array, hits: Array, objects: int) -> float:
    """Area under the interpolated precision-recall curve; scores (n,), hits (n,) of bool."""
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(hits[order])
    recall = found / objects
    precision = found / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _match(found: Array, truth: Array, label: int) -> tuple[Array, Array, int]:
    """Scores and hits of one image's detections of one class, and how many objects there are."""
    boxes = found[found[:, 5] == label]
    objects = truth[truth[:, 4] == label]
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    hits = np.zeros(len(boxes), bool)
    if len(boxes) and len(objects):
        shared = overlaps(boxes[:, :4], objects[:, :4])
        free = np.ones(len(objects), bool)
        for at, row in enumerate(shared):
            best = int(np.argmax(row))
            if row[best] >= _OVERLAP and free[best]:
                hits[at], free[best] = True, False
    return boxes[:, 4], hits, len(objects)


def _joined(parts: list[tuple[Array, Array, int]], column: int) -> Array:
    return np.concatenate([part[column] for part in parts])

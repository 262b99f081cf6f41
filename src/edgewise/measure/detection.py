"""Mean average precision of detections at an overlap of one half.

Average precision is the area under the interpolated precision-recall curve over all recall points (PASCAL VOC 2010 development
kit; COCO uses 101 of them). Matching is greedy by score; a second box on the same object is a false alarm.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgewise.errors import DataError
from edgewise.measure.estimator import Estimator
from edgewise.measure.resampling import Weights
from edgewise.measure.rows import check_finite
from edgewise.runtime.engine import Array
from edgewise.runtime.overlaps import overlaps

__all__ = ["average_precision", "map50_estimator", "overlaps"]

_OVERLAP = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Detections of one class in all images, best score first. image (D,), hit (D,) of 0/1; objects (N,) per image."""

    image: Array
    hit: Array
    objects: Array


def map50_estimator(outputs: Array, y: Array) -> Estimator:
    """mAP at 0.5; resamples are of images.

    outputs: (N, detections, 6) rows x1, y1, x2, y2, score, class; y: (N, objects, 5) rows x1, y1, x2, y2, class. Rows with a
    negative class are padding. Classes without an object are left out, in each resample anew.
    """
    _check(outputs, y)
    classes = [int(label) for label in np.unique(y[..., 4]) if label >= 0]
    if not classes:
        raise DataError("there is no object in the data, so there is nothing to find")
    # Matching does not depend on the other images: done once, then only the curve is made anew for each resample.
    found = [_find(outputs, y, label) for label in classes]

    def statistic(weights: Weights) -> npt.NDArray[np.float64]:
        total, there = np.zeros(len(weights)), np.zeros(len(weights))
        for one in found:
            objects = weights @ one.objects
            drawn = weights[:, one.image]
            area = _area(drawn * one.hit, drawn, np.maximum(objects, 1))
            total += np.where(objects > 0, area, 0)
            there += objects > 0
        return np.divide(total, there, out=np.full(len(weights), np.nan), where=there > 0)

    width = max(len(one.image) for one in found)
    return Estimator("map50", statistic, len(y), width=width, method="bootstrap over images")


def average_precision(scores: Array, hits: Array, objects: int) -> float:
    """Area under the interpolated precision-recall curve; scores (n,), hits (n,) of bool."""
    order = np.argsort(-scores, kind="stable")
    return float(_area(hits[order][None].astype(np.float64), np.ones((1, len(order))), np.array([float(objects)]))[0])


def _area(hits: Weights, drawn: Weights, objects: Weights) -> npt.NDArray[np.float64]:
    """Weighted hits (B, D) and weights (B, D), best score first; objects (B,) -> areas (B,)."""
    seen = np.cumsum(drawn, axis=1)
    precision = np.divide(np.cumsum(hits, axis=1), seen, out=np.zeros_like(seen), where=seen > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.einsum("bd,bd->b", hits, envelope) / objects


def _find(outputs: Array, y: Array, label: int) -> _Found:
    parts = [_match(outputs[at], y[at], label) for at in range(len(y))]
    scores = np.concatenate([part[0] for part in parts])
    image = np.repeat(np.arange(len(y)), [len(part[0]) for part in parts])
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate([part[1] for part in parts])
    return _Found(image[order], hits[order].astype(np.float64), np.array([float(part[2]) for part in parts]))


def _match(found: Array, truth: Array, label: int) -> tuple[Array, Array, int]:
    """Scores and hits of one image's detections of one class, and how many objects there are."""
    boxes = found[found[:, 5] == label].astype(np.float64)
    objects = truth[truth[:, 4] == label].astype(np.float64)
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


def _check(outputs: Array, y: Array) -> None:
    if outputs.ndim != 3 or y.ndim != 3 or outputs.shape[2] != 6 or y.shape[2] != 5 or len(outputs) != len(y):
        raise DataError(f"detections (N, k, 6) and objects (N, m, 5) are needed, not {outputs.shape} and {y.shape}")
    check_finite(outputs, "the detections")
    check_finite(y, "the objects")
    objects = y[y[..., 4] >= 0]
    if (objects[:, 4] % 1).any():
        raise DataError("an object's class is a whole number")
    if (objects[:, 2] <= objects[:, 0]).any() or (objects[:, 3] <= objects[:, 1]).any():
        raise DataError("an object's box is empty; boxes are corners x1, y1, x2, y2, not a corner and a size")

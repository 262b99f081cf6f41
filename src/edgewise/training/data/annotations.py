"""What is wrong with labels of pixels and with boxes around objects, each with the rows that have it."""

from collections.abc import Iterable

import numpy as np

from edgewise.measure.dataset import Dataset, rows_by_number
from edgewise.measure.npz import Array

__all__ = ["box_problems", "pixel_problems"]

_SHOWN = 10  # classes in one message
_COLOURS = {1, 3, 4}
_OUTSIDE = 1.0  # pixels that rounding may put a box beyond the edge


def pixel_problems(train: Dataset, evaluation: Dataset | None = None) -> list[str]:
    """Faults of ``y`` as labels of pixels, (N, H, W) whole numbers counted from 0 without gaps."""
    problems = [*_pixels(train, "training data"), *(_pixels(evaluation, "evaluation data") if evaluation else ())]
    if problems:
        return problems
    known = np.unique(train.y)
    classes = len(train.labels) or int(known.max()) + 1
    return [*_gaps(known, classes, "pixels"), *(_beyond(evaluation.y, known) if evaluation else ())]


def box_problems(train: Dataset, evaluation: Dataset | None = None) -> list[str]:
    """Faults of ``y`` as objects, (N, objects, 5) rows x1, y1, x2, y2 in pixels, class; a negative class is padding."""
    problems = [*_boxes(train, "training data"), *(_boxes(evaluation, "evaluation data") if evaluation else ())]
    if problems:
        return problems
    known = np.unique(train.y[..., 4][train.y[..., 4] >= 0]).astype(np.int64)
    if not len(known):
        return ["training data: there is no object in any of the pictures"]
    classes = len(train.labels) or int(known.max()) + 1
    return [*_gaps(known, classes, "objects"), *(_beyond(evaluation.y[..., 4], known) if evaluation else ())]


def _pixels(data: Dataset, what: str) -> Iterable[str]:
    y = data.y
    if y.ndim != 3 or y.dtype.kind not in "iub":
        yield f"{what}: y is {y.dtype} {y.shape}, and whole numbers (N, H, W), one for each pixel, are needed"
        return
    if y.shape[1:] != _sides(data.x.shape[1:]):
        yield f"{what}: y labels pictures of {_by(y.shape[1:])}, and they are {_by(data.x.shape[1:])}"
    if len(rows := _rows(y < 0)):
        yield f"{what}: labels of pixels are below 0 in {rows_by_number(rows)}"


def _boxes(data: Dataset, what: str) -> Iterable[str]:
    y = data.y
    if y.ndim != 3 or y.shape[2] != 5 or y.dtype.kind not in "iuf":
        yield f"{what}: y is {y.dtype} {y.shape}, and objects (N, objects, 5), rows x1, y1, x2, y2, class, are needed"
        return
    there, corners = y[..., 4] >= 0, y[..., :4]
    height, width = _sides(data.x.shape[1:])
    if there.any() and corners[there].max() <= 1 < min(height, width):
        yield f"{what}: boxes are shares of the picture (0..1), and pixels are needed"
        return
    far = np.array([width, height, width, height]) + _OUTSIDE
    if len(rows := _rows(there & ((corners < -_OUTSIDE) | (corners > far)).any(axis=2))):
        yield f"{what}: boxes go beyond the {width} x {height} pixels of the picture in {rows_by_number(rows)}"
    if len(rows := _rows(there & ((y[..., 0] >= y[..., 2]) | (y[..., 1] >= y[..., 3])))):
        yield f"{what}: boxes have no area (x1 < x2 and y1 < y2 are needed) in {rows_by_number(rows)}"
    if len(rows := _rows(there & (y[..., 4] % 1 != 0))):
        yield f"{what}: classes of objects are no whole numbers in {rows_by_number(rows)}"


def _gaps(known: Array, classes: int, of: str) -> Iterable[str]:
    missing = classes - len(known[known < classes])
    if missing:
        first = np.setdiff1d(np.arange(min(classes, len(known) + _SHOWN)), known)[:_SHOWN]
        more = f" and {missing - len(first)} more" if missing > len(first) else ""
        yield (
            f"training data: no {of} are of class {', '.join(map(str, first))}{more}, and classes are counted from 0 to "
            f"{classes - 1} without gaps"
        )
    if len(above := known[known >= classes]):
        yield f"training data: {of} are of class {', '.join(map(str, above[:_SHOWN]))}, and there are {classes}"


def _beyond(y: Array, known: Array) -> Iterable[str]:
    if len(rows := _rows((y >= 0) & ~np.isin(y, known))):
        yield f"evaluation data: there are classes that are not in the training data in {rows_by_number(rows)}"


def _rows(wrong: Array) -> Array:
    return np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width of a picture with its colours last, first or not there."""
    first = len(shape) == 3 and shape[2] not in _COLOURS and shape[0] in _COLOURS
    sides = shape[1:] if first else shape[:2]
    return sides if len(sides) == 2 else (1, 1)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

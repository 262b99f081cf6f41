"""Rows that upstream answered, put among those of the device: one set of outputs, in the form that the device's own have."""

from collections.abc import Mapping

import numpy as np

from edgewise.errors import PeerError
from edgewise.runtime.decision import are_indices, winners
from edgewise.runtime.engine import Array

__all__ = ["fill"]

_PADDING = -1.0  # class of a row of detections that stands for nothing


def fill(
    ours: Mapping[str, Array], rows: Array, theirs: Mapping[str, Array], decision: str, task: str
) -> dict[str, Array]:
    """ours: (N, ...) each. rows: (n,) which of them ``theirs`` (n, ...) answer. Outputs that upstream lacks stay the device's own.

    ``theirs`` may decide in another form than ours where the classes are the same: scores in place of indices, and so on.
    Raises PeerError where what upstream says does not fit.
    """
    if decision not in theirs:
        raise PeerError("upstream's answer lacks the output that decides", output=decision)
    merged = dict(ours)
    for name, array in theirs.items():
        if name not in ours:
            continue
        if len(array) != len(rows):
            raise PeerError(f"upstream answers {len(array)} rows to {len(rows)}")
        if name == decision:
            merged[name] = _decided(ours[name], rows, array, task)
        elif ours[name].ndim and len(ours[name]) == len(ours[decision]) and ours[name].shape[1:] == array.shape[1:]:
            merged[name] = _put(ours[name], rows, array)
    return merged


def _decided(ours: Array, rows: Array, theirs: Array, task: str) -> Array:
    if task == "detection" and theirs.ndim == 3 and theirs.shape[2:] == ours.shape[2:]:
        most = max(ours.shape[1], theirs.shape[1])
        return _put(_padded(ours, most), rows, _padded(theirs, most))
    if task == "classification" and (ours.shape[1:] != theirs.shape[1:] or are_indices(ours) != are_indices(theirs)):
        theirs = _in_form_of(ours, theirs)
    if ours.shape[1:] != theirs.shape[1:] or ours.dtype.kind in "OUS" or theirs.dtype.kind in "OUS":
        if ours.dtype.kind in "OUS" and theirs.dtype.kind in "OUS" and ours.shape[1:] == theirs.shape[1:]:
            return _put(ours.astype(object), rows, theirs.astype(object))
        raise PeerError(
            f"upstream answers {list(theirs.shape[1:])} {theirs.dtype}, and {list(ours.shape[1:])} is needed"
        )
    return _put(ours, rows, theirs)


def _in_form_of(ours: Array, theirs: Array) -> Array:
    """The same classes in the form that ours are told in: as indices, as the probability of class 1, as a score for each."""
    chosen = winners(theirs)
    if are_indices(ours):
        return chosen.astype(ours.dtype).reshape(-1, *[1] * (ours.ndim - 1))
    classes = int(np.prod(ours.shape[1:])) if ours.ndim > 1 else 1
    if chosen.min(initial=0) < 0 or chosen.max(initial=0) >= max(classes, 2):
        raise PeerError(f"upstream answers class {int(chosen.max())}, and there are {max(classes, 2)}")
    if classes == 1:
        return chosen.astype(np.float32).reshape(len(chosen), *ours.shape[1:])
    if theirs.size == len(chosen) * classes:
        return theirs.reshape(len(chosen), *ours.shape[1:])
    return np.eye(classes, dtype=np.float32)[chosen].reshape(len(chosen), *ours.shape[1:])


def _padded(boxes: Array, most: int) -> Array:
    short = most - boxes.shape[1]
    if not short:
        return boxes
    rest = np.zeros((len(boxes), short, *boxes.shape[2:]), boxes.dtype)
    rest[..., -1] = _PADDING
    return np.concatenate([boxes, rest], axis=1)


def _put(ours: Array, rows: Array, theirs: Array) -> Array:
    merged = ours.copy()
    merged[rows] = theirs.astype(ours.dtype)
    return merged

"""Outputs and truth as rows that fit each other, or DataError that says why they do not."""

import numpy as np

from edgewise.errors import DataError
from edgewise.runtime.decision import are_indices, winners
from edgewise.runtime.engine import Array

__all__ = ["check_finite", "class_labels", "decided", "flat_rows", "one_label_each"]


def flat_rows(outputs: Array) -> Array:
    """outputs (N, ...) as (N, values); numbers, all finite, at least one."""
    if not outputs.ndim or not outputs.size:
        raise DataError("there are no outputs to judge")
    check_finite(outputs, "the model's outputs")
    return outputs.reshape(len(outputs), -1)


def check_finite(values: Array, what: str) -> None:
    """Raises DataError that names ``what`` unless all values are finite real numbers."""
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise DataError(f"{what} are not all finite numbers (dtype {values.dtype})")


def one_label_each(outputs: Array, y: Array) -> None:
    """Raises DataError unless ``y`` is (N,) for outputs (N, ...)."""
    if not len(y) or len(outputs) != len(y) or y.ndim != 1:
        raise DataError(
            f"there are {len(outputs)} outputs for labels of shape {y.shape}; one label per output is needed"
        )


def decided(outputs: Array, y: Array) -> tuple[Array, Array, int]:
    """What a classifier's outputs say and what is true, (N,) class indices each, and how many classes there are.

    Raises DataError where the truth names a class that the model has not, and for a single score that is no probability.
    """
    rows = flat_rows(outputs)
    said = winners(outputs)
    if are_indices(outputs):
        if said.min() < 0:
            raise DataError(f"the model answers with the class {said.min()}; classes count from 0")
        known = int(max(said.max(), y.max() if y.size and y.dtype.kind in "iub" else 0)) + 1
        return said, class_labels(outputs, y, known), known
    if rows.shape[1] == 1 and (rows.dtype.kind != "f" or rows.min() < 0 or rows.max() > 1):
        raise DataError(
            f"a classifier with one output gives the probability of class 1; this one gives {rows.min():g}..{rows.max():g}",
            remedy="Put a sigmoid behind it: edgewise pack ... --after sigmoid.",
        )
    classes = max(rows.shape[1], 2)
    return said, class_labels(outputs, y, classes), classes


def class_labels(outputs: Array, y: Array, classes: int) -> Array:
    """``y`` (N,) as integers within 0..classes-1."""
    one_label_each(outputs, y)
    if y.dtype.kind not in "iub":
        raise DataError(f"labels are {y.dtype}; whole numbers, the positions of the classes, are needed")
    if y.min() < 0 or y.max() >= classes:
        raise DataError(f"labels are in {y.min()}..{y.max()}; the model has classes 0..{classes - 1}")
    return y.astype(np.int64)

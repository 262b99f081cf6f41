"""How well the pixels of images are labelled."""

import numpy as np
import numpy.typing as npt

from edgewise.errors import DataError
from edgewise.measure.estimator import Estimator
from edgewise.measure.resampling import Weights
from edgewise.measure.rows import check_finite
from edgewise.runtime.engine import Array

__all__ = ["mean_iou_estimator"]


def mean_iou_estimator(outputs: Array, y: Array) -> Estimator:
    """Mean over classes of intersection over union, all images together; resamples are of images.

    outputs: scores (N, classes, H, W); y: labels (N, H, W), negative where a pixel does not count. Classes that are neither
    there nor found are left out, in each resample anew.
    """
    if outputs.ndim != 4 or y.shape != (len(outputs), *outputs.shape[2:]) or y.dtype.kind not in "iub":
        raise DataError(f"scores (N, classes, H, W) and labels (N, H, W) are needed, not {outputs.shape} and {y.shape}")
    check_finite(outputs, "the model's outputs")
    classes = outputs.shape[1]
    if y.max(initial=0) >= classes:
        raise DataError(f"labels go to {y.max()}; the model has classes 0..{classes - 1}")
    said, counted = outputs.argmax(axis=1), y >= 0
    both = np.zeros((len(y), classes))
    either = np.zeros((len(y), classes))
    for label in range(classes):
        there, found = (y == label) & counted, (said == label) & counted
        both[:, label] = (there & found).reshape(len(y), -1).sum(axis=1)
        either[:, label] = (there | found).reshape(len(y), -1).sum(axis=1)
    if not either.any():
        raise DataError("mean_iou is undefined: no pixel counts")

    def statistic(weights: Weights) -> npt.NDArray[np.float64]:
        union = weights @ either
        shares = np.divide(weights @ both, union, out=np.full_like(union, np.nan), where=union > 0)
        return np.nanmean(shares, axis=1)

    return Estimator("mean_iou", statistic, len(y), width=classes)

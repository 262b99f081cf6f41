"""Fitting the rule for detectors: what a likely miss costs, and what an image without a box is worth.

Chosen from a small grid by the area under the curve of what is lost as ever more is kept (Geifman and El-Yaniv 2017, arXiv
1705.08500), the simplest first: a rule that is good at every threshold, before one is chosen.
"""

import numpy as np

from edgewise.errors import DataError
from edgewise.routing.losses.boxes import Boxes
from edgewise.routing.rules.boxes import BoxConfidence
from edgewise.routing.rules.samples import Samples
from edgewise.routing.rules.source import Source
from edgewise.runtime.engine import Array

__all__ = ["area_lost", "fit_boxes"]

_MISSED = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_NEAR = (0.25, 0.5, 0.75)  # of the cut
_QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_LEAST_EMPTY = 20  # images without a box, before their worth is a matter of data


def fit_boxes(_: str, samples: Samples) -> BoxConfidence:
    """``box-confidence``. What each image would lose is in ``samples.lost``, or follows from the objects of upstream or the truth
    in ``samples.y``. With neither, nothing near the cut counts, and an empty image is worth nothing.
    """
    boxes = samples.outputs[samples.decision]
    if boxes.ndim != 3 or boxes.shape[2] != 6:
        raise DataError(f"detections are (N, k, 6), not {boxes.shape}")
    source, cut = Source(samples.decision, "values"), samples.hints.cut or 0.0
    best, lost = BoxConfidence(source, cut, cut), samples.lost
    if lost is None and samples.y is not None:
        lost = Boxes(cut=cut).disagree(boxes, samples.y)
    if lost is None:
        return best
    if lost.shape != (len(boxes),):
        raise DataError(f"what is lost is one number for each image, not {lost.shape}")
    outputs, loss = samples.outputs, lost.astype(np.float64)
    least = best.scores(outputs)
    empty = ~(best.boxes(outputs) >= 0).any(axis=1).astype(bool)
    worth = np.quantile(least[~empty], _QUANTILES).tolist() if _LEAST_EMPTY <= empty.sum() < len(empty) else []
    tried = [
        BoxConfidence(source, cut, share * cut, missed, value)
        for missed in (_MISSED if cut else _MISSED[:1])
        for share in (_NEAR if missed else (1.0,))
        for value in (0.0, *worth)
    ]
    areas = [area_lost(rule.scores(outputs), loss) for rule in tried]
    return tried[int(np.argmin(np.round(areas, 12)))]


def area_lost(score: Array, loss: Array) -> float:
    """What is lost over all samples, averaged over every share of them that could be kept, the surest first; 0 is best.

    score, loss: (N,). Samples of one score are kept together: between two shares, straight.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.append(np.flatnonzero(ranked[1:] < ranked[:-1]) + 1, len(score))
    kept = np.append(0, ends) / len(score)
    lost = np.append(0.0, np.cumsum(loss[order])[ends - 1]) / len(score)
    return float(np.trapezoid(lost, kept))

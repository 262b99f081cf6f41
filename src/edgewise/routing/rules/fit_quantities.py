"""Fitting the rules for numbers: intervals that hold what they say, distances that count alike on both sides."""

import numpy as np

from edgewise.errors import DataError
from edgewise.routing.rules.curve import Curve
from edgewise.routing.rules.quantities import IntervalWidth, ResidualScale, ThresholdDistance
from edgewise.routing.rules.samples import Samples
from edgewise.routing.rules.source import NeedyRule, Source
from edgewise.runtime.engine import Array

__all__ = ["fit_quantity"]

_BINS = 16
_IN_A_BIN = 20  # samples, or a mean says little
_SMALLEST = 1e-12


def fit_quantity(name: str, samples: Samples) -> NeedyRule:
    """``threshold-distance``, ``residual-scale`` or ``interval-width``."""
    if name == "interval-width":
        return _interval(samples)
    source = Source(samples.decision, "values", *samples.scale)
    rows = source.rows(samples.outputs)
    if rows.shape[1] != 1 or not np.isfinite(rows).all():
        raise DataError(f"{name} is for one finite number a sample, not {rows.shape[1]}, or one that is not finite")
    return (
        _residual(source, rows[:, 0], samples) if name == "residual-scale" else _distance(source, rows[:, 0], samples)
    )


def _distance(source: Source, score: Array, samples: Samples) -> ThresholdDistance:
    cut = samples.hints.cut
    if cut is None:
        raise DataError("the score from which a sample counts as an anomaly (cut) is missing")
    away = score - cut
    sides = [float(side.mean()) if len(side) else 0.0 for side in (away[away >= 0], -away[away < 0])]
    usual = max(sides) or 1.0
    # A side that is empty, or lies on the cut itself, has no distance of its own.
    above, below = (side if side > _SMALLEST * usual else usual for side in sides)
    return ThresholdDistance(source, cut, above, below)


def _residual(source: Source, prediction: Array, samples: Samples) -> ResidualScale:
    """How far off is learnt on every other sample, how many of those an interval takes on the others: neither flatters itself."""
    off = np.abs(samples.values() - prediction)
    order = np.argsort(prediction, kind="stable")
    first, second = order[::2], order[1::2]
    if len(second) < _IN_A_BIN:
        raise DataError(f"{len(off)} samples are too few for how far predictions are off: {2 * _IN_A_BIN} are needed")
    parts = np.array_split(first, min(_BINS, max(1, len(first) // _IN_A_BIN)))
    at = np.array([prediction[part].mean() for part in parts])
    value = np.array([off[part].mean() for part in parts])
    value = np.maximum(value, max(_SMALLEST, 1e-3 * value.mean()))
    distinct = np.append(at[1:] > at[:-1], True)
    scale = Curve(tuple(at[distinct].tolist()), tuple(value[distinct].tolist()))
    factor = _quantile(off[second] / scale.many(prediction[second]), samples.hints.coverage)
    return ResidualScale(source, scale, factor)


def _interval(samples: Samples) -> IntervalWidth:
    hints = samples.hints
    ends = (hints.lower, hints.upper)
    if hints.lower is None or hints.upper is None or any(end is None or end[0] not in samples.outputs for end in ends):
        raise DataError(
            "which outputs have the two ends of the interval is not said",
            remedy=f"Name them, and their columns; the model has {', '.join(samples.outputs)}.",
        )
    lower, upper = (
        Source(name, "values", *(samples.scale if name == samples.decision else (1.0, 0)))
        for name in (hints.lower[0], hints.upper[0])
    )
    columns = [None if column < 0 else column for column in (hints.lower[1], hints.upper[1])]
    rule = IntervalWidth(lower, upper, columns[0], columns[1])
    low, high = rule.ends(samples.outputs)
    if low.shape != high.shape or not low.shape[1]:
        raise DataError(f"the ends of an interval have {low.shape[1]} and {high.shape[1]} values")
    if samples.y is None:
        return rule
    if low.shape[1] != 1:
        raise DataError(
            "intervals are made honest for one number a sample; leave the values out to use them as they are"
        )
    y = samples.values()
    margin = _quantile(np.maximum(low[:, 0] - y, y - high[:, 0]), hints.coverage)
    return IntervalWidth(lower, upper, columns[0], columns[1], margin)


def _quantile(score: Array, coverage: float) -> float:
    """The conformal quantile: the ceil((n + 1) * coverage)-th least, or the largest where there are too few samples."""
    rank = min(len(score), int(np.ceil((len(score) + 1) * coverage)))
    return float(np.sort(score)[rank - 1])

"""What comes out of a way to run, on the samples of the promise: points, the curve between, and how many samples are missing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.measure.npz import Array
from edgewise.routing.fitting.types import Curve, Point
from edgewise.routing.risk import Promise, oracle_offload

__all__ = ["NEAR", "Part", "curve_of", "enough_to_be_near", "point_of", "sample_weights", "tuned"]

#: How many times the oracle's offload is near it.
NEAR = 1.3
_NEAR_AT_ALL = 0.005  # of offload: half a point is near an oracle that passes nothing on
_POINTS = 400  # of a curve: more than a picture has columns
_MOST = 6  # doublings of the samples that are thought of: nobody records a hundred times as many


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one variant answers. kept: (N,) of bool, of samples that no variant before it kept. loss: (N,). right: (N,) or None."""

    kept: Array
    loss: Array
    right: Array | None = None


def sample_weights(samples: int, block: Array | None) -> Array:
    """(N,) how much each sample counts, adding up to one: blocks count alike, whatever their size."""
    if block is None:
        return np.full(samples, 1 / samples)
    names, unit = np.unique(block, return_inverse=True)
    found: Array = 1 / (np.bincount(unit)[unit] * len(names))
    return found


def point_of(
    parts: Sequence[Part], upstream_right: Array | None, weight: Array, threshold: float | None = None
) -> Point:
    """Of the variants in turn, and upstream for what none of them keeps."""
    lost, passed = 0.0, np.ones(len(weight), bool)
    right = upstream_right
    for part in parts:
        lost += float((weight * part.loss)[part.kept].sum())
        passed &= ~part.kept
        if right is not None and part.right is not None:
            right = np.where(part.kept, part.right, right)
    accuracy = None if right is None else float(right.mean())
    return Point(float(passed.mean()), lost, accuracy, threshold)


def curve_of(score: Array, loss: Array, right: Array | None, upstream_right: Array | None, weight: Array) -> Curve:
    """Every threshold of one score from the strictest on, at most 400 of them; the first keeps nothing."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.append(np.flatnonzero(ranked[1:] < ranked[:-1]) + 1, len(score))
    if len(ends) > _POINTS:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, _POINTS).astype(int))]
    threshold = np.concatenate([[math.inf], ranked[ends - 1]])
    lost = np.concatenate([[0.0], np.cumsum((weight * loss)[order])[ends - 1]])
    accuracy = None
    if right is not None and upstream_right is not None:
        gained = np.cumsum((right.astype(np.float64) - upstream_right)[order])[ends - 1]
        accuracy = upstream_right.mean() + np.concatenate([[0.0], gained]) / len(score)
    return Curve(threshold, np.concatenate([[1.0], 1 - ends / len(score)]), lost, accuracy)


def tuned(score: Array, loss: Array, epsilon: float, block: Array | None = None) -> float:
    """The laxest threshold at which *these* samples lose at most epsilon; infinity where none does."""
    passed = oracle_offload(score, loss, epsilon, block)
    kept = len(score) - round(passed * len(score))
    return float(np.sort(score)[::-1][kept - 1]) if kept else math.inf


def enough_to_be_near(curve: Curve, promise: Promise, lost: float, oracle: float, units: int) -> int | None:
    """About how many samples (or blocks) bring the offload within 1.3 of ``oracle``'s by this curve: 0 where these do, None where
    none would. lost: what the fit allowed itself at ``units``; its distance from epsilon shrinks with the root of their number.
    """
    aim = max(NEAR * oracle, _NEAR_AT_ALL)
    distance = max(promise.epsilon - lost, 0.0)
    for doublings in range(_MOST * 4):
        factor = 2 ** (doublings / 4)
        allowed = promise.epsilon - distance / math.sqrt(factor)
        if float(curve.offload[curve.lost <= allowed + 1e-12].min(initial=1.0)) <= aim + 1e-12:
            return 0 if doublings == 0 else round(units * factor)
    return None

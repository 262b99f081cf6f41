"""The ways to choose a threshold that the benchmark sets side by side, each from the same calibration samples. Pure."""

from collections.abc import Callable, Mapping
from math import inf, log, sqrt
from statistics import NormalDist

import numpy as np

from edgewise.measure.npz import Array
from edgewise.routing.rejection import harm_limits
from edgewise.routing.risk import Promise, fit_agreement, fit_gap

#: Scores (N,), losses (N,) in ``range``, the promise -> threshold.
Rule = Callable[[Array, Array, Promise], float]
_STEPS = 1200  # thresholds that the product looks at
_FIXED = 0.9  # probability; what is typical where nothing is calibrated


def ours_agreement(score: Array, loss: Array, promise: Promise) -> float:
    """Exact binomial."""
    return fit_agreement(score, loss > 0, promise).threshold


def ours_gap(score: Array, loss: Array, promise: Promise) -> float:
    """Exact trinomial: what ``fit_gap`` does, with its limits, in one cumulative sum; ``checked`` compares the two."""
    order = np.argsort(-score, kind="stable")
    ranked, lost = score[order], loss[order]
    ends = np.append(np.flatnonzero(ranked[1:] < ranked[:-1]), len(score) - 1)
    ends = ends[np.linspace(0, len(ends) - 1, _STEPS).astype(int)] if len(ends) > _STEPS else ends
    limits = harm_limits(len(score), promise.epsilon, promise.delta)
    gains, harms = np.cumsum(lost < 0)[ends], np.cumsum(lost > 0)[ends]
    bad = np.flatnonzero(harms > np.append(limits, -1)[np.minimum(gains, len(limits))])
    passed = int(bad[0]) if len(bad) else len(ends)
    return float(ranked[ends[passed - 1]]) if passed else inf


def checked(score: Array, loss: Array, promise: Promise) -> bool:
    """Whether the quick form comes to the same threshold as the product."""
    return ours_gap(score, loss, promise) == fit_gap(score, loss < 0, loss > 0, promise).threshold


def naive(score: Array, loss: Array, promise: Promise) -> float:
    """The laxest threshold at which the calibration samples lose no more than epsilon."""
    return _laxest(score, loss, lambda mean, _: mean <= promise.epsilon)


def fixed(_score: Array, _loss: Array, _promise: Promise) -> float:
    return _FIXED


def conformal(score: Array, loss: Array, promise: Promise) -> float:
    """Conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814): bounds the mean over draws, says nothing of one draw."""
    count = len(score)
    return _laxest(score, loss, lambda mean, _: (count * mean + 1) / (count + 1) <= promise.epsilon)


def clt(score: Array, loss: Array, promise: Promise) -> float:
    """A normal approximation in place of an exact test, tested in the same sequence."""
    reach = NormalDist().inv_cdf(1 - promise.delta) / sqrt(len(score))
    return _sequence(score, loss, lambda mean, spread: mean + reach * spread <= promise.epsilon)


def hoeffding(score: Array, loss: Array, promise: Promise) -> float:
    """By Hoeffding's inequality alone, in the same sequence; losses of -1 to 1 are twice as wide as those of 0 to 1."""
    reach = (2 if loss.min() < 0 else 1) * sqrt(log(1 / promise.delta) / (2 * len(score)))
    return _sequence(score, loss, lambda mean, _: mean + reach <= promise.epsilon)


#: What is promised -> name -> rule. The first is ours.
RULES: Mapping[str, Mapping[str, Rule]] = {
    "agreement": {
        "exact binomial": ours_agreement, "naive": naive, "conformal risk control": conformal, "CLT": clt,
        "Hoeffding": hoeffding,
    },
    "accuracy": {
        "exact trinomial": ours_gap, "naive": naive, "conformal risk control": conformal, "CLT": clt,
        "Hoeffding": hoeffding,
    },
}  # fmt: skip


#: Needs no calibration: for the largest probability alone.
FIXED: Mapping[str, Rule] = {"fixed 0.9": fixed}


def _means(score: Array, loss: Array) -> tuple[Array, Array, Array]:
    """For each threshold, the strictest first: itself, the mean of what is lost there, and its standard deviation."""
    order = np.argsort(-score, kind="stable")
    ranked, lost = score[order], loss[order].astype(np.float64)
    ends = np.append(np.flatnonzero(ranked[1:] < ranked[:-1]), len(score) - 1)
    mean = np.cumsum(lost)[ends] / len(score)
    square = np.cumsum(np.square(lost))[ends] / len(score)
    return ranked[ends], mean, np.sqrt(np.maximum(square - np.square(mean), 0))


def _laxest(score: Array, loss: Array, holds: Callable[[Array, Array], Array]) -> float:
    thresholds, mean, spread = _means(score, loss)
    good = np.flatnonzero(holds(mean, spread))
    return float(thresholds[good[-1]]) if len(good) else inf


def _sequence(score: Array, loss: Array, holds: Callable[[Array, Array], Array]) -> float:
    thresholds, mean, spread = _means(score, loss)
    bad = np.flatnonzero(~holds(mean, spread))
    passed = int(bad[0]) if len(bad) else len(thresholds)
    return float(thresholds[passed - 1]) if passed else inf

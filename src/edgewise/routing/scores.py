"""How sure a device is of an answer: one number a sample, the higher the surer. Pure.

None of these is a probability of being right, and none has to be: a promise (``risk``) holds whatever the score, which only
decides what it costs. Sources: maximum probability, Hendrycks and Gimpel 2017 (arXiv 1610.02136); margin, Scheffer et al.
2001; energy, Liu et al. 2020 (arXiv 2010.03759); temperature, Guo et al. 2017 (arXiv 1706.04599).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from edgewise.errors import DataError
from edgewise.runtime.engine import Array

__all__ = [
    "RULES", "energy", "entropy", "fit_temperature", "fit_vector", "margin", "max_probability", "multilabel", "nothing_found",
]  # fmt: skip

_GOLDEN = (5**0.5 - 1) / 2
_RANGE = (-3.0, 4.0)  # of the temperature's natural logarithm: one twentieth to fifty-five
_STEPS = 32  # each leaves 0.62 of the range: a millionth
_LEAST = np.log(1e-12)  # of a probability's logarithm, where it is fitted: one sample does not decide all
_MEMORY = 10  # steps that a fit remembers of its curvature: Nocedal and Wright 2006, section 7.2
_MOST_STEPS = 200
_FLAT = 1e-6  # of the slope of a mean negative log-likelihood, in nats


def max_probability(scores: Array, temperature: float = 1.0) -> Array:
    """(N,) largest softmax probability of class scores (N, classes)."""
    found: Array = np.exp(_log_softmax(scores, temperature)).max(axis=1)
    return found


def margin(scores: Array, temperature: float = 1.0) -> Array:
    """(N,) largest probability less the second largest."""
    ranked = np.sort(np.exp(_log_softmax(scores, temperature)), axis=1)
    found: Array = ranked[:, -1] - ranked[:, -2]
    return found


def entropy(scores: Array, temperature: float = 1.0) -> Array:
    """(N,) entropy of the probabilities, negative so that the surer is higher; nats."""
    logs = _log_softmax(scores, temperature)
    found: Array = (np.exp(logs) * logs).sum(axis=1)
    return found


def energy(scores: Array, temperature: float = 1.0) -> Array:
    """(N,) T log sum exp(scores / T): low for what is like nothing that was learnt. Of scores before softmax alone."""
    _check(scores)
    scaled = scores.astype(np.float64) / temperature
    largest = scaled.max(axis=1)
    found: Array = temperature * (largest + np.log(np.exp(scaled - largest[:, None]).sum(axis=1)))
    return found


def multilabel(scores: Array) -> Array:
    """(N,) probability of the least sure of a sample's labels; scores (N, labels) before the sigmoid."""
    _check(scores, least=1)
    found: Array = (1 / (1 + np.exp(-np.abs(scores.astype(np.float64))))).min(axis=1)
    return found


def nothing_found(confidences: Array, image: Array, images: int, empty: float = 0.0) -> Array:
    """(images,) of detections: the least confidence of a sample's boxes; ``empty`` where none was found.

    confidences: (boxes,) in 0..1. image: (boxes,) which sample each is of. An empty answer is *not* a sure one: what was missed
    left no box to be unsure of. So it counts least, unless ``empty`` says how much it is worth.
    """
    found = np.full(images, np.inf)
    np.minimum.at(found, image, confidences)
    found[np.isinf(found)] = empty
    return found


#: Name -> rule for class scores (N, classes) before softmax, with a temperature.
RULES: Mapping[str, Callable[[Array, float], Array]] = MappingProxyType({
    "max-probability": max_probability, "margin": margin, "entropy": entropy, "energy": energy,
})  # fmt: skip


def fit_temperature(scores: Array, y: Array) -> float:
    """The temperature at which the classes ``y`` (N,) are most likely: probabilities that mean what they say, same decisions."""
    _check_classes(scores, y)

    def loss(log_temperature: float) -> float:
        logs = _log_softmax(scores, float(np.exp(log_temperature)))
        return -float(np.maximum(logs[np.arange(len(y)), y], _LEAST).mean())

    # The loss is convex in 1 / T, so it has one valley in log T too: golden section.
    low, high = _RANGE
    first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_first, at_second = loss(first), loss(second)
    for _ in range(_STEPS):
        if at_first <= at_second:
            high, second, at_second = second, first, at_first
            first = high - _GOLDEN * (high - low)
            at_first = loss(first)
        else:
            low, first, at_first = first, second, at_second
            second = low + _GOLDEN * (high - low)
            at_second = loss(second)
    return float(np.exp((low + high) / 2))


def fit_vector(scores: Array, y: Array, ridge: float = 30.0) -> tuple[Array, Array]:
    """Scale and bias (classes,) of each class at which the classes ``y`` (N,) are most likely under softmax(scale * scores + bias).

    Guo et al. 2017, section 4.2. ridge: how strongly, in samples, each is held to what the one temperature and no bias say: without
    it a class that ``y`` lacks has no most likely bias, and 300 numbers fitted to 300 samples mean nothing.
    """
    _check_classes(scores, y)
    given, samples, classes = scores.astype(np.float64), len(y), scores.shape[1]
    start = np.concatenate([np.full(classes, 1 / fit_temperature(scores, y)), np.zeros(classes)])
    there = np.zeros((samples, classes))
    there[np.arange(samples), y] = 1

    def loss(both: Array) -> tuple[float, Array]:
        logs = _log_softmax(given * both[:classes] + both[classes:], 1.0)
        wrong = np.exp(logs) - there
        off = both - start
        slope = np.concatenate([(wrong * given).sum(axis=0), wrong.sum(axis=0)]) + ridge * off
        return float(-logs[there == 1].sum() + ridge * (off @ off) / 2) / samples, slope / samples

    both = _descend(loss, start)
    return both[:classes], both[classes:]


def _descend(loss: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
    """Where a smooth convex ``loss`` (its value and slope) is least: L-BFGS with halved steps."""
    at, (value, slope) = start, loss(start)
    moved: list[tuple[Array, Array]] = []
    for _ in range(_MOST_STEPS):
        if np.abs(slope).max() < _FLAT:
            break
        way = _downhill(slope, moved)
        step = 1.0
        while True:
            tried = at + step * way
            lower, steeper = loss(tried)
            if lower <= value + 1e-4 * step * float(slope @ way):
                break
            step /= 2
            if step < 1e-10:  # no float is lower
                return at
        change, bend = tried - at, steeper - slope
        if float(change @ bend) > 0:
            moved = [*moved[-_MEMORY + 1 :], (change, bend)]
        at, value, slope = tried, lower, steeper
    return at


def _downhill(slope: Array, moved: list[tuple[Array, Array]]) -> Array:
    """The two loops of L-BFGS (Nocedal and Wright 2006, algorithm 7.4)."""
    way, shares = -slope, []
    for change, bend in reversed(moved):
        shares.append(float(change @ way) / float(change @ bend))
        way = way - shares[-1] * bend
    if moved:
        change, bend = moved[-1]
        way = way * (float(change @ bend) / float(bend @ bend))
    for (change, bend), share in zip(moved, reversed(shares), strict=True):
        way = way + (share - float(bend @ way) / float(change @ bend)) * change
    return way


def _log_softmax(scores: Array, temperature: float) -> Array:
    _check(scores)
    if not temperature > 0:
        raise DataError(f"a temperature is above 0, not {temperature}")
    scaled = scores.astype(np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    logs: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _check_classes(scores: Array, y: Array) -> None:
    _check(scores)
    if (
        y.shape != scores.shape[:1]
        or not len(y)
        or y.dtype.kind not in "iu"
        or y.min() < 0
        or y.max() >= scores.shape[1]
    ):
        raise DataError(f"classes are (N,) in 0..{scores.shape[1] - 1}, not {y.dtype}{y.shape}")


def _check(scores: Array, least: int = 2) -> None:
    if scores.ndim != 2 or scores.shape[1] < least or scores.dtype.kind != "f" or not np.isfinite(scores).all():
        raise DataError(f"scores are finite floats (N, classes), not {scores.dtype}{scores.shape}")

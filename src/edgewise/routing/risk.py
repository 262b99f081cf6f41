"""The threshold below which an input is passed upstream, chosen so that a promise holds. Pure: arrays in, a threshold out.

**The promise.** A device answers what it is sure of: it keeps an input whose score is at least t, and passes on the others.
What it loses against letting upstream answer everything is the *risk* R(t): the expected loss of the inputs that it keeps,
over all inputs, since what is passed on is answered upstream and loses nothing. The user says: R at most epsilon, with
probability at least 1 - delta over the draw of the calibration samples. A threshold at which the *calibration samples* lose
at most epsilon keeps no such promise: it was chosen because they are lucky there, and breaks it in about half of all draws.

**Learn then test** (Angelopoulos, Bates, Candes, Jordan, Lei 2021, arXiv 2110.01052). For each t there is the hypothesis
"R(t) is above epsilon", and a p-value for it that is valid at any number of samples. The thresholds are tested from the
strictest on (nothing is kept, nothing can be lost) to ever laxer ones, each at level delta, until one is not rejected. All
that were rejected are safe together: a first false rejection has a probability of at most delta, and the order was fixed
before the losses were seen, so nothing is paid for testing many (fixed-sequence testing, Wiens 2003). The order is by score
alone.

**Three p-values**, by what is known of a sample:

- *disagreement*, no labels needed: the loss is 1 where the device's decision is not upstream's. The number of losses among n
  samples is binomial, so P(Bin(n, epsilon) <= k) is an exact p-value. Where it is bounded, so is what accuracy can lose,
  since the device can only be wrong where upstream is right if the two disagree.
- *a bounded loss* in 0..1 (missed boxes, costs that differ by class, over their largest): Hoeffding and Bentkus, whichever is
  smaller (Bates, Angelopoulos, Lei, Malik, Jordan 2021, arXiv 2101.02703).
- *the signed gap*, labels needed: +1 where upstream alone is right, -1 where the device alone is, 0 else. Its mean is the
  accuracy lost. A gambler who bets against "the mean is at least epsilon", stakes chosen from the past alone, has a fortune
  that is a non-negative supermartingale if that is true; 1 / (its largest value) is a p-value (Ville 1939; Waudby-Smith and
  Ramdas 2024, arXiv 2010.09686). Tighter where the two err alike, and where the device is sometimes the better one.

**What is assumed.** Calibration samples and later inputs are exchangeable: drawn alike, in no order that matters. Frames of
one camera a moment apart are not. Upstream's decisions are those of calibration time. Nothing is assumed of the score: a bad
one makes the promise expensive, not false.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgewise.errors import DataError, InputError
from edgewise.measure.intervals import binomial_at_most
from edgewise.measure.npz import Array

__all__ = [
    "Fitted",
    "Promise",
    "Test",
    "fit_agreement",
    "fit_gap",
    "fit_groups",
    "fit_loss",
    "least_samples",
    "oracle_offload",
]

Test = Literal["binomial", "hoeffding-bentkus", "betting"]
_STEPS = 400  # thresholds that are tested where a test costs something: quantiles of the score, fixed before any loss is seen
_BET = 0.75  # of the largest stake that cannot ruin the gambler


@dataclass(frozen=True, slots=True)
class Promise:
    """At most ``epsilon`` (a share: 0.01 is one point) lost against upstream, but for a chance of ``delta``."""

    epsilon: float
    delta: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 1 or not 0 < self.delta < 1:
            raise InputError(
                f"a promise has epsilon and delta between 0 and 1, not {self.epsilon} and {self.delta}",
                remedy="One point at 95 % is epsilon 0.01 and delta 0.05. No loss at all cannot be promised from samples.",
            )


@dataclass(frozen=True, slots=True)
class Fitted:
    """threshold: an input is kept where its score is at least this; infinity keeps none. offload: share of the calibration samples
    that is passed on. lost: what the kept ones lost, over all. oracle: the offload of the laxest threshold at which *these samples*
    lose no more than epsilon: what a promise costs is the distance between the two. test: by which p-value.
    """

    promise: Promise
    threshold: float
    offload: float
    lost: float
    oracle: float
    samples: int
    test: Test

    def keeps(self, score: Array) -> Array:
        """(N,) of bool: what the device answers itself."""
        kept: Array = score >= self.threshold
        return kept


def least_samples(promise: Promise) -> int:
    """Calibration samples without which nothing can be kept even if no loss is seen: (1 - epsilon)^n has to come below delta."""
    return math.ceil(math.log(promise.delta) / math.log1p(-promise.epsilon))


def fit_agreement(score: Array, disagree: Array, promise: Promise) -> Fitted:
    """By disagreement with upstream; score: (N,), the higher the surer. disagree: (N,) of bool.

    Raises DataError where the arrays do not fit, or are too few for the promise, with how many more are needed.
    """
    _check(score, disagree, promise, bool)
    counts = np.arange(len(score) + 1)
    # The most losses that still reject: the same for every threshold, since the number of samples is.
    most = (
        int(np.searchsorted(_tails(len(score), promise.epsilon, promise.delta, counts), promise.delta, side="right"))
        - 1
    )
    return _fitted(score, disagree.astype(np.float64), promise, "binomial", lambda kept: kept.sum() <= most)


def fit_loss(score: Array, loss: Array, promise: Promise) -> Fitted:
    """By a loss in 0..1 of what the device would answer; score, loss: (N,) of floats. Raises DataError as ``fit_agreement``."""
    _check(score, loss, promise, float)
    if loss.min() < 0 or loss.max() > 1:
        raise DataError(
            f"losses lie in 0..1, not {loss.min():g}..{loss.max():g}",
            remedy="Divide them, and epsilon, by the largest.",
        )

    def rejected(kept: Array) -> bool:
        return _hoeffding_bentkus(float(kept.mean()), len(kept), promise.epsilon) <= promise.delta

    return _fitted(score, loss.astype(np.float64), promise, "hoeffding-bentkus", rejected)


def fit_gap(score: Array, right: Array, upstream_right: Array, promise: Promise, seed: int = 0) -> Fitted:
    """By accuracy lost; right, upstream_right: (N,) of bool. seed: of the order in which samples are bet on.

    Raises DataError as ``fit_agreement``.
    """
    _check(score, right, promise, bool)
    _check(score, upstream_right, promise, bool)
    gap = upstream_right.astype(np.float64) - right.astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(score))

    def rejected(kept: Array) -> bool:
        return _fortune(promise.epsilon - kept[order], promise.epsilon) >= 1 / promise.delta

    return _fitted(score, gap, promise, "betting", rejected)


def fit_groups(
    score: Array, loss: Array, group: Array, promise: Promise, fit: Callable[[Array, Array, Promise], Fitted] = fit_agreement
) -> Mapping[object, Fitted]:  # fmt: skip
    """A promise for each class, or group of people, by itself, so that a rare one is not sacrificed: group -> its threshold.

    group: (N,), known before an answer is chosen (the device's own decision, a camera). All hold together with 1 - delta
    (Bonferroni). Raises DataError naming the group that has too few samples.
    """
    names = np.unique(group)
    shared = replace(promise, delta=promise.delta / len(names))
    found = {}
    for name in names:
        own = group == name
        try:
            found[name.item()] = fit(score[own], loss[own], shared)
        except DataError as error:
            raise DataError(f"group {name}: {error.what}", remedy=error.remedy) from None
    return found


def oracle_offload(score: Array, loss: Array, epsilon: float) -> float:
    """The least offload at which *these* samples lose at most epsilon: what only somebody who knows the truth could choose."""
    order, ends = _by_score(score)
    lost = np.concatenate([[0.0], np.cumsum(loss[order].astype(np.float64))])[ends] / len(score)
    return 1 - float(ends[lost <= epsilon].max(initial=0)) / len(score)


def _fitted(score: Array, loss: Array, promise: Promise, test: Test, rejected: Callable[[Array], bool]) -> Fitted:
    """From the strictest threshold on as long as the test rejects; ``rejected`` is given the losses (N,), 0 where passed on."""
    order, ends = _by_score(score)
    ends = ends[np.isfinite(score[order[ends - 1]])]  # a sample of which nothing is known is never kept
    if test != "binomial" and len(ends) > _STEPS:
        ends = ends[np.linspace(0, len(ends) - 1, _STEPS).astype(int)]
    kept, best = np.zeros(len(score)), 0
    for start, end in zip(np.append(0, ends)[:-1], ends, strict=True):
        kept[order[start:end]] = loss[order[start:end]]
        if not rejected(kept):
            kept[order[best:end]] = 0
            break
        best = int(end)
    threshold = float(score[order[best - 1]]) if best else math.inf
    oracle = oracle_offload(score, loss, promise.epsilon)
    return Fitted(promise, threshold, 1 - best / len(score), float(kept.mean()), oracle, len(score), test)


def _by_score(score: Array) -> tuple[Array, Array]:
    """Samples from the surest on, and how many of them each threshold keeps: equal scores are kept together."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.append(np.flatnonzero(ranked[1:] < ranked[:-1]) + 1, len(score))
    return order, ends


def _tails(samples: int, epsilon: float, delta: float, counts: Array) -> Array:
    """P(Bin(samples, epsilon) <= k) for k = 0, 1, ... up to the first that is above delta."""
    found = []
    for count in counts:
        found.append(binomial_at_most(int(count), samples, epsilon))
        if found[-1] > delta:
            break
    return np.array(found)


def _hoeffding_bentkus(mean: float, samples: int, epsilon: float) -> float:
    if mean >= epsilon:
        return 1.0
    relative = (mean * math.log(mean / epsilon) if mean else 0.0) + (1 - mean) * math.log((1 - mean) / (1 - epsilon))
    bentkus = math.e * binomial_at_most(math.ceil(samples * mean - 1e-9), samples, epsilon)
    return min(math.exp(-samples * relative), bentkus, 1.0)


def _fortune(won: Array, epsilon: float) -> float:
    """The largest value of a fortune of 1 that is bet on ``won`` (N,) in turn: each at least epsilon - 1, the mean not above 0."""
    # What was won so far, shrunk towards little: a stake never depends on what it is bet on.
    before = np.arange(len(won)) + 1.0
    mean = (np.cumsum(won) - won) / before
    square = (np.cumsum(np.square(won)) - np.square(won) + 0.25 * epsilon) / before
    stake = np.clip(mean / np.maximum(square, 1e-12), 0, _BET / (1 - epsilon))
    return float(np.exp(np.cumsum(np.log1p(stake * won)).max(initial=0.0)))


def _check(score: Array, other: Array, promise: Promise, kind: type) -> None:
    if score.ndim != 1 or score.shape != other.shape or score.dtype.kind != "f":
        raise DataError(
            f"scores are (N,) of floats beside (N,), not {score.dtype}{score.shape} and {other.dtype}{other.shape}"
        )
    if (other.dtype.kind == "b") != (kind is bool) or not (score < np.inf).all():
        raise DataError(
            "scores are finite, or -inf for what is never kept; right, wrong and disagreement are of bool, losses of floats"
        )
    least = least_samples(promise)
    if len(score) < least:
        raise DataError(
            f"{len(score)} samples are too few to promise {promise.epsilon:g} with a chance of {promise.delta:g} to fail",
            remedy=f"About {least - len(score)} more are needed before anything can be kept, or a larger epsilon.",
        )

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

**The tests** (``rejection``), by what is known of a sample:

- *disagreement*, no labels needed: the loss is 1 where the device's decision is not upstream's. The number of losses among n
  samples is binomial, so P(Bin(n, epsilon) <= k) is an exact p-value. Where it is bounded, so is what accuracy can lose,
  since the device can only be wrong where upstream is right if the two disagree.
- *the signed gap*, labels needed: +1 where upstream alone is right, -1 where the device alone is, 0 else. Its mean is the
  accuracy lost. The exact test of the binomial's kind (matched pairs: Suissa and Shuster 1991): losses less gains, in standard
  deviations that are estimated from the gains (Tango 1998), against the strictness at which the test is valid whatever the
  unknown share of gains. It rejects more often with fewer losses and with more gains, so the worst case lies where exactly
  epsilon is lost (Roehmel and Mansmann 1999), and the probability over a short interval of shares is bounded by that at its
  two ends: the largest over all intervals is an exact sum each, no simulation and no limit theorem. Without gains it allows as
  many losses as the binomial test, and each gain pays for one loss more.
- *a bounded loss* in 0..1 (missed boxes, costs that differ by class, over their largest): Hoeffding and Bentkus, whichever is
  smaller (Bates, Angelopoulos, Lei, Malik, Jordan 2021, arXiv 2101.02703).
- *a bounded loss of any sign*: a gambler who bets against "the mean is at least epsilon", stakes chosen from the past alone, has
  a fortune that is a non-negative supermartingale if that is true; 1 / (its largest value) is a p-value (Ville 1939;
  Waudby-Smith and Ramdas 2024, arXiv 2010.09686). It learns how little losses vary, which the other bounds do not.

**Any configurations.** The order need not be one score's: ``fit_sequence`` walks any list that was written down beforehand, such
as the two thresholds of a small and a bigger variant (``fitting.cascade``). Rules, tests, paths and variants are chosen on
samples of their own, never on those that the promise is made on (``fitting.choosing`` says why that costs the promise nothing).

**What it costs, and why not less.** Where exactly epsilon is lost, a valid test may reject with a chance of delta at most. The
binomial one does, but for what lies between two whole numbers of losses: for disagreement no other test passes on noticeably
less. Bets and Hoeffding's bound stop at 2.2 standard deviations instead of 1.65, which is a third more to pay, so they are for
losses that cannot be counted; for block means bets win by far, since these vary less than any bound that knows only 0..1 allows
for. What a better test cannot give, a better score, more samples, or labels can: the gap lets the device err where upstream errs,
and often passes on half. Its price against *its own* oracle is higher all the same, the lower the less is passed on: what is
lost is a difference there, and both of its sides vary.

**What is assumed.** Calibration samples and later inputs are exchangeable: drawn alike, in no order that matters. Frames of
one camera a moment apart are not. Upstream's decisions are those of calibration time. Nothing is assumed of the score: a bad
one makes the promise expensive, not false.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgewise.errors import DataError, InputError
from edgewise.measure.npz import Array
from edgewise.routing.rejection import Test, rejecter

__all__ = [
    "Fitted", "Promise", "Test", "fit_agreement", "fit_gap", "fit_groups", "fit_loss", "fit_sequence", "fit_threshold",
    "least_samples", "offloads_at", "oracle_offload",
]  # fmt: skip

#: Thresholds that are tested where a test is slow: quantiles of the score, fixed before any loss is seen.
_STEPS = {"betting": 400, "trinomial": 1200}
_MONOTONE = ("binomial", "hoeffding-bentkus")
_ROUNDING = 1e-12  # of a sum that is held against epsilon
_MANY = 50_000  # samples up to which the limits of the trinomial test take seconds to compute


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
    lose no more than epsilon: what a promise costs is the distance between the two. test: by which p-value. blocks: how many of
    correlated samples there are; 0 where each sample counts by itself.
    """

    promise: Promise
    threshold: float
    offload: float
    lost: float
    oracle: float
    samples: int
    test: Test
    blocks: int = 0

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
    _check(score, disagree, bool)
    return fit_threshold(score, disagree.astype(np.float64), promise, "binomial")


def fit_loss(score: Array, loss: Array, promise: Promise) -> Fitted:
    """By a loss in 0..1 of what the device would answer; score, loss: (N,) of floats. Raises DataError as ``fit_agreement``."""
    return fit_threshold(score, loss, promise, "hoeffding-bentkus")


def fit_gap(score: Array, right: Array, upstream_right: Array, promise: Promise, seed: int = 0) -> Fitted:
    """By accuracy lost; right, upstream_right: (N,) of bool. seed: of the order of bets, where there are too many for exact limits.

    Raises DataError as ``fit_agreement``.
    """
    _check(score, right, bool)
    _check(score, upstream_right, bool)
    gap = upstream_right.astype(np.float64) - right.astype(np.float64)
    return fit_threshold(score, gap, promise, "trinomial" if len(score) <= _MANY else "betting", seed=seed)


def fit_threshold(
    score: Array, loss: Array, promise: Promise, test: Test, *, block: Array | None = None, seed: int = 0
) -> Fitted:
    """From the strictest threshold on as long as ``test`` rejects.

    loss: (N,) of floats, as ``test`` takes them. block: (N,), which samples belong together: then each block counts once, with the
    mean of its losses, and only the tests for losses between the whole numbers can be used. seed: of the order of bets.
    Raises DataError where arrays do not fit the test or each other, or are too few for the promise.
    """
    _check(score, loss, float)
    blocks, unit = _units(block, len(score))
    units = blocks or len(score)
    least = least_samples(promise)
    if units < least:
        what = "blocks" if blocks else "samples"
        raise DataError(
            f"{units} {what} are too few to promise {promise.epsilon:g} with a chance of {promise.delta:g} to fail",
            remedy=f"About {least - units} more are needed before anything can be kept, or a larger epsilon.",
        )
    order, ends = _by_score(score)
    weight = loss / np.bincount(unit)[unit]
    rejected = rejecter(test, units, promise.epsilon, promise.delta, seed)
    rejected(_kept(weight, unit, units))  # losses that the test is not for are refused, wherever they are
    if (
        test in _MONOTONE
    ):  # with what is kept only grows what is lost: the first that is not rejected is found by halves
        best = bisect_left(
            ends, True, key=lambda end: not rejected(_kept(weight[order[:end]], unit[order[:end]], units))
        )
    else:
        if len(ends) > _STEPS[test]:
            ends = ends[np.linspace(0, len(ends) - 1, _STEPS[test]).astype(int)]
        best = fit_sequence(_growing(weight, unit, order, ends, units), promise, test, seed)
    end = int(ends[best - 1]) if best else 0
    threshold = float(score[order[end - 1]]) if end else math.inf
    oracle, lost = oracle_offload(score, loss, promise.epsilon, block), float(weight[order[:end]].sum() / units)
    return Fitted(promise, threshold, 1 - end / len(score), lost, oracle, len(score), test, blocks)


def fit_sequence(losses: Iterable[Array], promise: Promise, test: Test, seed: int = 0) -> int:
    """How many of the first configurations keep the promise: fixed-sequence testing over anything, in an order fixed beforehand.

    losses: for each configuration those of all samples, or of all blocks, (N,), 0 where passed on; each is used before the next
    is asked for, so that one array may be written again and again. The order must not come from these samples.
    """
    found, rejected = 0, None
    for row in losses:
        rejected = rejected or rejecter(test, len(row), promise.epsilon, promise.delta, seed)
        if not rejected(row):
            break
        found += 1
    return found


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


def oracle_offload(score: Array, loss: Array, epsilon: float, block: Array | None = None) -> float:
    """The least offload at which *these* samples lose at most epsilon: what only somebody who knows the truth could choose."""
    return float(offloads_at(score, loss, np.array([epsilon]), block)[0])


def offloads_at(score: Array, loss: Array, allowed: Array, block: Array | None = None) -> Array:
    """(K,) the same for each of ``allowed`` (K,)."""
    order, ends = _by_score(score)
    blocks, unit = _units(block, len(score))
    weight = loss.astype(np.float64) / (np.bincount(unit)[unit] * (blocks or len(score)))
    lost = np.concatenate([[0.0], np.cumsum(weight[order])])[ends]
    kept = [ends[lost <= each + _ROUNDING].max(initial=0) for each in allowed]
    found: Array = 1 - np.array(kept) / len(score)
    return found


def _units(block: Array | None, samples: int) -> tuple[int, Array]:
    """How many blocks, 0 for none; and which unit each sample is of."""
    if block is None:
        return 0, np.arange(samples)
    if block.shape != (samples,):
        raise DataError(f"each of {samples} samples is of one block, not {block.shape}")
    names, unit = np.unique(block, return_inverse=True)
    return len(names), unit


def _kept(weight: Array, unit: Array, units: int) -> Array:
    return np.bincount(unit, weight, minlength=units)


def _growing(weight: Array, unit: Array, order: Array, ends: Array, units: int) -> Iterator[Array]:
    """What each threshold loses, by unit: always the same array."""
    kept = np.zeros(units)
    for start, end in zip(np.concatenate([[0], ends])[:-1], ends, strict=True):
        np.add.at(kept, unit[order[start:end]], weight[order[start:end]])
        yield kept


def _by_score(score: Array) -> tuple[Array, Array]:
    """Samples from the surest on, and how many of them each threshold keeps: equal scores are kept together, and a sample of which
    nothing is known (-inf) never.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.append(np.flatnonzero(ranked[1:] < ranked[:-1]) + 1, len(score))
    return order, ends[np.isfinite(ranked[ends - 1])]


def _check(score: Array, other: Array, kind: type) -> None:
    if score.ndim != 1 or score.shape != other.shape or score.dtype.kind != "f":
        raise DataError(
            f"scores are (N,) of floats beside (N,), not {score.dtype}{score.shape} and {other.dtype}{other.shape}"
        )
    if other.dtype.kind != ("b" if kind is bool else "f") or not (score < np.inf).all():
        raise DataError(
            "scores are finite, or -inf for what is never kept; right, wrong and disagreement are of bool, losses of floats"
        )

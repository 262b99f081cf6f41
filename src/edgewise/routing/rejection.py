"""When "more than epsilon is lost" may be rejected: four tests, each valid at any number of samples. Pure; theory in ``risk``.

A test is given the losses of all samples at one threshold (0 where passed on) and says whether the hypothesis that their mean is
at least epsilon is rejected: if it is true, that happens with a chance of at most delta.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.intervals import binomial_at_most, clopper_pearson
from edgewise.measure.npz import Array

__all__ = ["TESTS", "Test", "harm_limits", "largest_mean", "most_losses", "rejecter"]

Test = Literal["binomial", "trinomial", "hoeffding-bentkus", "betting"]
#: Test -> the losses that it is for, in words.
TESTS = {
    "binomial": "0 or 1", "trinomial": "-1, 0 or 1", "hoeffding-bentkus": "in 0..1", "betting": "in -1..1",
}  # fmt: skip
_SHRUNK = 100.0  # samples that the first guess of the spread weighs as much as
_BET = 0.75  # of the largest stake that cannot ruin the gambler
_BISECTIONS = 40  # of 0..epsilon: far below one loss in any number of samples
_CELLS = 400  # pieces of the unknown share of gains that are looked at one by one
_MOST_GAINS = 0.1  # share of samples that may gain; where more do, the trinomial test does not reject
_DEVIATIONS = 7.0  # what lies further out has a probability below 1e-11 on each side
_OUTSIDE = 1e-10
_SURE = 1 - 1e-12
_STEP = 0.01  # by which the trinomial test is made stricter until it is valid, in standard deviations


def rejecter(test: Test, samples: int, epsilon: float, delta: float, seed: int = 0) -> Callable[[Array], bool]:
    """The test for this many losses (samples,). seed: of the order in which samples are bet on.

    What it returns raises DataError for losses that the test is not for.
    """
    if test == "binomial":
        most = most_losses(samples, epsilon, delta)
        return lambda losses: _counts(losses, test, (0, 1)) <= most
    if test == "trinomial":
        limits = harm_limits(samples, epsilon, delta)

        def rejected(losses: Array) -> bool:
            _counts(losses, test, (-1, 0, 1))
            gains = int((losses < 0).sum())
            return gains < len(limits) and int((losses > 0).sum()) <= int(limits[gains])

        return rejected
    if test == "hoeffding-bentkus":
        largest = largest_mean(samples, epsilon, delta)
        return lambda losses: float(_within(losses, test, 0.0).mean()) <= largest
    order = np.random.default_rng(seed).permutation(samples)
    return lambda losses: _fortune(_within(losses, test, -1.0)[order], epsilon, 1 / delta) >= 1 / delta


@lru_cache(maxsize=256)
def most_losses(samples: int, epsilon: float, delta: float) -> int:
    """The most losses among so many at which the exact binomial test rejects; -1 where none are few enough."""
    return bisect_right(range(samples), delta, key=lambda count: binomial_at_most(count, samples, epsilon)) - 1


@lru_cache(maxsize=256)
def largest_mean(samples: int, epsilon: float, delta: float) -> float:
    """The largest mean of losses in 0..1 at which Hoeffding's or Bentkus's bound rejects; -1 where none is small enough."""
    if _hoeffding_bentkus(0.0, samples, epsilon) > delta:
        return -1.0
    low, high = 0.0, epsilon
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _hoeffding_bentkus(middle, samples, epsilon) <= delta else (low, middle)
    return low


@lru_cache(maxsize=256)
def harm_limits(samples: int, epsilon: float, delta: float) -> Array:
    """(gains + 1,): at each number of gains (-1) the most losses (+1) at which the trinomial test rejects, -1 where none do."""
    gains = np.arange(int(_MOST_GAINS * samples) + 1)
    # Beyond this share of gains a number of them within ``gains`` is too rare to matter.
    widest = clopper_pearson(len(gains) - 1, samples, 1 - 2 * delta)[1]
    shares = np.linspace(0, math.sqrt(widest), _CELLS + 1) ** 2
    # Losses and gains so many that a window of the widest share fits in.
    every = np.arange(int(samples * widest + _DEVIATIONS * math.sqrt(samples * widest)) + 60)
    strictness = NormalDist().inv_cdf(1 - delta)
    limits = _limits(every, samples, epsilon, strictness)
    for low, high in pairwise(shares):
        possible = 2 * low + epsilon <= 1
        while possible and limits[-1] >= 0 and _rejection_chance(limits, samples, low + epsilon, high) > delta:
            strictness += _STEP
            limits = _limits(every, samples, epsilon, strictness)
    found: Array = limits[: len(gains)]
    found.setflags(write=False)
    return found


def _limits(gains: Array, samples: int, epsilon: float, strictness: float) -> Array:
    """The score test: losses less gains lie ``strictness`` standard deviations below what they are if epsilon is just lost."""
    least = gains + samples * epsilon - strictness * np.sqrt(samples * epsilon + 2 * gains)
    whole = np.maximum(np.floor(least), -1).astype(np.int64)
    # More gains never make it stricter, so that a larger share of losses or a smaller one of gains rejects less often.
    rising: Array = np.minimum.accumulate(whole[::-1])[::-1]
    return rising


def _rejection_chance(limits: Array, samples: int, lost: float, gained: float) -> float:
    """At least the probability of a rejection where samples are lost and gained with these chances: an exact sum over a window."""
    centre, spread = samples * gained, math.sqrt(samples * gained)
    gains = np.arange(
        max(0, int(centre - _DEVIATIONS * spread)), min(samples, int(centre + _DEVIATIONS * spread) + 30) + 1
    )
    gains = gains[gains < len(limits)]
    chance = np.exp(_log_binomial(gains, samples, gained))
    others = samples - gains
    share = min(lost / (1 - gained), _SURE)  # fewer are lost than there may be: rejected rather more often
    middle, wide = samples * lost, math.sqrt(samples * lost)
    losses = np.arange(max(0, int(middle - _DEVIATIONS * wide) - 30), int(middle + _DEVIATIONS * wide) + 31)
    table = np.exp(_log_binomial(losses[None, :], others[:, None], share))
    within = np.cumsum(table, axis=1)
    place = np.clip(limits[gains] - losses[0], -1, len(losses) - 1)
    below = np.where(place < 0, 0.0, within[np.arange(len(gains)), place])
    return float((chance * below).sum()) + _OUTSIDE


def _log_binomial(successes: Array, trials: Array | int, chance: float) -> Array:
    failures = trials - successes
    possible = failures >= 0
    rest = np.where(possible, failures, 0)
    if chance <= 0:
        return np.where(successes == 0, 0.0, -np.inf)
    coefficient = _log_factorial(np.asarray(trials)) - _log_factorial(np.asarray(successes)) - _log_factorial(rest)
    found: Array = coefficient + successes * math.log(chance) + rest * math.log1p(-chance)
    return np.where(possible, found, -np.inf)


def _log_factorial(numbers: Array) -> Array:
    return _log_factorials(1 << max(10, int(numbers.max()).bit_length()))[numbers]


@lru_cache(maxsize=4)
def _log_factorials(count: int) -> Array:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])


def _hoeffding_bentkus(mean: float, samples: int, epsilon: float) -> float:
    if mean >= epsilon:
        return 1.0
    relative = (mean * math.log(mean / epsilon) if mean else 0.0) + (1 - mean) * math.log((1 - mean) / (1 - epsilon))
    bentkus = math.e * binomial_at_most(math.ceil(samples * mean - 1e-9), samples, epsilon)
    return min(math.exp(-samples * relative), bentkus, 1.0)


def _fortune(losses: Array, epsilon: float, enough: float) -> float:
    """The largest value of a fortune of 1, bet in turn against "the mean of ``losses`` (N,) is at least epsilon".

    The stake is what makes ``enough`` of it in N bets at the highest mean where that can be done; it needs the spread: that of the
    past, shrunk towards that of a loss of epsilon (Waudby-Smith and Ramdas's for a fixed N). It never depends on what it is bet on.
    """
    count, square = len(losses), np.square(losses)
    spread = (np.cumsum(square) - square + _SHRUNK * epsilon) / (np.arange(count) + _SHRUNK)
    stake = np.minimum(np.sqrt(2 * math.log(enough) / (count * spread)), _BET / (1 - epsilon))
    return float(np.exp(np.cumsum(np.log1p(stake * (epsilon - losses))).max(initial=0.0)))


def _counts(losses: Array, test: Test, allowed: tuple[int, ...]) -> int:
    if not np.isin(losses, allowed).all():
        raise DataError(f"for the {test} test losses are {TESTS[test]}")
    return int((losses > 0).sum())


def _within(losses: Array, test: Test, low: float) -> Array:
    if not (losses.min(initial=0) >= low and losses.max(initial=0) <= 1):
        raise DataError(
            f"for the {test} test losses lie {TESTS[test]}, not {losses.min():g}..{losses.max():g}",
            remedy="Divide them, and epsilon, by the largest.",
        )
    return losses

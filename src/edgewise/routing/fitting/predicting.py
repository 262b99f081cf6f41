"""What a fit would pass on if it were made on so many samples: told from those that choose, before the others are looked at."""

from collections.abc import Sequence

import numpy as np

from edgewise.measure.npz import Array
from edgewise.routing.rejection import Test, harm_limits, largest_mean, most_losses
from edgewise.routing.risk import Promise, offloads_at

__all__ = ["drawn_again", "level", "levels", "predicted_offload", "unit_means"]

# Few of those that choose lie near the level, so it is smeared: the order of two rules should not hang on one sample.
_SMEAR = (0.6, 0.8, 1.0, 1.2, 1.4)
_BETS = 2.2  # standard deviations that a gambler has to see; the exact tests need 1.65


def level(test: Test, loss: Array, promise: Promise, units: int) -> float:
    """What ``units`` samples or blocks may lose, as a mean, so that ``test`` still rejects. loss: (N,) of those that choose."""
    epsilon, delta = promise.epsilon, promise.delta
    if test == "binomial":
        return most_losses(units, epsilon, delta) / units
    if test == "hoeffding-bentkus":
        return largest_mean(units, epsilon, delta)
    gains = float(np.maximum(-loss, 0).mean())
    if test == "trinomial":
        limits = harm_limits(units, epsilon, delta)
        count = min(round(gains * units), len(limits) - 1)
        return float(limits[count] - count) / units
    # What is kept loses epsilon at most, and varies as these losses do for their size.
    size = float(np.square(loss).sum() / max(np.abs(loss).sum(), 1e-12))
    return epsilon - _BETS * float(np.sqrt((epsilon + 2 * gains) * size / units))


def levels(test: Test, loss: Array, promise: Promise, units: int) -> Array:
    """Some around it, less strict and stricter: (5,)."""
    found: Array = promise.epsilon - (promise.epsilon - level(test, loss, promise, units)) * np.array(_SMEAR)
    return found


def predicted_offload(
    score: Array,
    loss: Array,
    promise: Promise,
    test: Test,
    units: int,
    again: Sequence[Array],
    block: Array | None = None,
) -> Array:
    """(R,) mean offload at the levels around that of a fit on ``units``, for each of the samples drawn ``again``.

    score, loss: (N,) of those that choose. block: (N,) or None.
    """
    allowed = levels(test, unit_means(loss, block), promise, units)
    return np.array([offloads_at(score[rows], loss[rows], allowed).mean() for rows in again])


def unit_means(loss: Array, block: Array | None) -> Array:
    """(N,) as it is, or the means of blocks."""
    if block is None:
        return loss
    unit = np.unique(block, return_inverse=True)[1]
    found: Array = np.bincount(unit, loss) / np.bincount(unit)
    return found


def drawn_again(samples: int, block: Array | None = None, draws: int = 20, seed: int = 0) -> list[Array]:
    """Row numbers with repetition (Efron 1979), blocks whole: how much of a difference is chance shows between them."""
    chance = np.random.default_rng(seed)
    if block is None:
        return [chance.integers(0, samples, samples) for _ in range(draws)]
    rows = [np.flatnonzero(block == name) for name in np.unique(block)]
    return [np.concatenate([rows[at] for at in chance.integers(0, len(rows), len(rows))]) for _ in range(draws)]

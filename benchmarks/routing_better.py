"""A router that is better than upstream alone: the device keeps at least 60 %, and its scores count for what it passes on, too.

What is passed on carries the device's own scores with it (it has them already), and is decided by both: the largest sum of
upstream's log-probabilities and w times the device's. Threshold and w are those with the highest accuracy on calibration samples,
of the thresholds that keep at least so many there. Nothing about it needs to know the truth later, so it can be deployed.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.routing_pool import Pool
from edgewise.measure.intervals import mcnemar_exact
from edgewise.measure.npz import Array

_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
_KEPT = 0.60  # on samples that nothing was chosen by
_SPARE = 0.01  # kept more on the calibration samples, so that it is that much elsewhere
_BOOTSTRAP = 2000


@dataclass(frozen=True)
class Better:
    """Means over draws. gain: accuracy over upstream alone, on what the choice has not seen. better: share of draws with a gain
    above 0. first, low, high, p_value: of the first draw alone: its gain, the 95 % interval by paired bootstrap, and McNemar's.
    plain: the gain without the device's scores in what is passed on.
    """

    kept: float
    router: float
    upstream: float
    gain: float
    better: float
    first: float
    low: float
    high: float
    p_value: float
    weight: float
    plain: float


def better(pool: Pool, draws: int = 1000, seed: int = 3) -> Better:
    """Half of the pool to choose by, whole groups of copies together, the other half to be judged by."""
    score = pool.score()
    edge = _log_softmax(pool.edge[pool.deployed])
    right = pool.right()
    stacked = np.array([(pool.upstream + w * edge).argmax(axis=1) == pool.y for w in _WEIGHTS])
    rng = np.random.default_rng(seed)
    copies = pool.copies
    names = np.unique(copies)
    rows, firsts = [], None
    for _ in range(draws):
        chosen = rng.permutation(len(names))[: len(names) // 2]
        fit = np.isin(copies, names[chosen]) if len(names) < len(copies) else np.isin(names, names[chosen])
        test = ~fit
        threshold, at = _choose(score[fit], right[fit], stacked[:, fit])
        plain, _ = _choose(score[fit], right[fit], stacked[:1, fit])
        kept = score[test] >= threshold
        routed = np.where(kept, right[test], stacked[at][test])
        alone = stacked[0][test]
        without = np.where(score[test] >= plain, right[test], alone)
        rows.append((
            kept.mean(), routed.mean(), alone.mean(), routed.mean() - alone.mean(), _WEIGHTS[at],
            without.mean() - alone.mean(),
        ))  # fmt: skip
        firsts = firsts or (routed, alone, copies[test])
    mean = np.mean(rows, axis=0)
    gains = np.array([row[3] for row in rows])
    routed, alone, names = firsts
    low, high = _interval(routed.astype(float) - alone, names, rng)
    return Better(
        float(mean[0]), float(mean[1]), float(mean[2]), float(mean[3]), float((gains > 0).mean()), float(gains[0]), low, high,
        mcnemar_exact(alone, routed), float(mean[4]), float(mean[5]),
    )  # fmt: skip


def _choose(score: Array, right: Array, stacked: Array) -> tuple[float, int]:
    """The threshold, and which of the weights, by accuracy; of equals the one that keeps more."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.append(np.flatnonzero(ranked[1:] < ranked[:-1]), len(score) - 1)
    ends = ends[ends + 1 >= (_KEPT + _SPARE) * len(score)]
    kept = np.cumsum(right[order])[ends]
    passed = stacked.sum(axis=1)[:, None] - np.cumsum(stacked[:, order], axis=1)[:, ends]
    total = kept + passed
    at = int(total.max(axis=1).argmax())
    best = np.flatnonzero(total[at] == total[at].max())[-1]
    return float(ranked[ends[best]]), at


def _interval(difference: Array, group: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Of the mean, 95 %: groups are drawn whole."""
    _, which = np.unique(group, return_inverse=True)
    sums, sizes = np.bincount(which, difference), np.bincount(which)
    drawn = rng.integers(0, len(sums), (_BOOTSTRAP, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _log_softmax(scores: Array) -> Array:
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found

"""Thousands of draws: how often a promise is broken, and what keeping it costs.

**The population is known.** It is the pool: all held-out samples of a task. Calibration samples are drawn from it independently
(one may come twice), which is what the promise assumes, so what a threshold really loses is no estimate: it is counted over the
whole pool. Drawn without putting back, they would be more like the pool than samples of a large population are of it, and promises
would look better than they are; counted over the samples that were not drawn, a threshold that is within its promise is above
epsilon now and then by the chance of *those* samples. That second count is given too, as ``beyond``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.routing_rules import RULES, Rule, checked, ours_gap
from edgewise.measure.intervals import binomial_at_most
from edgewise.measure.npz import Array
from edgewise.routing.risk import Promise, oracle_offload

DRAWS = 1000
EPSILONS = (0.005, 0.01, 0.02)
DELTA = 0.05
_CHECKED = 10  # draws in which the quick form of a rule is held against the product


@dataclass(frozen=True)
class Outcome:
    """Of one rule under one promise. broken: draws whose threshold loses more than epsilon over the pool. beyond: the same over
    what was not drawn. p_value: of so many breaks or more, if each draw broke with a chance of delta. offload: mean over draws;
    oracle: of the one threshold that loses no more than epsilon over the pool. lost: mean; worst: the largest loss of any draw.
    """

    epsilon: float
    draws: int
    broken: int
    beyond: int
    offload: float
    oracle: float
    lost: float
    worst: float

    @property
    def p_value(self) -> float:
        return 1 - binomial_at_most(self.broken - 1, self.draws, DELTA)

    @property
    def ratio(self) -> float:
        if self.oracle:
            return self.offload / self.oracle
        return float("inf") if self.offload else 1.0


def outcomes(
    score: Array,
    loss: Array,
    rules: Mapping[str, Rule],
    samples: int,
    draws: int = DRAWS,
    seed: int = 0,
    copies: Array | None = None,
) -> dict[str, list[Outcome]]:
    """Rule -> its outcome for each epsilon. score: (N,), loss: (N,) of the pool; every rule sees the same draws.

    copies: (N,), which of them are of one thing: then calibration samples are those of one half of the things, and the others are
    what is not drawn.
    """
    rows, rest = _drawn(len(score), samples, draws, np.random.default_rng(seed), copies)
    found = {name: list[Outcome]() for name in rules}
    if ours_gap in rules.values():
        assert all(
            checked(score[one], loss[one], Promise(epsilon, DELTA)) for one in rows[:_CHECKED] for epsilon in EPSILONS
        )
    for epsilon in EPSILONS:
        promise = Promise(epsilon, DELTA)
        oracle = oracle_offload(score, loss, epsilon)
        for name, rule in rules.items():
            thresholds = [rule(score[one], loss[one], promise) for one in rows]
            lost, offload = at_thresholds(score, loss, np.array(thresholds))
            beyond = [
                float((loss * (score >= threshold))[other].mean()) > epsilon
                for threshold, other in zip(thresholds, rest, strict=True)
            ]
            found[name].append(Outcome(
                epsilon, draws, int((lost > epsilon).sum()), sum(beyond), float(offload.mean()), oracle, float(lost.mean()),
                float(lost.max()),
            ))  # fmt: skip
    return found


def _drawn(
    count: int, samples: int, draws: int, rng: np.random.Generator, copies: Array | None
) -> tuple[list[Array], list[Array]]:
    """Rows of the calibration samples of each draw, and which others it is judged by as well."""
    if copies is None:
        rows = [rng.integers(0, count, samples) for _ in range(draws)]
        return rows, [np.bincount(one, minlength=count) == 0 for one in rows]
    names, which = np.unique(copies, return_inverse=True)
    rest = [np.isin(which, rng.permutation(len(names))[: len(names) // 2]) for _ in range(draws)]
    return [rng.permutation(np.flatnonzero(~other))[:samples] for other in rest], rest


def at_thresholds(score: Array, loss: Array, thresholds: Array) -> tuple[Array, Array]:
    """What is lost, over all, and passed on at each of the thresholds (K,)."""
    order = np.argsort(score, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(loss[order][::-1].astype(np.float64))])
    kept = len(score) - np.searchsorted(score[order], thresholds, side="left")
    # Counts are whole numbers: sums of them in any order are exact.
    return total[kept] / len(score), 1 - kept / len(score)


def losses(disagree: Array, right: Array, upstream_right: Array) -> dict[str, Array]:
    """What is promised -> the loss of each sample that is kept."""
    gap = upstream_right.astype(np.float64) - right.astype(np.float64)
    return dict(zip(RULES, (disagree.astype(np.float64), gap), strict=True))

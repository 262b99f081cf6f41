"""Confidence intervals: exact formulas for proportions, the bootstrap for everything else."""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from edgewise.errors import DataError
from edgewise.runtime.engine import Array

__all__ = ["bootstrap", "clopper_pearson", "resamples", "wilson"]

Indices = npt.NDArray[np.intp]
RESAMPLES = 1000
_BISECTIONS = 60  # halves 0..1 below double precision


def wilson(successes: int, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval for a proportion (E. B. Wilson, JASA 22, 1927): close to nominal coverage even near 0 and 1."""
    _check(successes, samples)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / samples
    centre = share + z * z / (2 * samples)
    spread = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == samples else (centre + spread) / scale
    return low, high


def clopper_pearson(successes: int, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval for a proportion (Clopper and Pearson, Biometrika 26, 1934): never covers less than it says."""
    _check(successes, samples)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _solve(lambda p: 1 - _binomial_cdf(successes - 1, samples, p) - tail)
    high = 1.0 if successes == samples else _solve(lambda p: tail - _binomial_cdf(successes, samples, p))
    return low, high


def resamples(samples: int, group: Array | None, chance: np.random.Generator, count: int = RESAMPLES) -> list[Indices]:
    """Index sets drawn with replacement; with ``group`` (N,), whole groups are drawn, as correlated samples need."""
    if group is None:
        return [chance.integers(0, samples, samples) for _ in range(count)]
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    return [
        np.concatenate([members[at] for at in chance.integers(0, len(members), len(members))]) for _ in range(count)
    ]


def bootstrap(
    statistic: Callable[[Indices], float],
    samples: int,
    *,
    group: Array | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    count: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile interval of ``statistic`` over resampled index sets (Efron and Tibshirani 1993, chapter 13).

    Resamples for which the statistic is undefined (NaN: a class that was not drawn) are left out.
    """
    chance = np.random.default_rng(seed)
    values = np.array([statistic(indices) for indices in resamples(samples, group, chance, count)])
    values = values[np.isfinite(values)]
    if not len(values):
        raise DataError("the metric is undefined on every resample: there are too few samples of some class")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _check(successes: int, samples: int) -> None:
    if samples < 1 or not 0 <= successes <= samples:
        raise DataError(f"{successes} of {samples} is not a proportion")


def _binomial_cdf(successes: int, samples: int, p: float) -> float:
    """P(X <= successes); each term by logarithms, so that it neither overflows nor underflows early."""
    logs = [
        math.lgamma(samples + 1)
        - math.lgamma(k + 1)
        - math.lgamma(samples - k + 1)
        + k * math.log(p)
        + (samples - k) * math.log1p(-p)
        for k in range(successes + 1)
    ]
    return math.fsum(map(math.exp, logs))


def _solve(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2

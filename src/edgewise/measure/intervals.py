"""Confidence intervals of proportions by formula, and the exact test for two proportions measured on the same samples."""

import math
from collections.abc import Callable
from statistics import NormalDist

from edgewise.errors import DataError
from edgewise.runtime.engine import Array

__all__ = ["binomial_at_most", "clopper_pearson", "mcnemar_exact", "wilson"]

_BISECTIONS = 60  # halves 0..1 below double precision
_TERMS = 20_000  # of the continued fraction; it needs about the root of the number of samples
_TINY = 1e-300  # stands in for a zero denominator in Lentz's method


def wilson(successes: int, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval for a proportion: close to nominal coverage even near 0 and 1.

    With share p, n samples and the normal quantile z, the ends are ``(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)``
    (E. B. Wilson, Journal of the American Statistical Association 22, 1927). Raises DataError for what is no proportion.
    """
    _check(successes, samples, confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / samples
    centre = share + z * z / (2 * samples)
    spread = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == samples else (centre + spread) / scale
    return low, high


def clopper_pearson(successes: int, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval for a proportion (Clopper and Pearson, Biometrika 26, 1934): never covers less than it says.

    Wider than Wilson's; for few samples, and where a promise has to hold. Raises DataError for what is no proportion.
    """
    _check(successes, samples, confidence)
    tail, failures = (1 - confidence) / 2, samples - successes
    low = 0.0 if successes == 0 else _solve(lambda p: _beta_share(p, successes, failures + 1) - tail)
    high = 1.0 if failures == 0 else _solve(lambda p: _beta_share(p, successes + 1, failures) - (1 - tail))
    return low, high


def binomial_at_most(successes: int, samples: int, chance: float) -> float:
    """Probability of at most so many successes in ``samples`` independent trials of this chance each: the exact lower tail."""
    if successes < 0:
        return 0.0
    return 1.0 if successes >= samples else _beta_share(1 - chance, samples - successes, successes + 1)


def mcnemar_exact(first: Array, second: Array) -> float:
    """Two-sided p-value for "both are right equally often", by the samples on which they differ (McNemar, Psychometrika 12, 1947).

    first, second: (N,) of bool, right or wrong on the same samples. 1.0 where they never differ.
    Raises DataError where the two do not have the same samples.
    """
    if first.shape != second.shape or first.ndim != 1 or first.dtype != bool or second.dtype != bool:
        raise DataError(
            f"two arrays (N,) of bool are needed, not {first.dtype}{first.shape}, {second.dtype}{second.shape}"
        )
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    if gained == lost:
        return 1.0
    return min(1.0, 2 * binomial_at_most(min(gained, lost), gained + lost, 0.5))


def _check(successes: int, samples: int, confidence: float) -> None:
    if samples < 1 or not 0 <= successes <= samples:
        raise DataError(f"{successes} of {samples} is not a proportion")
    if not 0 < confidence < 1:
        raise DataError(f"a confidence lies between 0 and 1; {confidence} does not")


def _beta_share(x: float, a: int, b: int) -> float:
    """The regularised incomplete beta function I_x(a, b); DLMF 8.17.22, the fraction by Lentz's method."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x <= (a + 1) / (a + b + 2):
        return scale / a * _fraction(x, a, b)
    return 1 - scale / b * _fraction(1 - x, b, a)  # the mirror image converges faster there


def _fraction(x: float, a: int, b: int) -> float:
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    product = d
    for m in range(1, _TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _not_zero(1 + term * d), _not_zero(1 + term / c)
            product *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return product


def _not_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY


def _solve(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2

"""How many of upstream's answers a threshold is learnt from: a number where the exact test has just become more lenient. Pure.

The test allows k disagreements among n samples, the largest k for which P(Bin(n, epsilon) <= k) is at most delta. k is a whole
number, so that between two of its steps more samples buy nothing: at one point and 95 %, 1,000 allow 4 and 1,049 allow 5. A
number just after a step, fixed before anything is seen, costs a few samples and keeps noticeably more.
"""

import math
from functools import lru_cache

__all__ = ["allowed", "pairs_after"]

_SMALL = 1e-18


def allowed(samples: int, epsilon: float, delta: float) -> int:
    """The most disagreements among so many samples that still reject "epsilon or more"; -1 where even none does not."""
    low, high = -1, math.ceil(samples * epsilon)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _at_most(middle, samples, epsilon) <= delta else (low, middle)
    return low


@lru_cache(maxsize=64)
def pairs_after(samples: int, epsilon: float, delta: float) -> int:
    """The least number, not below ``samples``, that allows a disagreement more than the number before it."""
    least = max(samples, 1)
    before = allowed(least - 1, epsilon, delta)
    low, high = least - 1, 2 * least + math.ceil(-4 * math.log(delta) / epsilon)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if allowed(middle, epsilon, delta) > before else (middle, high)
    return high


def _at_most(count: int, samples: int, chance: float) -> float:
    """P(Bin(samples, chance) <= count) for a count below the mean, where the terms fall geometrically from the last one on."""
    term = math.exp(
        math.lgamma(samples + 1) - math.lgamma(count + 1) - math.lgamma(samples - count + 1)
        + count * math.log(chance) + (samples - count) * math.log1p(-chance)
    )  # fmt: skip
    total = 0.0
    while count >= 0 and term > _SMALL * total:
        total += term
        term *= count / (samples - count + 1) * (1 - chance) / chance
        count -= 1
    return total

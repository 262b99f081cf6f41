"""What a user asks for, and how far a measured model is from it. Pure."""

import math
from dataclasses import dataclass
from typing import Any

from edgewise.compress.search.gate import Verdict
from edgewise.errors import InputError

__all__ = ["NO_SLOWER", "Budget", "Measured"]

NO_SLOWER = 1.05
"""Where nothing else is asked for, a form that is slower than the model as it came is not what anybody means by compressed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What budgets are held against. size: bytes. latency: p50 in units of the original's. peak: resident bytes, if asked for."""

    size: int
    latency: float
    verdict: Verdict
    peak: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """drop: points of accuracy. size, rss: bytes. latency: of the original's. None: no limit. Raises InputError below 0."""

    drop: float = 0.5
    size: int | None = None
    latency: float | None = NO_SLOWER
    rss: int | None = None

    def __post_init__(self) -> None:
        limits = {"--max-size": self.size, "--max-latency-ratio": self.latency, "--max-rss": self.rss}
        faults = [
            f"{name} is above 0, not {value:g}" for name, value in limits.items() if value is not None and not value > 0
        ]
        faults += [] if 0 <= self.drop < math.inf else [f"--max-drop is not negative, not {self.drop:g}"]
        if faults:
            raise InputError("; ".join(faults))

    def unmet(self, found: Measured) -> tuple[str, ...]:
        """Why ``found`` does not do, in words; empty where it does."""
        verdict, words = found.verdict, []
        if not verdict.passes:
            chance = "" if verdict.p_value is None else f" (p = {verdict.p_value:.2g})"
            words.append(
                f"drop {verdict.drop:.2f}" + (f", significant{chance}" if verdict.significant else f" > {self.drop:g}")
            )
        if self.size is not None and found.size > self.size:
            words.append(f"{found.size} bytes > {self.size}")
        if self.latency is not None and found.latency > self.latency:
            words.append(f"latency {found.latency:.2f} > {self.latency:g}")
        if self.rss is not None and (found.peak is None or found.peak > self.rss):
            words.append(f"memory {found.peak or 0} > {self.rss}")
        return tuple(words)

    def excess(self, found: Measured) -> float:
        """How far from all that is asked, 0 where everything is met: doublings over each limit, and points lost too many."""
        over = [
            math.log2(value / limit)
            for value, limit in ((found.size, self.size), (found.latency, self.latency), (found.peak, self.rss))
            if value is not None and limit is not None and value > limit
        ]
        lost = max(0.0, found.verdict.drop - self.drop)
        # A drop within the limit that is significant all the same is a fault, if a small one.
        return sum(over) + lost + (0.5 if found.verdict.significant else 0.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "maxDropPoints": self.drop, "maxBytes": self.size, "maxLatencyRatio": self.latency, "maxPeakRssBytes": self.rss,
        }  # fmt: skip

"""Which of several measured models are worth having. Pure.

Two rules. A simpler model is left for a less simple one only where that is better by more than the noise of measuring: a longer
chain that is as good within noise, or worse, never wins. And among what is left, nobody is beaten in everything.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgewise.errors import InputError

__all__ = ["Point", "best", "dominates", "fronts", "order_of", "pareto_front"]

# Differences below these are noise: p50 of two runs of one model in turns differ by so much on a busy machine; a percent of the
# bytes and a fifth of a point are no reason to prefer a longer chain.
_LATENCY, _BYTES, _SCORE = 1.03, 1.01, 0.002


@dataclass(frozen=True, slots=True)
class Point:
    """One measured model. name: tells it from the others. steps: passes in its chain. size: bytes of the file.

    latency: p50 in units of the original's, measured in turns with it. score: the task's figure, the higher the better (errors
    come negated), in parts of one. Raises InputError for what no measurement gives.
    """

    name: str
    steps: int
    size: int
    latency: float
    score: float

    def __post_init__(self) -> None:
        if self.size < 1 or self.steps < 0 or not 0 < self.latency < math.inf or not math.isfinite(self.score):
            raise InputError(
                f"{self.name} was not measured: {self.size} bytes, latency {self.latency}, score {self.score}"
            )


def dominates(first: Point, second: Point) -> bool:
    """Whether ``first`` is nowhere worse than ``second`` and somewhere better, by the numbers as they are."""
    nowhere_worse = first.size <= second.size and first.latency <= second.latency and first.score >= second.score
    return nowhere_worse and (first.size, first.latency, first.score) != (second.size, second.latency, second.score)


def order_of(point: Point, original: int) -> tuple[float, int, str]:
    """What ``best`` sorts by: the geometric mean of size and latency in parts of the original's; then simplicity, then name."""
    return math.sqrt(point.size / original * point.latency), point.steps, point.name


def pareto_front(points: Iterable[Point]) -> tuple[Point, ...]:
    """The models worth having, the smallest first: see the head of this module. Never empty for points that are not."""
    ordered = sorted(points, key=lambda point: (point.steps, point.size, point.latency, -point.score, point.name))
    kept = [point for at, point in enumerate(ordered) if not any(_as_good(simpler, point) for simpler in ordered[:at])]
    front = [point for point in kept if not any(dominates(other, point) for other in kept)]
    return tuple(sorted(front, key=lambda point: (point.size, point.latency, point.name)))


def fronts(points: Sequence[Point]) -> list[list[Point]]:
    """Every point in layers: those that nobody dominates, those that only they dominate, and so on (Deb et al. 2002, NSGA-II)."""
    left, layers = list(points), []
    while left:
        layer = [point for point in left if not any(dominates(other, point) for other in left)]
        layers.append(layer)
        left = [point for point in left if point not in layer]
    return layers


def best(points: Iterable[Point], original: int) -> Point | None:
    """The one that saves most bytes and time together, each counting the same; None where there is no point.

    original: bytes of the model as it came.
    """
    return min(pareto_front(points), key=lambda point: order_of(point, original), default=None)


def _as_good(simpler: Point, other: Point) -> bool:
    return (
        simpler.size <= other.size * _BYTES
        and simpler.latency <= other.latency * _LATENCY
        and simpler.score >= other.score - _SCORE
    )

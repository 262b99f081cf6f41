"""Successive halving: many candidates with little effort, the better ones with more. Pure (Jamieson and Talwalkar 2016).

The score has three sides (bytes, time, accuracy), so who goes on is decided in layers: what nobody beats in everything goes
first. What is out of reach of what is asked for goes last, the nearer the earlier. Of accuracy a little may be lacking, less from
rung to rung, since a few more epochs still mend something.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.compress.search.pareto import Point, fronts, order_of
from edgewise.errors import InputError

__all__ = ["LEAST", "Effort", "Rung", "Wanted", "climb", "ladder"]

_SLACK = 0.08  # accuracy that later rungs may win back, in parts of one; a third of it with each rung
_ETA = 3  # of how many one goes on


@dataclass(frozen=True, slots=True)
class Effort:
    """What a candidate is given: passes over the data while it learns, and how many samples it may look at."""

    epochs: int
    samples: int


LEAST = Effort(3, 2000)
"""Less says nothing of what more would do: what lost several points on a few hundred samples may lose none on all of them."""


@dataclass(frozen=True, slots=True)
class Rung:
    """effort: of every candidate here. kept: how many go on from here; 0 on the last rung, where nothing is decided."""

    effort: Effort
    kept: int
    slack: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to be reached in the end. score: at least. size: bytes, latency: of the original's, at most; None for no limit."""

    score: float
    size: int | None = None
    latency: float | None = None

    def lacks(self, point: Point, slack: float = 0.0) -> float:
        """How far ``point`` is from it, 0 within reach: points of the score below, doublings of the others above."""
        over = 0.0
        if self.size is not None and point.size > self.size:
            over += math.log2(point.size / self.size)
        if self.latency is not None and point.latency > self.latency:
            over += math.log2(point.latency / self.latency)
        return over + max(0.0, self.score - slack - point.score) * 100


def ladder(
    candidates: int, most: Effort, *, finalists: int = 6, eta: int = _ETA, least: Effort = LEAST
) -> tuple[Rung, ...]:
    """Rungs from little effort to ``most``; on each about one in ``eta`` goes on, on the last at most ``finalists`` are left.

    Raises InputError where there is nothing to try.
    """
    if candidates < 1 or most.epochs < 1 or most.samples < 1 or finalists < 1 or eta < 2:
        raise InputError(
            "a search needs a candidate, an epoch, a sample and a finalist, and more than one for one that goes on"
        )
    counts = [candidates]
    while counts[-1] > finalists:
        counts.append(max(finalists, math.ceil(counts[-1] / eta)))
    rungs = []
    for at in range(len(counts)):
        share = eta ** -(len(counts) - 1 - at)
        effort = Effort(
            min(most.epochs, max(least.epochs, round(most.epochs * share))),
            min(most.samples, max(least.samples, round(most.samples * share))),
        )
        rungs.append(Rung(effort, counts[at + 1] if at + 1 < len(counts) else 0, _SLACK / eta**at))
    return tuple(rungs)


def climb(
    points: Sequence[Point], count: int, wanted: Wanted, *, original: int, slack: float = 0.0
) -> tuple[str, ...]:  # fmt: skip
    """Names of the ``count`` points that go on, the best first. No point goes on before one that dominates it.

    slack: how far below the wanted score still counts as within reach. original: bytes of the model as it came.
    """
    lacking = {point.name: wanted.lacks(point, slack) for point in points}
    near = [point for point in points if not lacking[point.name]]
    far = [point for point in points if lacking[point.name]]
    ranked = [point for layer in fronts(near) for point in sorted(layer, key=lambda point: order_of(point, original))]

    def distance(point: Point) -> tuple[float, float, float, int, str]:
        saved, steps, name = order_of(point, original)
        return lacking[point.name], saved, -point.score, steps, name

    ranked += sorted(far, key=distance)
    return tuple(point.name for point in ranked[:count])

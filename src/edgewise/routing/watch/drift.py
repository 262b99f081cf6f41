"""Whether inputs still look like those of calibration time, by the scores that the device computes anyway: no labels. Pure.

**Conformal test martingales** (Vovk, Nouretdinov, Gammerman 2003; Volkhonskiy et al. 2017, arXiv 1706.03415). If scores go on
being drawn as before, in no order that matters, then the rank of each new one among all earlier ones is uniform and independent
of the past, whatever their distribution. A gambler who bets on ranks gains nothing on the mean; once scores change he does.

**In bins, exactly.** Only the places of some calibration scores are stored (*edges*): n scores leave n + 1 gaps, of which bin b has
g_b, and a new score falls into each gap alike. Where it falls there is one gap more. So the bins that scores fall into follow
Polya's urn: after t scores, the next one is in bin b with probability p(b) = (g_b + those of the t in b) / (n + 1 + t). That is
exact for every n, and needs no more than bins and counts: what was calibrated with few scores is not mistaken for a change,
as it would be if the calibration were taken for the truth, and what comes later sharpens the picture. Equal scores are put in
order by a coin each (smoothed ranks, Vovk, Gammerman, Shafer 2005), so that a score that is often 1 does no harm.

**Bets.** Of what is in bin b, a gambler who says q(b) gets q(b) / p(b). Six say that scores fall or rise, a little or much
(power martingales: the k-th power of a uniform rank); one says what the last hundred scores were (histogram betting), which
finds any other change. When fortunes begin anew, and what that means for false alarms, is in ``restarts``.

**What it cannot see.** An input on which the device errs with the usual confidence has the usual score. A change of that kind
leaves no trace here at all: ``audit`` finds it, and needs upstream's answers for that. And not every change that is found here
breaks a promise; but what it rested on, that inputs are drawn as they were, is no longer so.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.errors import DataError
from edgewise.routing.watch.restarts import Restarts, Way
from edgewise.runtime.engine import Array

__all__ = ["Drift", "Sketch", "begin_drift", "read_drift", "read_sketch", "sketch"]

_BINS = 16
_POWERS = (0.35, 0.7, 1.5)  # of a uniform rank: below 1, the less the more often it is small; above 1, more seldom
_BETS = 2 * len(_POWERS) + 1
_SHRUNK = 8.0  # scores that the histogram's gambler adds to those of late, drawn as before: he never says "impossible"
_BLOCK = 64  # scores
_RICH = 1e100
_MOST = 1 << 52  # of any count

Edge = tuple[float, float]  # a score and its coin


@dataclass(frozen=True, slots=True)
class Sketch:
    """Calibration scores in some hundred bytes. edges: ascending, one fewer than bins. gaps: of each bin, see above."""

    edges: tuple[Edge, ...]
    gaps: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {"edges": [list(edge) for edge in self.edges], "gaps": list(self.gaps)}


def sketch(scores: Array, chance: np.random.Generator, bins: int = _BINS) -> Sketch:
    """Of calibration scores (N,), finite, N at least twice ``bins``. chance: puts equal scores in order.

    Raises DataError where they are too few or not finite.
    """
    if (
        scores.ndim != 1
        or scores.dtype.kind != "f"
        or len(scores) < 2 * bins
        or bins < 2
        or not np.isfinite(scores).all()
    ):
        raise DataError(
            f"a sketch in {bins} bins is of {2 * bins} or more finite scores (N,), not {scores.dtype}{scores.shape}"
        )
    coins = chance.random(len(scores))
    order = np.lexsort((coins, scores))
    places = [round(k * (len(scores) + 1) / bins) for k in range(bins + 1)]  # in gaps
    edges = tuple((float(scores[order[place - 1]]), float(coins[order[place - 1]])) for place in places[1:-1])
    return Sketch(edges, tuple(high - low for low, high in pairwise(places)))


@dataclass(frozen=True, slots=True)
class _Plan:
    """powers: for each gambler by powers, what he says of each bin, over its share of the gaps."""

    sketch: Sketch
    restarts: Restarts
    powers: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """A state; every method gives the next one.

    fortunes: of the seven gamblers, without what is aside. seen: scores in each bin. late: of this block, and the one before.
    drifted: the alarm was raised, for good.
    """

    plan: _Plan
    fortunes: tuple[float, ...]
    seen: tuple[int, ...]
    late: tuple[tuple[int, ...], tuple[int, ...]]
    drifted: bool = False

    @property
    def inputs(self) -> int:
        return sum(self.seen)

    @property
    def e_value(self) -> float:
        return sum(self.fortunes) + self.plan.restarts.aside(self.inputs // self.plan.restarts.length)

    @property
    def rank(self) -> float:
        """The mean rank of the last scores, of one block or two: 0.5 if nothing changed, low where the device is less sure."""
        gaps, late = self.plan.sketch.gaps, [sum(pair) for pair in zip(*self.late, strict=True)]
        ends = list(accumulate(gaps, initial=0))
        middles = [(low + high) / 2 / ends[-1] for low, high in pairwise(ends)]
        return (
            sum(count * middle for count, middle in zip(late, middles, strict=True)) / sum(late) if any(late) else 0.5
        )

    def observe(self, score: float, coin: float) -> "Drift":
        """One new score, finite, with a coin in 0..1 that nothing else depends on but, perhaps, whether it is audited."""
        return self.observe_all([(score, coin)])

    def observe_all(self, scores: Iterable[Edge]) -> "Drift":
        """New scores in their order, each with its coin: many at once cost less each."""
        plan, restarts = self.plan, self.plan.restarts
        fortunes, seen, now, before = list(self.fortunes), list(self.seen), list(self.late[0]), list(self.late[1])
        urn = [gaps + count for gaps, count in zip(plan.sketch.gaps, seen, strict=True)]
        total, inputs, recent, drifted = sum(urn), sum(seen), sum(now) + sum(before), self.drifted
        sums = [sum(map(float.__mul__, power, map(float, urn))) for power in plan.powers]
        aside = restarts.aside(inputs // restarts.length)
        for edge in scores:
            at = bisect_right(plan.sketch.edges, edge)
            fortunes[-1] *= ((now[at] + before[at]) * total / urn[at] + _SHRUNK) / (recent + _SHRUNK)
            for j, power in enumerate(plan.powers):
                fortunes[j] = min(fortunes[j] * power[at] * total / sums[j], _RICH)
                sums[j] += power[at]
            fortunes[-1] = min(fortunes[-1], _RICH)
            urn[at], seen[at], now[at] = urn[at] + 1, seen[at] + 1, now[at] + 1
            total, inputs, recent = total + 1, inputs + 1, recent + 1
            drifted = drifted or sum(fortunes) + aside >= restarts.bar
            if inputs % restarts.length == 0:
                block = inputs // restarts.length
                fresh, aside = restarts.begins(block) / _BETS, restarts.aside(block)
                fortunes = [fortune + fresh for fortune in fortunes]
                now, before, recent = [0] * len(now), now, sum(now)
        return Drift(plan, tuple(fortunes), tuple(seen), (tuple(now), tuple(before)), drifted)

    def to_json(self) -> dict[str, Any]:
        """For ``read_drift``."""
        return {
            "sketch": self.plan.sketch.to_json(), "restarts": self.plan.restarts.to_json(), "fortunes": list(self.fortunes),
            "seen": list(self.seen), "late": [list(part) for part in self.late], "drifted": self.drifted,
        }  # fmt: skip


def begin_drift(sketch: Sketch, alpha: float = 0.01, *, way: Way = "spending", block: int = _BLOCK) -> Drift:
    """A watch over scores drawn as those of ``sketch``, which has seen nothing yet. alpha: see ``restarts``."""
    restarts, nothing = Restarts(way, block, alpha), (0,) * len(sketch.gaps)
    return Drift(_plan(sketch, restarts), (restarts.begins(0) / _BETS,) * _BETS, nothing, (nothing, nothing))


def read_sketch(value: Any, path: str = "") -> Sketch:
    """From what ``Sketch.to_json`` gave. Raises DocumentError with everything that is wrong."""
    form = Form(value, "sketch of scores", path)
    found = _sketch(form)
    form.finish()
    return found


def read_drift(value: Any, path: str = "") -> Drift:
    """From what ``Drift.to_json`` gave. Raises DocumentError with everything that is wrong."""
    form = Form(value, "drift watch", path)
    drawn, restarts = form.child("sketch", _sketch), form.child("restarts", Restarts.read)
    bins = len(drawn.gaps) if drawn else 0
    fortunes = form.values("fortunes", lambda item: _is_number(item) and 0 <= item <= _RICH, "a fortune", limit=_BETS)
    seen = form.values("seen", _is_count, "a count", limit=_BINS * 16)
    late = form.values(
        "late",
        lambda part: isinstance(part, list) and len(part) == bins and all(map(_is_count, part)),
        "counts",
        limit=2,
    )
    drifted = form.anything("drifted")
    if drawn is None or restarts is None:
        form.problem("sketch", "a sketch and restarts are needed")
    if len(fortunes) != _BETS or len(seen) != bins or len(late) != 2 or not isinstance(drifted, bool):
        form.problem(
            "fortunes", f"{_BETS} fortunes, {bins} counts seen, two of late, and true or false for drifted are needed"
        )
    form.finish()
    assert drawn is not None
    assert restarts is not None
    if sum(late[0]) != sum(seen) % restarts.length or any(a + b > c for a, b, c in zip(*late, seen, strict=True)):
        form.problem("late", "does not fit what was seen")
    form.finish()
    return Drift(
        _plan(drawn, restarts), tuple(map(float, fortunes)), tuple(seen), (tuple(late[0]), tuple(late[1])), drifted
    )


def _sketch(form: Form) -> Sketch:
    def is_edge(item: Any) -> bool:
        return isinstance(item, list) and len(item) == 2 and all(map(_is_number, item)) and 0 <= item[1] <= 1

    edges = form.values("edges", is_edge, "a score and a coin", limit=_BINS * 16)
    gaps = form.values("gaps", lambda item: _is_count(item) and item > 0, "a count of at least 1", limit=_BINS * 16)
    if len(gaps) < 2 or len(edges) != len(gaps) - 1:
        form.problem("edges", "one fewer than gaps, of which there are two or more, is needed")
    if form.problems:
        return Sketch(((0.0, 0.0),), (1, 1))
    found = tuple((float(score), float(coin)) for score, coin in edges)
    if list(found) != sorted(found):
        form.problem("edges", "they do not ascend")
    return Sketch(found, tuple(gaps))


def _is_number(item: Any) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item)


def _is_count(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= _MOST


def _plan(sketch: Sketch, restarts: Restarts) -> _Plan:
    ends = [end / sum(sketch.gaps) for end in accumulate(sketch.gaps, initial=0)]
    powers = []
    for power in _POWERS:
        falling = [(b**power - a**power) / (b - a) for a, b in pairwise(ends)]
        rising = [((1 - a) ** power - (1 - b) ** power) / (b - a) for a, b in pairwise(ends)]
        powers += [tuple(falling), tuple(rising)]
    return _Plan(sketch, restarts, tuple(powers))

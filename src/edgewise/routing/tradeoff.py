"""What asking buys: the share that is passed on against what device and upstream get right together. Pure.

One curve for each variant, from "everything is answered here" to "everything goes upstream"; on it, or beside it, the ways to
split the work that people compare: the threshold that was chosen, the one that an oracle would choose, the one that is tuned
without a promise, and the two ends.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgewise.routing.fitting.types import Calibrated, Fit, Loss, Point
from edgewise.runtime.engine import Array

__all__ = ["METRICS", "NAMES", "Curve", "Kind", "Mark", "Tradeoff", "shown_ticks", "tradeoff_of"]

Kind = Literal["chosen", "oracle", "naive", "here", "upstream"]
#: What each kind of mark is called where people read it.
NAMES: dict[Kind, str] = {
    "chosen": "chosen", "oracle": "oracle", "naive": "tuned without a promise", "here": "all on the device",
    "upstream": "all upstream",
}  # fmt: skip
#: What a promise is about -> the quality that is shown, 0..1: upstream's less what is lost.
METRICS: dict[Loss, str] = {"disagreement": "agreement", "gap": "accuracy", "loss": "worth"}
_POINTS = 200  # of a curve: more than a screen shows
_DEEP = 25  # times epsilon below upstream: what lies lower is shown at the edge, or the promise could not be seen
_TICKS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Mark:
    """One way to split the work: the share that is passed on, and the quality of the answers of both together; 0..1 each."""

    kind: Kind
    offload: float
    quality: float


@dataclass(frozen=True, slots=True)
class Curve:
    """All thresholds of one variant, the strictest first: offload falls from 1 to 0."""

    variant: str
    offload: tuple[float, ...]
    quality: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """metric: what quality is, in words. base: upstream's own. epsilon: how far below it the promise reaches.

    curves: one for each variant, that of the chosen one first.
    """

    metric: str
    base: float
    epsilon: float
    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...]

    def range(self) -> tuple[float, float]:
        """Lowest and highest quality that a picture shows."""
        values = [value for curve in self.curves for value in curve.quality] + [mark.quality for mark in self.marks]
        low = max(min([*values, self.base - 2 * self.epsilon]), self.base - _DEEP * self.epsilon)
        high = max([*values, self.base])
        room = 0.06 * (high - low)
        return low - room, high + room


def tradeoff_of(calibrated: Calibrated) -> Tradeoff:
    """What was fitted, as it is drawn: the chosen one's marks, and the curves of all whose promise is about the same."""
    chosen = calibrated.chosen
    base = chosen.upstream.accuracy if chosen.loss == "gap" and chosen.upstream.accuracy is not None else 1.0
    others = [fit for fit in (*calibrated.each, calibrated.cascade) if fit is not None and fit is not chosen]
    curves = [_curve(fit, base) for fit in (chosen, *(fit for fit in others if fit.loss == chosen.loss))]
    points: tuple[tuple[Kind, Point], ...] = (
        ("chosen", chosen.chosen), ("oracle", chosen.oracle), ("naive", chosen.naive), ("here", chosen.local),
        ("upstream", chosen.upstream),
    )  # fmt: skip
    marks = tuple(Mark(kind, point.offload, base - point.lost) for kind, point in points)
    return Tradeoff(METRICS[chosen.loss], base, chosen.promise.epsilon, tuple(curves), marks)


def _curve(fit: Fit, base: float) -> Curve:
    at: Array = np.arange(len(fit.curve.offload))
    if len(at) > _POINTS:
        at = np.unique(np.linspace(0, len(at) - 1, _POINTS).astype(int))
    return Curve(fit.name, tuple(fit.curve.offload[at].tolist()), tuple((base - fit.curve.lost[at]).tolist()))


def shown_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round numbers between ``low`` and ``high``, at most ``most``."""
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * times for times in _TICKS if power * times >= rough * (1 - 1e-9))
    first = np.ceil(low / step - 1e-9)
    count = int(np.floor(high / step + 1e-9) - first) + 1
    return tuple(float(round((first + at) * step, 12)) for at in range(count))

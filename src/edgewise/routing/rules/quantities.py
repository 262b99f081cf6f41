"""Rules for numbers: how far an anomaly score is from where it decides, how wide the interval of a prediction is.

*Intervals* come from a model that gives two quantiles, made honest by what they missed on other samples (conformalised quantile
regression: Romano, Patterson, Candes 2019, arXiv 1905.03222); or, where a model gives one number, from how far such predictions
were off (locally weighted conformal prediction: Lei et al. 2018, arXiv 1604.04173, section 5.2). The narrower, the surer.
"""

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.records import dataclass
from edgewise.routing.rules.curve import Curve, read_curve
from edgewise.routing.rules.source import NOT_SURE, Need, NeedyRule, Source, finite, read_source
from edgewise.runtime.engine import Array

__all__ = ["IntervalWidth", "ResidualScale", "ThresholdDistance", "read"]

_LARGEST = 1e30
_COLUMNS = 65_536


@final
@dataclass(frozen=True, slots=True)
class ThresholdDistance:
    """Of an anomaly score: its distance from ``cut``, from which on a sample counts as one, over ``above`` or ``below``: the
    distances that are usual on that side, so that both count alike.
    """

    source: Source
    cut: float
    above: float = 1.0
    below: float = 1.0

    @property
    def name(self) -> str:
        return "threshold-distance"

    def score(self, outputs: Mapping[str, Array]) -> float:
        found = self.source.first(outputs) - self.cut
        return (found / self.above if found >= 0 else found / -self.below) if found - found == 0.0 else NOT_SURE

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        found = self.source.rows(outputs)[:, 0] - self.cut
        return finite(np.where(found >= 0, found / self.above, found / -self.below))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "of": self.source.to_json(), "cut": self.cut, "above": self.above, "below": self.below,
        }  # fmt: skip

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output),)


@final
@dataclass(frozen=True, slots=True)
class IntervalWidth:
    """Of two quantiles: the width of the interval, negative. lower, upper: where they are, and in which column of a row; the
    same output may have both. margin: what each end is moved outwards. Of a model that predicts several numbers: the widest.
    """

    lower: Source
    upper: Source
    lower_column: int | None = None
    upper_column: int | None = None
    margin: float = 0.0

    @property
    def name(self) -> str:
        return "interval-width"

    def score(self, outputs: Mapping[str, Array]) -> float:
        return self.scores(outputs).item(0)

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        low, high = self.ends(outputs)
        with np.errstate(invalid="ignore"):
            return finite(-(high - low).max(axis=1))

    def ends(self, outputs: Mapping[str, Array]) -> tuple[Array, Array]:
        """(N, values) lower and upper ends, ``margin`` included."""
        low, high = self.lower.rows(outputs), self.upper.rows(outputs)
        if self.lower_column is not None:
            low = low[:, self.lower_column : self.lower_column + 1]
        if self.upper_column is not None:
            high = high[:, self.upper_column : self.upper_column + 1]
        return low - self.margin, high + self.margin

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"name": self.name, "lower": self.lower.to_json(), "upper": self.upper.to_json()}
        if self.lower_column is not None:
            value["lowerColumn"] = self.lower_column
        if self.upper_column is not None:
            value["upperColumn"] = self.upper_column
        return {**value, "margin": self.margin}

    def needs(self) -> tuple[Need, ...]:
        return tuple(
            Need(source.output, least=0 if column is None else column + 1)
            for source, column in ((self.lower, self.lower_column), (self.upper, self.upper_column))
        )


@final
@dataclass(frozen=True, slots=True)
class ResidualScale:
    """Of one number: the width of the interval that predictions like it had, negative. scale: prediction -> how far such ones are
    off; factor: how many of those an interval is wide to each side.
    """

    source: Source
    scale: Curve
    factor: float = 1.0

    @property
    def name(self) -> str:
        return "residual-scale"

    def score(self, outputs: Mapping[str, Array]) -> float:
        found = self.source.first(outputs)
        return -2 * self.factor * self.scale.one(found) if found - found == 0.0 else NOT_SURE

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        return finite(-2 * self.factor * self.scale.many(self.source.rows(outputs)[:, 0]))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "of": self.source.to_json(), "scale": self.scale.to_json(), "factor": self.factor,
        }  # fmt: skip

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output),)


def read(name: str, form: Form) -> NeedyRule:
    """The rule ``name`` as ``to_json`` gives it; notes every problem in ``form``."""
    if name == "interval-width":
        lower, upper = (read_source(form, side, ("values",)) for side in ("lower", "upper"))
        low, high = (_column(form, field) for field in ("lowerColumn", "upperColumn"))
        margin = form.number("margin", low=-_LARGEST, high=_LARGEST, default=0.0)
        return IntervalWidth(lower, upper, low, high, margin)
    source = read_source(form, forms=("values",))
    if name == "residual-scale":
        return ResidualScale(
            source, read_curve(form, "scale"), form.number("factor", low=0, high=_LARGEST, default=1.0)
        )
    cut = form.number("cut", low=-_LARGEST, high=_LARGEST)
    above, below = (form.number(side, low=1 / _LARGEST, high=_LARGEST, default=1.0) for side in ("above", "below"))
    return ThresholdDistance(source, cut, above, below)


def _column(form: Form, field: str) -> int | None:
    found = form.integer(field, low=-1, high=_COLUMNS, default=-1)
    return None if found < 0 else found

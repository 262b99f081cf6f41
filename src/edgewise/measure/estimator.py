"""A metric before its interval is made: the statistic and how its samples are drawn."""

from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.intervals import wilson
from edgewise.measure.metric import Metric
from edgewise.measure.resampling import Drawing, Statistic, bootstrap, paired_bootstrap
from edgewise.runtime.engine import Array

__all__ = ["Estimator", "difference_of", "mean_of", "share_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Estimator:
    """What a metric makes of one model's outputs.

    hits: (N,) of bool where the metric is a proportion, which has a formula. strata, width: as in ``Drawing``.
    """

    name: str
    statistic: Statistic
    samples: int
    hits: Array | None = None
    strata: Array | None = None
    width: int = 0
    method: str = "bootstrap"
    higher_is_better: bool = True

    def value(self) -> float:
        """The metric on all samples. Raises DataError where it is undefined."""
        value = float(self.statistic(np.ones((1, self.samples)))[0])
        if not np.isfinite(value):
            raise DataError(f"{self.name} is undefined on this data: it needs samples of more than one class")
        return value

    def metric(
        self, group: Array | None = None, *, confidence: float = 0.95, chance: np.random.Generator | None = None
    ) -> Metric:
        """With its interval: by formula for independent proportions, else from resamples drawn by ``chance`` (default: seed 0).

        An end that the resamples put on the wrong side of the value is moved to the value.
        """
        value = self.value()
        if self.hits is not None and group is None:
            low, high = wilson(int(self.hits.sum()), self.samples, confidence)
            method = "wilson"
        else:
            chance = chance or np.random.default_rng(0)
            low, high = bootstrap(self.statistic, self._drawing(group), chance=chance, confidence=confidence)
            method = self.method if group is None else "bootstrap over groups"
        return Metric(
            self.name, value, min(low, value), max(high, value), self.samples, method, confidence, self.higher_is_better
        )

    def _drawing(self, group: Array | None) -> Drawing:
        return Drawing(self.samples, group, self.strata, self.width)


def difference_of(
    first: Estimator,
    second: Estimator,
    group: Array | None = None,
    *,
    confidence: float = 0.95,
    chance: np.random.Generator | None = None,
) -> Metric:
    """``second - first`` of one metric, measured on the same samples, with the interval of the paired bootstrap."""
    if first.name != second.name or first.samples != second.samples:
        raise DataError("a difference is taken between two results of one metric on the same samples")
    value = second.value() - first.value()
    drawing = Drawing(first.samples, group, first.strata, max(first.width, second.width))
    chance = chance or np.random.default_rng(0)
    low, high = paired_bootstrap(first.statistic, second.statistic, drawing, chance=chance, confidence=confidence)
    method = "paired bootstrap" if group is None else "paired bootstrap over groups"
    return Metric(
        f"{first.name} difference", value, min(low, value), max(high, value), first.samples, method, confidence,
        first.higher_is_better,
    )  # fmt: skip


def mean_of(values: Array) -> Statistic:
    """The weighted mean of ``values`` (N,)."""
    numbers = values.astype(np.float64)
    return lambda weights: (weights @ numbers) / weights.sum(axis=1)


def share_of(name: str, hits: Array) -> Estimator:
    """A proportion: ``hits`` (N,) of bool."""
    return Estimator(name, mean_of(hits), len(hits), hits=hits)

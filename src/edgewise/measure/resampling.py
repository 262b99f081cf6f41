"""The bootstrap: intervals for everything that has no formula (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

A resample is a row of weights: how often each sample was drawn. A statistic takes a block of such rows and gives a number for
each, so a thousand resamples are a few array operations; blocks bound the memory. Drawing whole groups and drawing within
strata are only other ways to make the rows. NaN is a statistic's word for "undefined on this resample".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgewise.errors import DataError
from edgewise.runtime.engine import Array

__all__ = ["RESAMPLES", "Drawing", "Statistic", "Weights", "bootstrap", "paired_bootstrap"]

Weights = npt.NDArray[np.float64]
Statistic = Callable[[Weights], npt.NDArray[np.float64]]
"""(B, N) weights -> (B,) values."""

RESAMPLES = 1000
_BLOCK = 1 << 20  # values in a block: 8 MiB of float64


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """How resamples of ``samples`` samples are drawn.

    group: (N,) labels or None; whole groups are drawn, as correlated samples need (the recordings of one person).
    strata: (N,) labels or None; drawn within each, so that their sizes stay. Passed over where there are groups.
    width: values that the statistic makes of one row of weights, where that is more than N; it bounds the blocks.
    Raises DataError where there are not two things to draw from: an interval of one would be of width 0, and false.
    """

    samples: int
    group: Array | None = None
    strata: Array | None = None
    width: int = 0

    def __post_init__(self) -> None:
        for name, labels in (("group", self.group), ("strata", self.strata)):
            if labels is not None and labels.shape != (self.samples,):
                raise DataError(
                    f"{name} has the shape {labels.shape}; one label for each of {self.samples} samples is needed"
                )
        if self.samples < 2 or (self.group is not None and len(np.unique(self.group)) < 2):
            raise DataError(
                f"an interval cannot be drawn from a single {'group' if self.samples > 1 else 'sample'}",
                remedy="Pass more data, or leave the groups out if its samples are independent.",
            )

    def blocks(self, chance: np.random.Generator, count: int) -> Iterator[Weights]:
        """``count`` rows of weights in all, in blocks (B, N)."""
        size = max(1, _BLOCK // max(self.samples, self.width))
        for start in range(0, count, size):
            yield self._rows(chance, min(size, count - start))

    def _rows(self, chance: np.random.Generator, rows: int) -> Weights:
        if self.group is not None:
            names, member = np.unique(self.group, return_inverse=True)
            return _counts(chance, rows, len(names))[:, member]
        if self.strata is None:
            return _counts(chance, rows, self.samples)
        weights = np.empty((rows, self.samples))
        for name in np.unique(self.strata):
            members = np.flatnonzero(self.strata == name)
            weights[:, members] = _counts(chance, rows, len(members))
        return weights


def bootstrap(
    statistic: Statistic,
    drawing: Drawing,
    *,
    chance: np.random.Generator,
    confidence: float = 0.95,
    count: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile interval of ``statistic``. Resamples on which it is undefined are left out.

    Raises DataError where it is undefined on every one. Where every sample gives the same value the interval has no width.
    """
    values = np.concatenate([statistic(weights) for weights in drawing.blocks(chance, count)])
    return _percentiles(values, confidence)


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    drawing: Drawing,
    *,
    chance: np.random.Generator,
    confidence: float = 0.95,
    count: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile interval of ``second - first``, both on the same resamples, so that what is common to both cancels out."""
    values = np.concatenate([second(weights) - first(weights) for weights in drawing.blocks(chance, count)])
    return _percentiles(values, confidence)


def _counts(chance: np.random.Generator, rows: int, kinds: int) -> Weights:
    drawn = chance.integers(0, kinds, (rows, kinds))
    drawn += np.arange(rows)[:, None] * kinds
    return np.bincount(drawn.ravel(), minlength=rows * kinds).reshape(rows, kinds).astype(np.float64)


def _percentiles(values: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise DataError(f"a confidence lies between 0 and 1; {confidence} does not")
    values = values[np.isfinite(values)]
    if not len(values):
        raise DataError("the metric is undefined on every resample: there are too few samples of some class")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)

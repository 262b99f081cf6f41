"""Losing for models that decide between labels: one of several, a set of them, or one of two by a threshold."""

import numpy as np

from edgewise.errors import DataError
from edgewise.records import dataclass
from edgewise.routing.losses.judge import Weights, costs, largest, real, same_length
from edgewise.runtime.answer import SET_FROM
from edgewise.runtime.decision import winners
from edgewise.runtime.engine import Array

__all__ = ["Classes", "LabelSets", "Sides"]


@dataclass(frozen=True, slots=True)
class Classes:
    """Classification: the winners. labels: of the classes in order; weights: label (its number where there is none) -> cost."""

    labels: tuple[str, ...] = ()
    weights: Weights = None

    @property
    def unit(self) -> float:
        return largest(self.weights)

    def disagree(self, ours: Array, theirs: Array) -> Array:
        same_length(ours, theirs)
        found: Array = _decided(ours) != _decided(theirs)
        return found

    def loss(self, ours: Array, theirs: Array) -> Array:
        return self.disagree(ours, theirs) * costs(_decided(theirs), self.labels, self.weights)

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)


def _decided(values: Array) -> Array:
    """(N,) classes of scores, of class indices, or of the truth in any integers."""
    return values.astype(np.int64) if values.ndim == 1 and values.dtype.kind in "iu" else winners(values)


@dataclass(frozen=True, slots=True)
class LabelSets:
    """Several labels at once: two sets disagree where they are not equal. The loss is the share of labels on which they differ
    (Hamming), each by its weight: what a label costs where ``theirs`` has set it; one that is set in vain costs 1.

    cut: the value from which a label is set. scale: of quantized ``ours``. theirs: values, or the truth as 0 and 1.
    """

    labels: tuple[str, ...] = ()
    weights: Weights = None
    cut: float = SET_FROM
    scale: tuple[float, int] = (1.0, 0)

    @property
    def unit(self) -> float:
        return largest(self.weights)

    def disagree(self, ours: Array, theirs: Array) -> Array:
        mine, other = self._sets(ours, theirs)
        found: Array = (mine != other).any(axis=1)
        return found

    def loss(self, ours: Array, theirs: Array) -> Array:
        mine, other = self._sets(ours, theirs)
        each = costs(np.arange(other.shape[1]), self.labels, self.weights)
        found: Array = np.where(other & ~mine, each, np.where(mine & ~other, 1 / self.unit, 0)).mean(axis=1)
        return found

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)

    def _sets(self, ours: Array, theirs: Array) -> tuple[Array, Array]:
        same_length(ours, theirs)
        mine = real(ours, self.scale).reshape(len(ours), -1) >= self.cut
        truth = theirs.dtype.kind in "biu"
        other = theirs.reshape(len(theirs), -1) >= (1 if truth else self.cut)
        if mine.shape != other.shape:
            raise DataError(f"answers have {mine.shape[1]} and {other.shape[1]} labels")
        return mine, other


@dataclass(frozen=True, slots=True)
class Sides:
    """An anomaly or none: on which side of ``cut`` a score lies; from it on, it is one (class 1, else 0).

    theirs_cut: that of upstream's score, where it has another. theirs: scores, or the truth as integers or bools. scale: of
    quantized ``ours``. A score that is not finite is on neither side.
    """

    cut: float
    labels: tuple[str, ...] = ()
    weights: Weights = None
    theirs_cut: float | None = None
    scale: tuple[float, int] = (1.0, 0)

    @property
    def unit(self) -> float:
        return largest(self.weights)

    def disagree(self, ours: Array, theirs: Array) -> Array:
        mine, other = self._sides(ours, theirs)
        found: Array = mine != other
        return found

    def loss(self, ours: Array, theirs: Array) -> Array:
        mine, other = self._sides(ours, theirs)
        return (mine != other) * costs(other, self.labels, self.weights)

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)

    def _sides(self, ours: Array, theirs: Array) -> tuple[Array, Array]:
        same_length(ours, theirs)
        mine = real(ours, self.scale).reshape(len(ours), -1)[:, 0]
        other = theirs.reshape(len(theirs), -1)[:, 0]
        if theirs.dtype.kind in "biu":
            side = (other != 0).astype(np.int64)
        else:
            side = (other >= (self.cut if self.theirs_cut is None else self.theirs_cut)).astype(np.int64)
        return np.where(np.isfinite(mine), mine >= self.cut, -1).astype(np.int64), side

"""Losing for models that answer with numbers: predictions, embeddings."""

from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.routing.losses.judge import Weights, costs, largest, real, same_length
from edgewise.runtime.engine import Array

__all__ = ["Directions", "Nearest", "Numbers"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Regression. Two predictions disagree where a value differs by more than ``tolerance``; the loss grows with the largest
    difference in a row, to 1 at ``worst`` (None: at the tolerance). What is not finite disagrees. scale: of quantized ``ours``.
    """

    tolerance: float
    worst: float | None = None
    scale: tuple[float, int] = (1.0, 0)

    @property
    def unit(self) -> float:
        return 1.0

    def disagree(self, ours: Array, theirs: Array) -> Array:
        found: Array = ~(self._apart(ours, theirs) <= self.tolerance)
        return found

    def loss(self, ours: Array, theirs: Array) -> Array:
        apart = self._apart(ours, theirs)
        worst = self.tolerance if self.worst is None else self.worst
        return np.where(np.isfinite(apart), np.minimum(apart / worst, 1), 1.0)

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)

    def _apart(self, ours: Array, theirs: Array) -> Array:
        """(N,) largest difference in a row."""
        same_length(ours, theirs)
        mine, other = real(ours, self.scale).reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
        if mine.shape != other.shape or not mine.shape[1]:
            raise DataError(f"predictions have {mine.shape[1]} and {other.shape[1]} values")
        with np.errstate(invalid="ignore"):
            found: Array = np.abs(mine - other).max(axis=1)
        return found


@dataclass(frozen=True, slots=True)
class Directions:
    """Embeddings of one space: two disagree where their cosine is below ``cosine``; the loss is half of one less it, 0 where they
    point the same way. scale: of quantized ``ours``.
    """

    cosine: float
    scale: tuple[float, int] = (1.0, 0)

    @property
    def unit(self) -> float:
        return 1.0

    def disagree(self, ours: Array, theirs: Array) -> Array:
        found: Array = ~(self._alike(ours, theirs) >= self.cosine)
        return found

    def loss(self, ours: Array, theirs: Array) -> Array:
        alike = self._alike(ours, theirs)
        return np.where(np.isfinite(alike), np.clip((1 - alike) / 2, 0, 1), 1.0)

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)

    def _alike(self, ours: Array, theirs: Array) -> Array:
        same_length(ours, theirs)
        mine, other = real(ours, self.scale).reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
        if mine.shape != other.shape:
            raise DataError(
                f"embeddings have {mine.shape[1]} and {other.shape[1]} values, so they are not of one space",
                remedy="Give prototypes of the device's space where upstream has another: decisions are compared then.",
            )
        with np.errstate(all="ignore"):
            return np.einsum("nd,nd->n", _unit(mine), _unit(other.astype(np.float64)))


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """Embeddings that decide by the nearest prototype (cosine): two disagree where those are of different groups.

    prototypes: (P, d). group: (P,) what each stands for. theirs: embeddings of the same space, or groups (N,) as integers:
    upstream's decision or the truth. scale: of quantized ``ours``.
    """

    prototypes: Array
    group: Array
    labels: tuple[str, ...] = ()
    weights: Weights = None
    scale: tuple[float, int] = (1.0, 0)

    @property
    def unit(self) -> float:
        return largest(self.weights)

    def disagree(self, ours: Array, theirs: Array) -> Array:
        same_length(ours, theirs)
        found: Array = self._nearest(real(ours, self.scale)) != self._decided(theirs)
        return found

    def loss(self, ours: Array, theirs: Array) -> Array:
        return self.disagree(ours, theirs) * costs(self._decided(theirs), self.labels, self.weights)

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)

    def _decided(self, theirs: Array) -> Array:
        return theirs.astype(np.int64) if theirs.ndim == 1 and theirs.dtype.kind in "iu" else self._nearest(theirs)

    def _nearest(self, values: Array) -> Array:
        rows = values.reshape(len(values), -1).astype(np.float64)
        if rows.shape[1] != self.prototypes.shape[1]:
            raise DataError(f"embeddings have {rows.shape[1]} values, prototypes {self.prototypes.shape[1]}")
        with np.errstate(all="ignore"):
            return self.group[(_unit(rows) @ _unit(self.prototypes.astype(np.float64)).T).argmax(axis=1)].astype(
                np.int64
            )


def _unit(rows: Array) -> Array:
    """Rows of length one; NaN where there is no direction."""
    found: Array = rows / np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return found

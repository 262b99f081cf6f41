"""In which order an epoch goes through the samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.training.data.chance import chance

__all__ = ["Balanced", "InOrder", "Order", "Shuffled", "Weighted", "endless"]


class Order(Protocol):
    """Chooses the rows of an epoch."""

    def count(self, total: int) -> int:
        """How many rows an epoch over ``total`` samples has."""
        ...

    def rows(self, total: int, rng: np.random.Generator) -> Array:
        """(count,) int64: the samples of one epoch, in order."""
        ...


@dataclass(frozen=True, slots=True)
class InOrder:
    """Every sample once, as they lie: for evaluation."""

    def count(self, total: int) -> int:
        return total

    def rows(self, total: int, rng: np.random.Generator) -> Array:  # noqa: ARG002  (the seam's; nothing is drawn)
        return np.arange(total)


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Every sample once, in an order of chance."""

    def count(self, total: int) -> int:
        return total

    def rows(self, total: int, rng: np.random.Generator) -> Array:
        return rng.permutation(total)


@dataclass(frozen=True, slots=True)
class Balanced:
    """Every class equally often, whatever its share of the samples; those of a rare class come several times.

    y: (N,) class of each sample. An epoch has as many rows as there are samples, rounded up to the same number for each class.
    """

    y: Array

    def __post_init__(self) -> None:
        if self.y.ndim != 1 or not len(self.y) or self.y.dtype.kind not in "iubUSO":
            raise DataError(
                f"balancing needs one class for each sample, not y of {self.y.dtype} {self.y.shape}",
                remedy="Balance by class labels, or weigh the samples instead.",
                rule="batches-balance",
            )

    def count(self, total: int) -> int:
        classes = len(np.unique(self.y))
        return -(-total // classes) * classes

    def rows(self, total: int, rng: np.random.Generator) -> Array:
        _agree(len(self.y), total, "classes to balance by")
        _, classes = np.unique(self.y, return_inverse=True)
        each = self.count(total) // (int(classes.max()) + 1)
        drawn = [_cycled(np.flatnonzero(classes == at), each, rng) for at in range(int(classes.max()) + 1)]
        return rng.permutation(np.concatenate(drawn))


@dataclass(frozen=True, slots=True)
class Weighted:
    """Samples drawn with replacement, as often as their weight says. weights: (N,), not negative, not all 0."""

    weights: Array

    def __post_init__(self) -> None:
        good = self.weights.ndim == 1 and self.weights.dtype.kind in "fiu"
        if not good or not np.isfinite(self.weights).all() or (self.weights < 0).any() or not self.weights.sum() > 0:
            raise DataError("weights to draw by are (N,) numbers that are not negative", rule="batches-weights")

    def count(self, total: int) -> int:
        return total

    def rows(self, total: int, rng: np.random.Generator) -> Array:
        _agree(len(self.weights), total, "weights to draw by")
        sums = np.cumsum(self.weights, dtype=np.float64)
        # Side "right": a sample of weight 0 takes up no part of the line, so no draw falls on it.
        return np.minimum(np.searchsorted(sums, rng.random(total) * sums[-1], side="right"), total - 1)


def endless(total: int, start: int, count: int, seed: int, *path: int) -> Array:
    """Rows ``start`` to ``start + count`` of a sequence without end: one shuffle of ``total`` samples after another."""
    return np.fromiter(_endless(total, start, count, seed, path), np.int64, count)


def _endless(total: int, start: int, count: int, seed: int, path: tuple[int, ...]) -> Iterator[int]:
    while count > 0:
        lap, at = divmod(start, total)
        taken = _lap(total, lap, seed, path)[at : at + count]
        yield from taken.tolist()
        start, count = start + len(taken), count - len(taken)


@lru_cache(maxsize=4)  # one batch after another takes from the same lap
def _lap(total: int, lap: int, seed: int, path: tuple[int, ...]) -> Array:
    return chance(seed, *path, lap).permutation(total)


def _cycled(rows: Array, count: int, rng: np.random.Generator) -> Array:
    laps = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(laps)])[:count]


def _agree(found: int, total: int, what: str) -> None:
    if found != total:
        raise DataError(f"{found} {what}, but {total} samples", rule="batches-lengths")

"""Moving along the time axis: whole samples, fractions, cuts. Arrays (N, T, ...), one place for each sample."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.training.augment.step import Step, as_float, like, need, sides

__all__ = ["Crop", "Middle", "moved", "resampled", "stretched"]

#: What lies outside of a recording: silence, or its first and last value for ever.
Outside = Literal["zero", "edge"]


@dataclass(frozen=True, slots=True)
class Crop:
    """``length`` steps from a random place of longer windows, so that every phase is seen; the middle ones in evaluation."""

    length: int

    def __post_init__(self) -> None:
        need("crop", (self.length >= 1, f"a length is at least 1, not {self.length}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        room = _room(x, self.length)
        at = rng.integers(0, room, len(x), endpoint=True)[:, None] + np.arange(self.length)
        return x[np.arange(len(x))[:, None], at]

    def still(self) -> Step:
        return Middle(self.length)


@dataclass(frozen=True, slots=True)
class Middle:
    """The ``length`` steps in the middle."""

    length: int

    def __call__(self, x: Array, _rng: np.random.Generator, /) -> Array:
        start = _room(x, self.length) // 2
        return x[:, start : start + self.length]

    def still(self) -> Step:
        return self


def moved(x: Array, by: Array, outside: Outside) -> Array:
    """Sample i later by ``by[i]`` whole steps."""
    steps = x.shape[1]
    at = np.arange(steps) - by[:, None]
    found = x[np.arange(len(x))[:, None], at.clip(0, steps - 1)]
    if outside == "zero":
        found[(at < 0) | (at >= steps)] = 0
    return found


def resampled(x: Array, at: Array, outside: Outside) -> Array:
    """``x`` at the fractional places ``at`` (N, T') of its time axis, interpolated linearly; (N, T', ...)."""
    last = x.shape[1] - 1
    inside = at.clip(0, last)
    before = np.floor(inside).astype(np.int64)
    share = (inside - before).astype(np.float32).reshape(*at.shape, *sides(x)[1:])
    which, values = np.arange(len(x))[:, None], as_float(x)
    found = values[which, before] * (1 - share) + values[which, np.minimum(before + 1, last)] * share
    if outside == "zero":
        found[(at < 0) | (at > last)] = 0
    return like(found, x.dtype)


def stretched(x: Array, by: float, outside: Outside, rng: np.random.Generator) -> Array:
    """Each sample faster or slower by up to the share ``by``, about its middle."""
    middle = (x.shape[1] - 1) / 2
    factor = np.exp(rng.uniform(-1, 1, (len(x), 1)) * np.log1p(by))
    return resampled(x, middle + (np.arange(x.shape[1]) - middle) * factor, outside)


def _room(x: Array, length: int) -> int:
    if x.ndim < 2 or x.shape[1] < length:
        raise DataError(
            f"windows of {length} steps cannot be cut out of {x.shape}",
            remedy="Read longer windows, or crop less.", rule="augment-shape",
        )  # fmt: skip
    return x.shape[1] - length

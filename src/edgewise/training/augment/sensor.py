"""Augmentation of sensor windows: (N, T, C), int16 or float, in the sensor's own units; one draw per window.

A survey: Um et al. 2017, arXiv 1706.00527, "Data augmentation of wearable sensor data for Parkinson's disease monitoring".
"""

from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.training.augment.image import reach
from edgewise.training.augment.step import as_float, like, need
from edgewise.training.augment.time import moved, resampled, stretched

__all__ = ["ChannelDropout", "Jitter", "Rotate", "Scale", "Shift", "Speed", "TimeWarp"]


@dataclass(frozen=True, slots=True)
class Jitter:
    """Gaussian noise of the deviation ``level``, in the units of the data; relative: in deviations of each channel instead."""

    level: float = 0.05
    relative: bool = True

    def __post_init__(self) -> None:
        need("jitter", (self.level >= 0, f"a level is not negative, not {self.level}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        values = as_float(_windows(x))
        level = self.level * (values.std(axis=1, keepdims=True) if self.relative else values.dtype.type(1))
        return like(values + (level * rng.standard_normal(x.shape, np.float32)).astype(values.dtype), x.dtype)


@dataclass(frozen=True, slots=True)
class Scale:
    """Each window times exp(u), u uniform in -by..by: people differ in strength, sensors in gain."""

    by: float = 0.2

    def __post_init__(self) -> None:
        need("scale", (self.by >= 0, f"it is not negative, not {self.by}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        values = as_float(_windows(x))
        return like(values * np.exp(rng.uniform(-self.by, self.by, (len(x), 1, 1))).astype(values.dtype), x.dtype)


@dataclass(frozen=True, slots=True)
class Rotate:
    """Each window turned as a whole by up to ``degrees`` about an axis drawn evenly from the sphere: however the device is held.

    Channels in threes (x, y, z of each sensor) turn together. By Rodrigues' formula, R = I + sin(a) K + (1 - cos(a)) K K.
    """

    degrees: float = 180.0

    def __post_init__(self) -> None:
        need("rotate", (0 <= self.degrees <= 180, f"degrees are in 0..180, not {self.degrees}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        n, steps, channels = _windows(x).shape
        if channels % 3:
            raise DataError(
                f"{channels} channels are not axes x, y, z in threes",
                remedy="Leave the rotation out, or put the other channels into an input of their own.",
                rule="augment-shape",
            )
        axis = rng.standard_normal((n, 3))
        axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-12)
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees, n))[:, None, None]
        cross = np.zeros((n, 3, 3))
        for row, column, which in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            cross[:, row, column], cross[:, column, row] = -axis[:, which], axis[:, which]
        turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
        values = as_float(x)
        vectors = values.reshape(n, steps * channels // 3, 3)
        return like((vectors @ turn.astype(values.dtype)).reshape(x.shape), x.dtype)


@dataclass(frozen=True, slots=True)
class Speed:
    """Each window faster or slower by up to the share ``by``, about its middle; what is missing repeats the border."""

    by: float = 0.15

    def __post_init__(self) -> None:
        need("speed", (0 <= self.by < 1, f"a share is in 0..1, not {self.by}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        return stretched(_windows(x), self.by, "edge", rng)


@dataclass(frozen=True, slots=True)
class TimeWarp:
    """Time runs unevenly within each window: speeds exp(u), u uniform in -by..by, at ``knots`` places, linear between.

    (Um et al. 2017, "time-warping".) The window's ends stay where they are.
    """

    by: float = 0.2
    knots: int = 4

    def __post_init__(self) -> None:
        need(
            "timewarp",
            (self.by >= 0, f"it is not negative, not {self.by}"),
            (self.knots >= 2, f"at least 2 knots are needed, not {self.knots}"),
        )

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        n, steps, _ = _windows(x).shape
        speeds = np.exp(rng.uniform(-self.by, self.by, (n, self.knots)))
        places = np.linspace(0, self.knots - 1, steps)
        at = np.concatenate([np.zeros((n, 1)), np.cumsum(_between(speeds, places)[:, 1:], axis=1)], axis=1)
        return resampled(x, at * ((steps - 1) / np.maximum(at[:, -1:], 1e-12)), "edge")


@dataclass(frozen=True, slots=True)
class ChannelDropout:
    """Each channel of each window at 0 with the probability ``rate``, but never all of them: a sensor that failed."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        need("channels", (0 <= self.rate <= 1, f"a rate is in 0..1, not {self.rate}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        n, _, channels = _windows(x).shape
        draws = rng.random((n, channels))
        kept = (draws >= self.rate) | (draws == draws.max(axis=1, keepdims=True))
        return np.where(kept[:, None, :], x, np.zeros((), x.dtype))


@dataclass(frozen=True, slots=True)
class Shift:
    """Each window earlier or later by up to ``by`` steps (below 1: share of the window); what is missing repeats the border."""

    by: float = 0.1

    def __post_init__(self) -> None:
        need("shift", (self.by >= 0, f"a distance is not negative, not {self.by}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        most = reach(self.by, _windows(x).shape[1])
        return moved(x, rng.integers(-most, most, len(x), endpoint=True), "edge")


def _between(values: Array, places: Array) -> Array:
    """``values`` (N, K) at the fractional ``places`` (T,), linear: (N, T)."""
    before = np.minimum(places.astype(np.int64), values.shape[1] - 2)
    share = places - before
    return values[:, before] * (1 - share) + values[:, before + 1] * share


def _windows(x: Array) -> Array:
    if x.ndim != 3 or x.dtype.kind not in "fi":
        raise DataError(
            f"sensor windows are (N, T, C) floats or signed integers, not {x.dtype} {x.shape}",
            remedy="Choose the augmentation of another kind of data, or none.", rule="augment-shape",
        )  # fmt: skip
    return x

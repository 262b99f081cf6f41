"""Augmentation of sound: waveforms (N, samples), and spectrograms (N, ..., frames, bands); int16 or float.

Distances are samples (frames, bands), or below 1 shares of the length. Silence moves in from outside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.training.augment.image import reach
from edgewise.training.augment.step import as_float, full_scale, like, need
from edgewise.training.augment.time import moved, stretched

__all__ = [
    "BandMask",
    "BandStop",
    "Gain",
    "Hiss",
    "Noise",
    "Polarity",
    "Shift",
    "Silence",
    "Slide",
    "Speed",
    "TimeMask",
]


@dataclass(frozen=True, slots=True)
class Shift:
    """Each clip earlier or later by up to ``by`` samples (below 1: share of the clip); what leaves is lost."""

    by: float = 0.1

    def __post_init__(self) -> None:
        need("shift", (self.by >= 0, f"a distance is not negative, not {self.by}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        most = reach(self.by, _wave(x).shape[1])
        return moved(x, rng.integers(-most, most, len(x), endpoint=True), "zero")


@dataclass(frozen=True, slots=True)
class Slide:
    """Each clip anywhere within the silence (exact zeros) that it was padded with: nothing of it is lost."""

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        sound = _wave(x) != 0
        before = np.where(sound.any(axis=1), sound.argmax(axis=1), 0)
        after = np.where(sound.any(axis=1), sound[:, ::-1].argmax(axis=1), 0)
        return moved(x, rng.integers(0, before + after, endpoint=True) - before, "zero")


@dataclass(frozen=True, slots=True)
class Gain:
    """Each clip louder or softer by up to ``db`` decibels."""

    db: float = 6.0

    def __post_init__(self) -> None:
        need("gain", (self.db >= 0, f"decibels are not negative, not {self.db}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        values = as_float(_wave(x))
        factor = 10 ** (rng.uniform(-self.db, self.db, (len(x), 1)) / 20)
        return like(values * factor.astype(values.dtype), x.dtype)


@dataclass(frozen=True, slots=True)
class Noise:
    """White noise at a signal-to-noise ratio drawn for each clip from ``low``..``high`` decibels over the whole clip's power."""

    low: float = 10.0
    high: float = 40.0

    def __post_init__(self) -> None:
        need("noise", (self.low <= self.high, f"low is at most high, not {self.low} and {self.high}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        values = as_float(_wave(x))
        power = np.square(values, dtype=np.float64).mean(axis=1, keepdims=True)
        level = np.sqrt(power * 10 ** (-rng.uniform(self.low, self.high, (len(x), 1)) / 10))
        return like(values + _white(x.shape, level, values.dtype, rng), x.dtype)


@dataclass(frozen=True, slots=True)
class Hiss:
    """White noise at a level drawn for each clip from ``low``..``high`` decibels of full scale, or of the clip's own peak.

    Not for all clips: one that never hears pure silence does not know what to make of it. (``hiss@0.5`` is for half of them.)
    """

    low: float = -70.0
    high: float = -30.0
    of_peak: bool = False

    def __post_init__(self) -> None:
        need("hiss", (self.low <= self.high <= 0, f"low <= high <= 0, not {self.low} and {self.high}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        values = as_float(_wave(x))
        loudest = np.abs(values).max(axis=1, keepdims=True) if self.of_peak else full_scale(x.dtype)
        level = 10 ** (rng.uniform(self.low, self.high, (len(x), 1)) / 20) * loudest
        return like(values + _white(x.shape, level, values.dtype, rng), x.dtype)


@dataclass(frozen=True, slots=True)
class Speed:
    """Each clip faster or slower by up to the share ``by``, and so higher or lower; linear resampling about its middle.

    (Ko et al. 2015, "Audio augmentation for speech recognition", with the factors 0.9 to 1.1.)
    """

    by: float = 0.1

    def __post_init__(self) -> None:
        need("speed", (0 <= self.by < 1, f"a share is in 0..1, not {self.by}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        return stretched(_wave(x), self.by, "zero", rng)


@dataclass(frozen=True, slots=True)
class Polarity:
    """Half of the clips times -1: nobody hears it."""

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        values = as_float(_wave(x))
        return like(values * np.where(rng.random((len(x), 1)) < 0.5, -1, 1).astype(values.dtype), x.dtype)


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch of up to ``longest`` samples (below 1: share of the clip) silenced: a time mask before the spectrogram is made."""

    longest: float = 0.1

    def __post_init__(self) -> None:
        need("silence", (self.longest >= 0, f"a length is not negative, not {self.longest}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        hidden = _stretch(len(x), _wave(x).shape[1], reach(self.longest, x.shape[1]), rng)
        return np.where(hidden, np.zeros((), x.dtype), x)


@dataclass(frozen=True, slots=True)
class BandStop:
    """A band of up to the share ``widest`` of all frequencies taken out: a frequency mask before the spectrogram is made.

    (Défossez et al. 2020, arXiv 2006.12847, "band mask"; here by the discrete Fourier transform of the whole clip.)
    """

    widest: float = 0.15

    def __post_init__(self) -> None:
        need("bandstop", (0 <= self.widest <= 1, f"a share is in 0..1, not {self.widest}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        bins = np.fft.rfft(as_float(_wave(x)), axis=1)
        count = bins.shape[1]
        bins[_stretch(len(x), count, round(self.widest * count), rng)] = 0
        return like(np.fft.irfft(bins, x.shape[1], axis=1), x.dtype)


@dataclass(frozen=True, slots=True)
class TimeMask:
    """A stretch of up to ``longest`` frames of a spectrogram (N, ..., frames, bands) set to its mean.

    (SpecAugment: Park et al. 2019, arXiv 1904.08779.) Below 1: share of the frames. times: how many stretches, which may overlap.
    """

    longest: float = 0.15
    times: int = 1

    def __post_init__(self) -> None:
        need("timemask", (self.longest >= 0 and self.times >= 0, "lengths and counts are not negative"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        return _masked(x, self.longest, self.times, -2, rng)


@dataclass(frozen=True, slots=True)
class BandMask:
    """A range of up to ``widest`` bands of a spectrogram (N, ..., frames, bands) set to its mean.

    (SpecAugment: Park et al. 2019, arXiv 1904.08779.) Below 1: share of the bands. times: how many ranges, which may overlap.
    """

    widest: float = 0.15
    times: int = 1

    def __post_init__(self) -> None:
        need("bandmask", (self.widest >= 0 and self.times >= 0, "widths and counts are not negative"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        return _masked(x, self.widest, self.times, -1, rng)


def _masked(x: Array, most: float, times: int, axis: int, rng: np.random.Generator) -> Array:
    if x.ndim < 3:
        raise DataError(f"a spectrogram is (N, ..., frames, bands), not {x.shape}", rule="augment-shape")
    count = x.shape[axis]
    hidden = np.zeros((len(x), count), bool)
    for _ in range(times):
        hidden |= _stretch(len(x), count, reach(most, count), rng)
    shape = [len(x), *[1] * (x.ndim - 1)]
    shape[axis] = count
    mean = like(as_float(x).mean(axis=tuple(range(1, x.ndim)), keepdims=True), x.dtype)
    return np.where(hidden.reshape(shape), mean, x)


def _stretch(n: int, length: int, most: int, rng: np.random.Generator) -> Array:
    """(n, length) bool: one stretch of 0..most elements for each row, anywhere within it."""
    size = rng.integers(0, most, n, endpoint=True)[:, None]
    start = rng.integers(0, length - size, endpoint=True)
    at = np.arange(length)
    return (at >= start) & (at < start + size)


def _white(shape: tuple[int, ...], level: Array, dtype: np.dtype[Any], rng: np.random.Generator) -> Array:
    return (level.astype(np.float32) * rng.standard_normal(shape, np.float32)).astype(dtype)


def _wave(x: Array) -> Array:
    if x.ndim != 2 or x.dtype.kind not in "fi":
        raise DataError(
            f"waveforms are (N, samples) floats or signed integers, not {x.dtype} {x.shape}",
            remedy="Choose the augmentation of another kind of data, or none.", rule="augment-shape",
        )  # fmt: skip
    return x

"""The constant matrices of audio features: windows, Fourier basis, mel filter bank, cosine transform.

Sources: M. Slaney, "Auditory Toolbox", Interval Research TR 1998-010 (its mel scale and area norm; librosa's default);
S. Young et al., "The HTK Book", section 5.4 (2595 log10(1 + f/700), peaks of 1; torchaudio's default).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgewise.errors import InputError

__all__ = ["MelBank", "cosine_transform", "fourier_basis", "window"]

Matrix = npt.NDArray[np.float64]
_SLANEY_STEP = 200 / 3  # Hz per mel below the break
_SLANEY_BREAK = 1000.0  # Hz; linear below, logarithmic above
_SLANEY_RATIO = np.log(6.4) / 27  # natural log of the frequency ratio per mel above the break


@dataclass(frozen=True, slots=True)
class MelBank:
    """Triangular filters evenly spaced in mel.

    mels: how many. low, high: Hz; ``high`` None is half the sample rate. scale: ``slaney`` or ``htk``. area_norm: every
    triangle has the same area (Slaney) instead of a peak of 1. The defaults are librosa's; torchaudio's are ``htk``, False.
    """

    mels: int = 40
    low: float = 0.0
    high: float | None = None
    scale: Literal["slaney", "htk"] = "slaney"
    area_norm: bool = True

    def __post_init__(self) -> None:
        if self.mels < 1 or self.scale not in {"slaney", "htk"} or self.low < 0:
            raise InputError(f"no mel bank has {self.mels} filters from {self.low} Hz on the scale {self.scale!r}")
        if self.high is not None and self.high <= self.low:
            raise InputError(f"a mel bank from {self.low} to {self.high} Hz is empty")

    def matrix(self, sample_rate: int, n_fft: int) -> Matrix:
        """(mels, n_fft // 2 + 1). Raises InputError where ``high`` is beyond half the sample rate."""
        high = sample_rate / 2 if self.high is None else self.high
        if high > sample_rate / 2 or high <= self.low:
            raise InputError(f"a mel bank to {high} Hz does not fit a sample rate of {sample_rate} Hz")
        mels = np.linspace(_mel(self.low, self.scale), _mel(high, self.scale), self.mels + 2)
        edges = _hertz(mels, self.scale)
        bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
        rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
        falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
        triangles = np.maximum(0, np.minimum(rising, falling))
        return triangles * (2 / (edges[2:] - edges[:-2]))[:, None] if self.area_norm else triangles


def window(kind: Literal["hann", "hamming"], length: int, n_fft: int) -> Matrix:
    """(n_fft,): a periodic window of ``length`` samples in the middle, zeros around it."""
    if not 1 <= length <= n_fft:
        raise InputError(f"a window of {length} samples does not fit a transform of {n_fft}")
    if kind not in {"hann", "hamming"}:
        raise InputError(f"the window is hann or hamming, not {kind!r}")
    floor = 0.5 if kind == "hann" else 0.54
    values = floor - (1 - floor) * np.cos(2 * np.pi * np.arange(length) / length)
    before = (n_fft - length) // 2
    return np.pad(values, (before, n_fft - length - before))


def fourier_basis(n_fft: int) -> Matrix:
    """(2 * (n_fft // 2 + 1), n_fft): cosines, then negative sines; times a frame it gives real, then imaginary parts."""
    # The product modulo n_fft keeps the angle small and so exact.
    turns = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) % n_fft
    angles = 2 * np.pi / n_fft * turns
    return np.concatenate([np.cos(angles), -np.sin(angles)])


def cosine_transform(count: int, mels: int) -> Matrix:
    """(count, mels): the orthonormal DCT-II, its first ``count`` rows."""
    if not 1 <= count <= mels:
        raise InputError(f"{count} coefficients cannot come from {mels} mel bands")
    rows = np.sqrt(2 / mels) * np.cos(np.pi / mels * np.outer(np.arange(count), np.arange(mels) + 0.5))
    rows[0] /= np.sqrt(2)
    return rows


def _mel(hertz: float, scale: str) -> float:
    if scale == "htk":
        return float(2595 * np.log10(1 + hertz / 700))
    if hertz < _SLANEY_BREAK:
        return hertz / _SLANEY_STEP
    return float(_SLANEY_BREAK / _SLANEY_STEP + np.log(hertz / _SLANEY_BREAK) / _SLANEY_RATIO)


def _hertz(mels: Matrix, scale: str) -> Matrix:
    if scale == "htk":
        return np.asarray(700 * (10 ** (mels / 2595) - 1))
    knee = _SLANEY_BREAK / _SLANEY_STEP
    return np.where(mels < knee, mels * _SLANEY_STEP, _SLANEY_BREAK * np.exp(_SLANEY_RATIO * (mels - knee)))

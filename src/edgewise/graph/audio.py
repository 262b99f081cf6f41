"""Audio fragments: from samples to spectrogram, mel bands, their logarithm, or cepstral coefficients.

In: (batch, samples), float32 in -1..1 or int16. Out: float32 (batch, bands, frames), or (batch, frames, bands) where
``time_first``. Defaults are librosa's; ``pad="reflect"`` and ``MelBank(scale="htk", area_norm=False)`` are torchaudio's.
"""

from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
from onnx import ModelProto, TensorProto

from edgewise.errors import InputError
from edgewise.graph.draft import Draft
from edgewise.graph.mel import MelBank, cosine_transform, fourier_basis, window

__all__ = ["Framing", "decibel_mel", "log_mel", "mel", "mfcc", "spectrogram"]

_INT16 = 1 / 32768
_LEAST_POWER = 1e-10  # power_to_db's amin, in librosa and torchaudio
_DECIBEL = 10 / log(10)
# Time of the operator STFT over a convolution with the Fourier basis, one thread, one second at 16 kHz, onnxruntime 1.32:
# 2.3 at n_fft 256, 1.5 at 512, 0.8 at 1024, 0.4 at 2048; off the powers of two 11 at 400 and 7 at 480, with errors of
# 2e-5 of the peak where the convolution has 5e-7. From 1024 on the basis would also weigh 4 MB and more.
_STFT_FROM = 1024


@dataclass(frozen=True, slots=True)
class Framing:
    """How samples become power spectra.

    sample_rate: Hz. n_fft, hop, win_length: samples; ``win_length`` 0 is n_fft. centre: frames are centred on multiples of
    ``hop``, with the ends padded by n_fft // 2 (``pad``: zeros, or reflected, which needs more samples than that).
    power: 2 for energy, 1 for magnitude. preemphasis: ``a`` in x[t] - a x[t-1] over the whole signal, 0 for none.
    samples: how many there are, or a name where that varies. dtype: int16 is scaled to -1..1.
    """

    sample_rate: int
    n_fft: int
    hop: int
    win_length: int = 0
    window: Literal["hann", "hamming"] = "hann"
    centre: bool = True
    pad: Literal["zeros", "reflect"] = "zeros"
    power: Literal[1, 2] = 2
    preemphasis: float = 0.0
    samples: int | str = "samples"
    dtype: Literal["float32", "int16"] = "float32"

    def __post_init__(self) -> None:
        if min(self.sample_rate, self.hop) < 1 or self.n_fft < 2 or self.power not in {1, 2}:
            raise InputError("sample_rate and hop are at least 1, n_fft at least 2, power is 1 or 2")
        if self.pad not in {"zeros", "reflect"} or self.dtype not in {"float32", "int16"}:
            raise InputError(f"pad is zeros or reflect and dtype float32 or int16, not {self.pad!r} and {self.dtype!r}")
        least = self.n_fft // 2 + 1 if self.centre and self.pad == "reflect" else 0 if self.centre else self.n_fft
        if isinstance(self.samples, int) and self.samples < max(least, 1):
            raise InputError(f"{self.samples} samples are too few for frames of {self.n_fft}")

    @property
    def bins(self) -> int:
        """Frequencies in one frame."""
        return self.n_fft // 2 + 1

    @property
    def frames(self) -> int | str:
        """How many frames come out, or the name of that dimension."""
        if isinstance(self.samples, str):
            return "frames"
        padded = self.samples + (2 * (self.n_fft // 2) if self.centre else 0)
        return (padded - self.n_fft) // self.hop + 1


def spectrogram(
    framing: Framing, *, time_first: bool = False, input_name: str = "waveform", output_name: str = "features"
) -> ModelProto:
    """Power (or magnitude) of each frequency: (batch, n_fft // 2 + 1, frames)."""
    draft = Draft("spectrogram")
    return _finish(
        draft, framing, _spectrum(draft, framing, input_name), framing.bins, time_first, input_name, output_name
    )


def mel(
    framing: Framing,
    bank: MelBank,
    *,
    time_first: bool = False,
    input_name: str = "waveform",
    output_name: str = "features",
) -> ModelProto:
    """Power per mel band: (batch, mels, frames)."""
    draft = Draft("mel")
    value = _mel(draft, framing, bank, input_name)
    return _finish(draft, framing, value, bank.mels, time_first, input_name, output_name)


def log_mel(
    framing: Framing, bank: MelBank, *, offset: float = 1e-6, time_first: bool = False,
    input_name: str = "waveform", output_name: str = "features",
) -> ModelProto:  # fmt: skip
    """Natural logarithm of (mel power + offset): (batch, mels, frames)."""
    if offset <= 0:
        raise InputError("the offset under the logarithm must be above 0")
    draft = Draft("log_mel")
    raised = draft.node("Add", _mel(draft, framing, bank, input_name), draft.constant(offset))
    return _finish(draft, framing, draft.node("Log", raised), bank.mels, time_first, input_name, output_name)


def decibel_mel(
    framing: Framing, bank: MelBank, *, top_db: float | None = 80.0, time_first: bool = False,
    input_name: str = "waveform", output_name: str = "features",
) -> ModelProto:  # fmt: skip
    """Mel power in decibels re 1, no lower than ``top_db`` under the loudest of the same example: (batch, mels, frames)."""
    draft = Draft("decibel_mel")
    value = _decibel(draft, _mel(draft, framing, bank, input_name), top_db)
    return _finish(draft, framing, value, bank.mels, time_first, input_name, output_name)


def mfcc(
    framing: Framing, bank: MelBank, *, count: int = 13, top_db: float | None = 80.0, time_first: bool = False,
    input_name: str = "waveform", output_name: str = "features",
) -> ModelProto:  # fmt: skip
    """The first ``count`` coefficients of the orthonormal DCT-II over the mel bands in decibels: (batch, count, frames)."""
    draft = Draft("mfcc")
    decibels = _decibel(draft, _mel(draft, framing, bank, input_name), top_db)
    value = draft.node("MatMul", draft.constant(cosine_transform(count, bank.mels)), decibels)
    return _finish(draft, framing, value, count, time_first, input_name, output_name)


def _finish(
    draft: Draft, framing: Framing, value: str, bands: int, time_first: bool, input_name: str, output_name: str
) -> ModelProto:
    shape: list[int | str] = ["batch", bands, framing.frames]
    if time_first:
        value, shape = draft.node("Transpose", value, perm=[0, 2, 1]), ["batch", framing.frames, bands]
    inputs = {input_name: (framing.dtype, ["batch", framing.samples])}
    return draft.finish(inputs, {output_name: ("float32", shape)}, [value])


def _mel(draft: Draft, framing: Framing, bank: MelBank, value: str) -> str:
    matrix = draft.constant(bank.matrix(framing.sample_rate, framing.n_fft))
    return draft.node("MatMul", matrix, _spectrum(draft, framing, value))


def _decibel(draft: Draft, power: str, top_db: float | None) -> str:
    audible = draft.node("Max", power, draft.constant(_LEAST_POWER))
    decibels = draft.node("Mul", draft.node("Log", audible), draft.constant(_DECIBEL))
    if top_db is None:
        return decibels
    if top_db < 0:
        raise InputError("top_db cannot be negative")
    loudest = draft.node("ReduceMax", decibels, draft.ints(1, 2), keepdims=1)
    return draft.node("Max", decibels, draft.node("Sub", loudest, draft.constant(top_db)))


def _spectrum(draft: Draft, framing: Framing, value: str) -> str:
    """(batch, samples) to (batch, bins, frames)."""
    value = _signal(draft, framing, value)
    taper = window(framing.window, framing.win_length or framing.n_fft, framing.n_fft)
    if framing.n_fft >= _STFT_FROM and framing.n_fft & (framing.n_fft - 1) == 0:
        power = _by_stft(draft, framing, value, taper)
    else:
        power = _by_convolution(draft, framing, value, taper)
    return power if framing.power == 2 else draft.node("Sqrt", power)


def _signal(draft: Draft, framing: Framing, value: str) -> str:
    if framing.dtype == "int16":
        value = draft.node("Mul", draft.node("Cast", value, to=TensorProto.FLOAT), draft.constant(_INT16))
    if framing.preemphasis:
        # Shifted by one: a zero in front, the last sample off.
        before = draft.node("Pad", value, draft.ints(0, 1, 0, -1))
        value = draft.node("Sub", value, draft.node("Mul", before, draft.constant(framing.preemphasis)))
    if framing.centre:
        side = framing.n_fft // 2
        mode = "constant" if framing.pad == "zeros" else "reflect"
        value = draft.node("Pad", value, draft.ints(0, side, 0, side), mode=mode)
    return value


def _by_convolution(draft: Draft, framing: Framing, value: str, taper: np.ndarray) -> str:
    kernel = draft.constant((fourier_basis(framing.n_fft) * taper)[:, None, :])
    parts = draft.node("Conv", draft.node("Unsqueeze", value, draft.ints(1)), kernel, strides=[framing.hop])
    squares = draft.node("Mul", parts, parts)
    real, imaginary = draft.split("Split", 2, squares, draft.ints(framing.bins, framing.bins), axis=1)
    return draft.node("Add", real, imaginary)


def _by_stft(draft: Draft, framing: Framing, value: str, taper: np.ndarray) -> str:
    step, length = draft.constant(framing.hop, "int64"), draft.constant(framing.n_fft, "int64")
    signal = draft.node("Unsqueeze", value, draft.ints(2))
    parts = draft.node("STFT", signal, step, draft.constant(taper), length, onesided=1)
    power = draft.node("ReduceSumSquare", parts, draft.ints(3), keepdims=0)
    return draft.node("Transpose", power, perm=[0, 2, 1])

"""Audio fragments say what librosa 0.11 and torchaudio 2.11 say (spec/vectors/audio, scripts/make_audio_vectors.py)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edgewise.errors import InputError
from edgewise.graph.audio import Framing, decibel_mel, log_mel, mel, mfcc, spectrogram
from edgewise.graph.mel import MelBank

SLANEY, HTK = MelBank(24), MelBank(24, scale="htk", area_norm=False)
F256 = Framing(8000, 256, 128)
CASES: dict[str, tuple[Framing, MelBank]] = {
    "librosa-256": (F256, SLANEY),
    "librosa-1024": (Framing(8000, 1024, 256), SLANEY),
    "librosa-reflect-magnitude": (Framing(8000, 400, 160, pad="reflect", power=1), MelBank(24, 60.0, 3800.0)),
    "librosa-uncentred-hamming": (Framing(8000, 256, 100, win_length=200, window="hamming", centre=False), SLANEY),
    "librosa-preemphasis": (replace(F256, preemphasis=0.97), SLANEY),
    "torchaudio-256": (replace(F256, pad="reflect"), HTK),
    "torchaudio-400": (
        Framing(8000, 400, 160, win_length=320, pad="reflect"),
        MelBank(24, 20.0, scale="htk", area_norm=False),
    ),
}
MAKERS = {"mel": mel, "decibel": decibel_mel, "mfcc": mfcc}


def run(model: Any, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: x})[0]


@pytest.fixture(scope="module")
def signals(spec: Path) -> np.ndarray:
    return np.load(spec / "vectors/audio/signals.npz")["x"]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("case", CASES)
def test_features_equal_the_libraries(case: str, kind: str, signals: np.ndarray, spec: Path) -> None:
    """Every value within 1e-4 of the largest magnitude in the same example (mel, decibel, mfcc alike)."""
    framing, bank = CASES[case]
    expected = np.load(spec / f"vectors/audio/{case}.npz")[kind]
    got = run(MAKERS[kind](framing, bank), signals)[..., ::2]
    assert got.shape == expected.shape
    scale = np.abs(expected).max((1, 2), keepdims=True)
    assert np.max(np.abs(got - expected) / scale) < 1e-4


@pytest.mark.parametrize("name", ["slaney-13", "slaney-40", "htk-40"])
def test_filter_banks_equal_the_libraries(name: str, spec: Path) -> None:
    """Within 1e-4 of the bank's peak (the libraries compute in float32)."""
    expected = np.load(spec / "vectors/audio/filters.npz")[name]
    scale, mels = name.split("-")
    bank = MelBank(int(mels), scale=scale, area_norm=scale == "slaney")  # type: ignore[arg-type]
    assert np.max(np.abs(bank.matrix(16000, 512) - expected)) < 1e-4 * expected.max()


@pytest.mark.parametrize("n_fft", [256, 400, 1024])
def test_spectrogram_is_numpys_by_convolution_and_by_stft(n_fft: int, signals: np.ndarray) -> None:
    framing = Framing(8000, n_fft, 100, centre=False, samples=4000)
    model = spectrogram(framing, time_first=True)
    assert any(node.op_type == "STFT" for node in model.graph.node) == (n_fft == 1024)
    frames = np.lib.stride_tricks.sliding_window_view(signals.astype(np.float64), n_fft, 1)[:, ::100]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    expected = np.abs(np.fft.rfft(frames * taper)) ** 2
    got = run(model, signals)
    assert got.shape == expected.shape == (3, framing.frames, framing.bins)
    assert np.max(np.abs(got - expected) / expected.max((1, 2), keepdims=True)) < 1e-5


def test_log_mel_is_the_natural_logarithm_over_an_offset(signals: np.ndarray) -> None:
    expected = np.log(run(mel(F256, SLANEY), signals) + 1e-6)
    np.testing.assert_allclose(run(log_mel(F256, SLANEY), signals), expected, atol=2e-5)


def test_int16_gives_what_the_same_wave_in_floats_gives(signals: np.ndarray) -> None:
    integers = np.round(signals * 20000).astype(np.int16)
    got = run(log_mel(replace(F256, dtype="int16"), SLANEY), integers)
    np.testing.assert_allclose(got, run(log_mel(F256, SLANEY), integers.astype(np.float32) / 32768), atol=1e-5)


def test_each_example_is_alone(signals: np.ndarray) -> None:
    """top_db is relative to the loudest of the same example: what else is in the batch changes nothing."""
    model = mfcc(F256, SLANEY)
    np.testing.assert_allclose(run(model, signals)[2:], run(model, signals[2:]), atol=1e-3)


def test_without_top_db_the_floor_is_that_of_the_least_power() -> None:
    assert np.allclose(run(decibel_mel(F256, SLANEY, top_db=None), np.zeros((1, 512), np.float32)), -100)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Framing(8000, 256, 0),
        lambda: Framing(8000, 256, 128, samples=100, pad="reflect"),
        lambda: Framing(8000, 256, 128, samples=100, centre=False),
        lambda: spectrogram(Framing(8000, 256, 128, win_length=300)),
        lambda: mel(F256, MelBank(24, high=5000.0)),
        lambda: MelBank(24, low=900.0, high=800.0),
        lambda: mfcc(F256, SLANEY, count=25),
        lambda: log_mel(F256, SLANEY, offset=0.0),
    ],
)
def test_what_cannot_be_is_refused_when_built(make: Any) -> None:
    with pytest.raises(InputError):
        make()

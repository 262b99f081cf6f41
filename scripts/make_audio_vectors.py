"""Writes spec/vectors/audio: what librosa and torchaudio make of three short signals.

The tests read the result; neither library is a dependency. To make it again, in an environment of its own:

    pip install librosa torch torchaudio && python scripts/make_audio_vectors.py spec/vectors/audio
"""

import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
import torchaudio

RATE = 8000  # Hz
SAMPLES = 4000


def signals() -> np.ndarray:
    """(3, SAMPLES) float32: a chirp in noise, a click train that fades, near silence."""
    time = np.arange(SAMPLES) / RATE
    noise = np.random.default_rng(1).standard_normal((2, SAMPLES))
    chirp = 0.5 * np.sin(2 * np.pi * (200 * time + 3000 * time**2)) + 0.01 * noise[0]
    clicks = (np.arange(SAMPLES) % 400 == 0) * np.exp(-4 * time)
    return np.stack([chirp, clicks, 1e-4 * noise[1]]).astype(np.float32)


def by_librosa(x: np.ndarray, n_fft: int, hop: int, **options: Any) -> dict[str, np.ndarray]:
    """Its defaults but for the sizes: Slaney's scale and norm, centred, zeros beyond the ends, Hann."""
    mel = np.stack(
        [librosa.feature.melspectrogram(y=y, sr=RATE, n_fft=n_fft, hop_length=hop, n_mels=24, **options) for y in x]
    )
    decibel = np.stack([librosa.power_to_db(one) for one in mel])
    mfcc = np.stack([librosa.feature.mfcc(S=one, n_mfcc=13) for one in decibel])
    return {"mel": mel, "decibel": decibel, "mfcc": mfcc}


def by_torchaudio(x: np.ndarray, n_fft: int, hop: int, **options: Any) -> dict[str, np.ndarray]:
    """Its defaults but for the sizes: HTK's scale, no norm, centred, reflected ends, Hann."""
    arguments = {"n_fft": n_fft, "hop_length": hop, "n_mels": 24, **options}
    waves = torch.from_numpy(x)
    mel = torchaudio.transforms.MelSpectrogram(RATE, **arguments)
    to_decibel = torchaudio.transforms.AmplitudeToDB("power", top_db=80)
    mfcc = torchaudio.transforms.MFCC(RATE, n_mfcc=13, melkwargs=arguments)
    decibel = torch.stack([to_decibel(mel(wave)) for wave in waves])
    return {
        "mel": mel(waves).numpy(),
        "decibel": decibel.numpy(),
        "mfcc": torch.stack([mfcc(w) for w in waves]).numpy(),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    x = signals()
    sets = {
        "librosa-256": by_librosa(x, 256, 128),
        "librosa-1024": by_librosa(x, 1024, 256),
        "librosa-reflect-magnitude": by_librosa(x, 400, 160, pad_mode="reflect", power=1.0, fmin=60.0, fmax=3800.0),
        "librosa-uncentred-hamming": by_librosa(x, 256, 100, center=False, window="hamming", win_length=200),
        "librosa-preemphasis": by_librosa(np.stack([librosa.effects.preemphasis(y, zi=[0.0]) for y in x]), 256, 128),
        "torchaudio-256": by_torchaudio(x, 256, 128),
        "torchaudio-400": by_torchaudio(x, 400, 160, win_length=320, f_min=20.0),
    }
    for name, arrays in sets.items():
        small = {
            key: value[..., ::2].astype(np.float32) for key, value in arrays.items()
        }  # every other frame is enough
        np.savez_compressed(folder / f"{name}.npz", **small)
    np.savez_compressed(folder / "signals.npz", x=x)
    filters = {f"slaney-{n}": librosa.filters.mel(sr=16000, n_fft=512, n_mels=n) for n in (13, 40)}
    filters["htk-40"] = torchaudio.functional.melscale_fbanks(257, 0.0, 8000.0, 40, 16000).numpy().T
    np.savez_compressed(folder / "filters.npz", **filters)


if __name__ == "__main__":
    main()

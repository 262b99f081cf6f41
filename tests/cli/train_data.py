"""Small data to train with, and the command in this process."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edgewise.cli.main import main

FAST = ("--threads", "1", "--epochs", "1")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["train", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def bars(n: int = 120, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, side, side, 1) uint8 with one bright bar, upright (1) or level (0)."""
    y, rng = np.arange(n) % 2, np.random.default_rng(n)
    x = rng.integers(0, 60, (n, side, side, 1)).astype(np.uint8)
    for image, upright in zip(x, y, strict=True):
        at = rng.integers(2, side - 2)
        image[(slice(None), at) if upright else at] = 220
    return x, y


def signals(n: int = 96, steps: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, steps, 3) of a slow swing, or of a fast one that is higher on the first axis."""
    y, rng = np.arange(n) % 2, np.random.default_rng(n)
    phase = rng.uniform(0, 6, (n, 1, 1))
    x = np.sin(np.arange(steps)[None, :, None] * np.where(y, 0.9, 0.3)[:, None, None] + phase)
    x[..., 0] += y[:, None]
    return (x + rng.normal(0, 0.1, (n, steps, 3))).astype(np.float32), y


def answers(path: Path, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))

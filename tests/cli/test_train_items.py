"""`edgewise train`: masks, boxes, tokens and items that cannot be learnt from are named by row before anything runs."""

from pathlib import Path

import numpy as np
import pytest
from tests.cli.train_data import FAST, bars, run, saved

_RNG = np.random.default_rng(0)
_MASKS = _RNG.integers(0, 3, (40, 16, 16))
_BOXES = np.tile(np.float32([2, 2, 9, 9, 0]), (40, 1, 1))
_IDS = _RNG.integers(1, 30, (40, 8))


def _with(array: np.ndarray, place: tuple[object, ...], value: float) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("network", "change", "said"),
    [
        ("unet", {"y": _MASKS[:, :8, :8]}, "masks are (8, 8), and pictures (16, 16, 1)"),
        ("unet", {"y": _with(_MASKS, (slice(None), 0), -1)}, "classes outside of 0..2 in rows 0, 1"),
        ("unet", {"y": _with(_MASKS, (slice(None), 0), 255)}, "class 255 of the mask in row 0 would make 256 classes"),
        ("ssd", {"y": _with(_BOXES, (slice(None), 0, 2), 1)}, "x2, y2 are not beyond x1, y1 in rows 0, 1"),
        ("ssd", {"y": _with(_BOXES, (slice(None), 0, 4), 0.5)}, "not whole numbers"),
        ("ssd", {"y": _BOXES + np.float32([99, 0, 99, 0, 0])}, "boxes outside of the picture in rows 0, 1"),
        ("ssd", {"y": _BOXES / 16}, "all of these lie within 0..1: multiply them"),
        ("gru", {"x": _with(_IDS, (slice(None), 0), -1)}, "ids of tokens count from 0, and some are below in rows 0, 1"),
        ("encoder", {"x": _with(_IDS, (3, 0), 2**40)}, "a model is at most 2 GiB"),
        ("two-tower", {"x": _with(_IDS, (slice(None), 0), -1), "y": _IDS[:, 0]}, "items count from 1"),
        ("encoder", {"x": _IDS.astype(np.float32)}, "is taken as sound, and sound needs its sample rate"),
    ],
)  # fmt: skip
def test_the_rows_at_fault_are_named(
    network: str, change: dict[str, np.ndarray], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = bars(40)
    data = saved(tmp_path, **{"x": x, "y": y, **change})
    code, _, err = run(capsys, network, "--train", data, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert said in err
    assert "epoch" not in err


def test_a_token_that_only_the_held_out_samples_have_is_known(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "held").mkdir()
    y = np.arange(40) % 2
    held = saved(tmp_path / "held", x=_with(_IDS, (0, 0), 99), y=y)
    code, _, err = run(
        capsys, "gru", "--train", saved(tmp_path, x=_IDS, y=y), "--eval", held, "-o", tmp_path / "m.onnx", *FAST
    )
    assert code == 0, err

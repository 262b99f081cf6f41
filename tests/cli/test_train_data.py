"""`edgewise train`: what is wrong with the data is said with its row in the data as the user has it, and nothing is written."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.train_data import FAST, bars, run, saved, signals


def test_rows_are_those_of_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Not those of the part that was left after some had been held out."""
    x, _ = bars(40)
    y = np.zeros((40, 1, 5))
    y[:, 0] = 1, 1, 6, 6, 0
    y[37, 0, 4] = 0.5
    code, _, err = run(capsys, "ssd", "--train", saved(tmp_path, x=x, y=y), "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "no whole numbers in row 37\n" in err
    assert list(tmp_path.glob("m.*")) == []


def test_an_autoencoder_learns_what_is_usual_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = bars(40)
    data, out = saved(tmp_path, x=x, y=y), tmp_path / "m.onnx"
    code, text, err = run(capsys, "autoencoder", "--train", data, "-o", out, *FAST, "--json")
    told = json.loads(text)
    assert code == 0
    assert told["trainSamples"] == 16  # half of the 32 that are not held out
    assert "16 training samples of another class than 0 are left out" in err
    usual = tmp_path / "usual.npz"
    np.savez(usual, x=x[y == 0], y=y[y == 0])
    code, text, _ = run(capsys, "autoencoder", "--train", usual, "--eval", data, "-o", out, *FAST, "--json")
    assert code == 0
    assert json.loads(text)["metric"]["name"] == "auc"
    np.savez(usual, x=x, y=y * 0 + 1)
    code, _, err = run(capsys, "autoencoder", "--train", usual, "-o", out, *FAST)
    assert code == 1
    assert "no sample of class 0" in err


def test_items_of_histories_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x = np.ones((30, 4), np.int64)
    y = np.ones(30, np.int64)
    x[7, 2], y[9] = -1, 0
    code, _, err = run(capsys, "two-tower", "--train", saved(tmp_path, x=x, y=y), "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "x has items below 0 in row 7; training data: the item that came next is below 1 in row 9" in err


def test_one_class_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals(24)
    code, _, err = run(capsys, "gru", "--train", saved(tmp_path, x=x, y=y * 0), "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "every sample is of class 0, so there is nothing to tell apart" in err

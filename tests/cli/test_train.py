"""`edgewise train NETWORK`: one command from data to a model."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.train_data import FAST, answers, bars, run, saved, signals


def test_pictures_become_a_model_that_takes_raw_pixels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = bars(200)
    out = tmp_path / "m.onnx"
    data = saved(tmp_path, x=x, y=y, class_names=np.array(["level", "upright"]))
    code, text, _ = run(
        capsys, "cnn", "--train", data, "-o", out, "--threads", 1, "--epochs", 8, "--augment", "none", "--plot",
        tmp_path / "curve.png", "--json",
    )  # fmt: skip
    told = json.loads(text)
    assert code == 0
    assert told["metric"]["name"] == "accuracy"
    assert told["metric"]["value"] > 0.9
    assert (answers(out, x=x)["logits"].argmax(1) == y).mean() > 0.9
    assert (tmp_path / "m.labels.txt").read_text() == "level\nupright\n"
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("network", ["ds-cnn", "resnet8", "mobilenet", "autoencoder"])
def test_each_network_of_pictures_trains(network: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = bars(48, 32)
    out = tmp_path / "m.onnx"
    code, text, _ = run(capsys, network, "--train", saved(tmp_path, x=x, y=y), "-o", out, *FAST, "--batch", 16)
    assert code == 0
    assert f"written: {out}" in text
    first = next(iter(answers(out, x=x[:3]).values()))
    assert len(first) == 3


@pytest.mark.parametrize("network", ["cnn1d", "gru", "encoder"])
def test_each_network_of_sequences_trains(network: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals()
    out = tmp_path / "m.onnx"
    code, text, _ = run(
        capsys, network, "--train", saved(tmp_path, x=x, y=y), "-o", out, "--threads", 1, "--epochs", 20, "--json", "--batch", 8,
        "--augment", "none",
    )  # fmt: skip
    assert code == 0
    assert json.loads(text)["metric"]["value"] > 0.8


def test_sound_goes_in_as_samples(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The mel bands are in the file: it takes the waveform."""
    y = np.arange(64) % 2
    t = np.arange(2000) / 4000
    pitch = np.where(y, 900, 300)[:, None] * np.random.default_rng(1).uniform(0.9, 1.1, (64, 1))
    x = (np.sin(2 * np.pi * pitch * t) * 0.3).astype(np.float32)
    out = tmp_path / "m.onnx"
    data = saved(tmp_path, x=x, y=y)
    code, text, _ = run(
        capsys, "cnn", "--train", data, "--sample-rate", 4000, "-o", out, "--threads", 1, "--epochs", 8, "--batch", 8,
        "--augment", "none", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(text)["metric"]["value"] > 0.9
    assert answers(out, waveform=x[:2])["logits"].shape == (2, 2)
    code, _, err = run(capsys, "cnn", "--train", data, "-o", tmp_path / "n.onnx", *FAST)
    assert code == 1
    assert "--sample-rate" in err


@pytest.mark.parametrize("network", ["text-bag", "gru"])
def test_texts_come_from_a_table(network: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """How texts become ids is written beside the model."""
    words = {
        "lights": ["turn on the lamp", "lamp off please", "make it dark"],
        "music": ["play a song", "next song", "louder"],
    }
    rows = [(f"{text} {number}", label) for number in range(16) for label, texts in words.items() for text in texts]
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    out = tmp_path / "m.onnx"
    code, text, _ = run(
        capsys, network, "--train", tmp_path / "t.csv", "-o", out, "--threads", 1, "--epochs", 8, "--batch", 8, "--set",
        "buckets=512", "--set", "length=32", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(text)["metric"]["value"] > 0.7
    assert (tmp_path / "m.labels.txt").read_text() == "lights\nmusic\n"
    assert json.loads((tmp_path / "m.text.json").read_text())["buckets"] == 512


def test_histories_become_a_recommender(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    history = np.random.default_rng(1).integers(1, 40, (300, 5))
    target = history[:, 0] % 39 + 1
    out = tmp_path / "m.onnx"
    code, text, _ = run(
        capsys, "two-tower", "--train", saved(tmp_path, x=history, y=target), "-o", out, *FAST, "--json"
    )
    assert code == 0
    assert json.loads(text)["metric"]["name"] == "hit@10"
    assert answers(out, history=history[:2])["logits"].shape[0] == 2


def test_masks_become_a_segmenter(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, _ = bars(40)
    mask = (x[..., 0] > 100).astype(np.int64)
    out = tmp_path / "m.onnx"
    code, text, _ = run(
        capsys, "unet", "--train", saved(tmp_path, x=x, y=mask), "-o", out, "--threads", 1, "--epochs", 5, "--batch", 8, "--json"
    )  # fmt: skip
    assert code == 0
    assert json.loads(text)["metric"]["name"] == "mean_iou"
    assert json.loads(text)["metric"]["value"] > 0.6


def test_boxes_become_a_detector(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The file answers with a table of detections."""
    n, rng = 48, np.random.default_rng(1)
    x = rng.integers(0, 60, (n, 64, 64)).astype(np.uint8)
    boxes = np.zeros((n, 1, 5), np.float32)
    for image, box in zip(x, boxes, strict=True):
        top, left = rng.integers(2, 38, 2)
        image[top : top + 24, left : left + 24] = 230
        box[0] = left, top, left + 24, top + 24, 0
    out = tmp_path / "m.onnx"
    code, text, _ = run(
        capsys, "ssd", "--train", saved(tmp_path, x=x, y=boxes), "-o", out, "--threads", 1, "--epochs", 12, "--batch", 8, "--json"
    )  # fmt: skip
    assert code == 0
    assert json.loads(text)["metric"]["name"] == "map50"
    assert answers(out, x=x[:2])["detections"].shape == (2, 100, 6)


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({"y": np.zeros(48, np.int64)}, (), "every sample is of class 0"),
        ({"y": np.r_[999_999, np.arange(47) % 2]}, (), "labels go up to 999999 (row 0)"),
        ({}, ("--lr", "1e9"), "are not finite numbers in epoch 1"),
        ({}, ("--set", "widths=wide"), "wrong type: widths 'wide'"),
        ({}, ("--keep", "last", "--patience", 3), "--patience waits"),
        ({"y": np.int64(3)}, (), "y is a single value"),
        ({}, ("--lora", 100_000), "adapters of rank 100000 are larger than every layer"),
        ({}, ("--accumulate", 100), "make no step: nothing would learn"),
    ],
)  # fmt: skip
def test_what_cannot_become_a_model_is_refused_and_nothing_is_written(
    change: dict[str, np.ndarray], words: tuple[object, ...], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:  # fmt: skip
    x, y = bars(48)
    data = saved(tmp_path, **{"x": x, "y": y, **change})
    code, _, err = run(capsys, "cnn", "--train", data, "-o", tmp_path / "m.onnx", *FAST, *words)
    assert code == 1
    assert said in err
    assert not (tmp_path / "m.onnx").exists()

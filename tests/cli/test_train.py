"""`edgewise train`: one command from data to a model, or one error and nothing written."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edgewise.cli.main import main
from edgewise.digits import load_split, model_bytes

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


# --------------------------------------------------------------------------------- every network, one command


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


# ------------------------------------------------------------------------------------------ somebody's file


def test_a_file_is_fine_tuned_from_where_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The built-in digits model, whose pixels are 0..1 in the file and raw in the data; before and after are told."""
    (tmp_path / "d.onnx").write_bytes(model_bytes("fp32"))
    out = tmp_path / "m.onnx"
    code, text, _ = run(
        capsys,
        tmp_path / "d.onnx",
        "--train",
        "digits",
        "-o",
        out,
        *FAST,
        "--json",
        "--before",
        "image:size=8x8,channels=1,bright_ink=yes",
    )
    told = json.loads(text)
    assert code == 0
    assert told["runs"][0]["before"]["value"] > 0.9
    assert told["metric"]["value"] > 0.9


def test_a_file_for_other_classes_gets_a_new_last_layer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = load_split("train")
    keep = y < 3
    data = saved(tmp_path, x=(x[keep, None] / 16).astype(np.float32), y=y[keep])
    (tmp_path / "d.onnx").write_bytes(model_bytes("fp32"))
    out = tmp_path / "m.onnx"
    code, text, _ = run(
        capsys,
        tmp_path / "d.onnx",
        "--train",
        data,
        "-o",
        out,
        "--threads",
        1,
        "--epochs",
        5,
        "--only",
        "head.*",
        "--lr",
        0.01,
        "--json",
    )
    told = json.loads(text)
    assert code == 0
    assert told["runs"][0]["before"] is None
    assert told["metric"]["value"] > 0.9
    old, new = (ort.InferenceSession(path) for path in (tmp_path / "d.onnx", out))
    assert old.get_outputs()[0].shape[-1] == 10
    assert new.get_outputs()[0].shape[-1] == 3


def test_adapters_are_merged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The file has the operators that it came with; its weights are others."""
    import onnx

    x, y = load_split("train")
    data = saved(tmp_path, x=(x[:300, None] / 16).astype(np.float32), y=y[:300])
    (tmp_path / "d.onnx").write_bytes(model_bytes("fp32"))
    out = tmp_path / "m.onnx"
    code, _, _ = run(capsys, tmp_path / "d.onnx", "--train", data, "-o", out, *FAST, "--lora", 2)
    assert code == 0
    before, after = (sorted(node.op_type for node in onnx.load(path).graph.node) for path in (tmp_path / "d.onnx", out))
    assert before == after


def test_an_integer_file_is_trained_in_floats(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = load_split("train")
    data = saved(tmp_path, x=(x[:300, None] / 16).astype(np.float32), y=y[:300])
    (tmp_path / "q.onnx").write_bytes(model_bytes("int8"))
    code, text, _ = run(capsys, tmp_path / "q.onnx", "--train", data, "-o", tmp_path / "m.onnx", *FAST, "--json")
    assert code == 0
    assert json.loads(text)["metric"]["value"] > 0.9


def test_integers_without_a_float_form_are_refused_by_node(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    scale, zero = numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.uint8(0), "z")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "first"),
        helper.make_node("BitShift", ["q", "z"], ["r"], "odd one", direction="LEFT"),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"], "last"),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])], [scale, zero],
    )  # fmt: skip
    path = tmp_path / "odd.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    )
    data = saved(tmp_path, x=np.random.default_rng(1).random((20, 4), np.float32), y=np.arange(20) % 4)
    code, _, err = run(capsys, path, "--train", data, "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "BitShift (odd one)" in err
    assert not (tmp_path / "m.onnx").exists()


# ------------------------------------------------------------------------------------------------- choices


def test_several_seeds_keep_the_median(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals()
    code, text, _ = run(
        capsys, "cnn1d", "--train", saved(tmp_path, x=x, y=y), "-o", tmp_path / "m.onnx", *FAST, "--batch", 16,
        "--seeds", 3, "--json",
    )  # fmt: skip
    told = json.loads(text)
    assert code == 0
    assert sorted(one["metric"]["value"] for one in told["runs"])[1] == told["metric"]["value"]


def test_a_group_is_held_out_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals(60)
    data = saved(tmp_path, x=x, y=y, group=np.repeat(["ann", "ben", "cyd"], 20))
    command = ("cnn1d", "--train", data, "-o", tmp_path / "m.onnx", *FAST, "--batch", 16)
    code, text, _ = run(capsys, *command, "--hold-out", "ben", "--json")
    assert code == 0
    assert json.loads(text)["evaluationSamples"] == 20
    code, _, err = run(capsys, *command, "--hold-out", "eve")
    assert code == 1
    assert "ann, ben, cyd" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--freeze", "nothing*"], "no stored values match 'nothing*'"),
        (["--only", "stage9*"], "no weights match 'stage9*'"),
        (["--set", "widths"], "a value is needed"),
        (["--set", "colour=3"], "cnn has no setting colour"),
        (["--augment", "flip,twirl"], "'twirl' is unknown"),
        (["--schedule", "sometimes"], "there is no schedule"),
        (["--optimizer", "magic"], "the optimizer is adamw"),
        (["--epochs", "0", "--lr", "-1"], "epochs are at least 1, not 0; the learning rate is above 0, not -1.0"),
        (["--eval", "data.npz", "--by-group"], "says what is held out"),
        (["--memory", "1MB"], "MiB are allowed"),
    ],
)
def test_what_is_asked_wrongly_is_named(
    more: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = bars(40)
    data = saved(tmp_path, x=x, y=y)
    more = [str(data) if part == "data.npz" else part for part in more]
    fast = [] if "--epochs" in more else ["--epochs", "1"]
    code, _, err = run(capsys, "cnn", "--train", data, "-o", tmp_path / "m.onnx", "--threads", 1, *fast, *more)
    assert code in (1, 4)
    assert words in err
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: {"x": np.where(np.arange(len(x))[:, None, None] == 7, np.nan, x), "y": y}, "row 7"),
        (lambda x, y: {"x": x, "y": np.where(np.arange(len(y)) == 5, -3, y)}, "row 5"),
        (lambda x, y: {"x": x, "y": np.where(y == 1, 2, y)}, "class 1 is empty"),
        (lambda x, y: {"x": x, "y": y[:-1]}, "x has 40 samples, y has 39"),
        (lambda x, y: {"x": x}, "no array y"),
        (lambda x, y: {"x": x, "y": y * 0.5}, "classes are whole numbers"),
        (lambda x, y: {"x": x[:, :, :, None, None], "y": y}, "takes sequences"),
    ],
)
def test_bad_data_is_named_and_nothing_is_written(
    change: object, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = signals(40)
    data = saved(tmp_path, **change(x, y))  # type: ignore[operator]
    code, _, err = run(capsys, "cnn1d", "--train", data, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert words in err
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["data.npz"]


def test_what_is_neither_a_network_nor_a_file_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = bars(20)
    data = saved(tmp_path, x=x, y=y)
    code, _, err = run(capsys, "resnet9000", "--train", data, "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "neither a network nor an ONNX file" in err
    code, _, err = run(capsys, "cnn", "--train", tmp_path / "nowhere.npz", "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "nowhere.npz" in err
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    code, _, err = run(capsys, "cnn", "--train", tmp_path / "broken.npz", "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "broken.npz" in err


# -------------------------------------------------------------------------------- processes that are stopped


def started(data: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    command = [
        sys.executable, "-m", "edgewise.cli", "train", "cnn1d", "--train", str(data), "-o", str(out), "--threads", "1",
        "--batch", "8", "--epochs", "60", *more,
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def until(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended before {words}")


def test_ctrl_c_leaves_a_usable_model(tmp_path: Path) -> None:
    x, y = signals(400)
    out = tmp_path / "m.onnx"
    process = started(saved(tmp_path, x=x, y=y), out, "--epochs", "5000")
    until(process, "epoch 3/")
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the best weights so far" in text
    assert answers(out, x=x[:2])["logits"].shape == (2, 2)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """The same command again: the bytes of a run that nobody killed, for the rest of the price."""
    x, y = signals(400)
    data = saved(tmp_path, x=x, y=y)
    process = started(data, tmp_path / "m.onnx", "--checkpoint", str(tmp_path / "kept"))
    until(process, "epoch 9/")
    process.kill()
    process.communicate()
    assert not (tmp_path / "m.onnx").exists()
    again = started(data, tmp_path / "m.onnx", "--checkpoint", str(tmp_path / "kept"))
    _, told = again.communicate(timeout=120)
    assert again.returncode == 0, told
    assert "epoch 2/" not in told
    assert "epoch 60/" in told
    whole = started(data, tmp_path / "whole.onnx")
    whole.communicate(timeout=120)
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


# ---------------------------------------------------------------------------------------------- public sets


def test_activity_reaches_its_bar(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """95 % of windows from recordings that it never saw."""
    monkeypatch.setenv("EDGEWISE_DATA", str(shared_data))
    out = tmp_path / "m.onnx"
    code, text, _ = run(
        capsys, "cnn1d", "--train", "activity_st_har", "-o", out, "--threads", 1, "--epochs", 6, "--json"
    )
    assert code == 0
    assert json.loads(text)["metric"]["value"] >= 0.95


def test_a_set_with_a_part_of_its_own_takes_no_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "cnn", "--train", "digits", "--eval", "x.npz", "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "has a part of its own" in err
    code, _, err = run(capsys, "cnn", "--train", "model_vad_silero", "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "is no set to train with" in err

"""`edgewise train`: what is wrong with the data is said with its row in the data as the user has it, and nothing is written."""

import json
import wave
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.cli.train_data import FAST, answers, bars, run, saved, signals


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


@pytest.mark.parametrize(
    ("network", "shape", "y"),
    [
        ("two-tower", (30, 0), np.ones(30, np.int64)),
        ("unet", (30, 0, 16, 1), np.zeros((30, 0, 16), np.int64)),
        ("cnn", (30, 0, 16, 1), np.arange(30) % 2),
    ],
)
def test_samples_without_anything_in_them_are_refused(
    network: str, shape: tuple[int, ...], y: np.ndarray, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = saved(tmp_path, x=np.zeros(shape, np.int64), y=y)
    code, _, err = run(capsys, network, "--train", data, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "so there is nothing in them" in err


def test_one_class_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals(24)
    code, _, err = run(capsys, "gru", "--train", saved(tmp_path, x=x, y=y * 0), "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "every sample is of class 0, so there is nothing to tell apart" in err


def test_labels_that_are_texts_are_classes_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals(24)
    out = tmp_path / "m.onnx"
    data = saved(tmp_path, x=x, y=np.array(["walk", "run"])[y])
    code, _, _ = run(capsys, "cnn1d", "--train", data, "-o", out, *FAST, "--batch", 8)
    assert code == 0
    assert (tmp_path / "m.labels.txt").read_text() == "run\nwalk\n"


def test_numbers_that_would_not_be_themselves_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [f"word {row},{10**30 if row == 4 else row % 2}" for row in range(20)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["text,label", *rows]))
    code, _, err = run(capsys, "text-bag", "--train", table, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "label is beyond 2**53, where whole numbers are no longer told apart, in row 4" in err


def test_a_size_that_fits_in_no_memory_is_refused_before_a_picture_is_resized(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / "p" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "p" / name / f"{number}.ppm").write_bytes(b"P6 2 2 255\n" + bytes(12))
    code, _, err = run(
        capsys, "cnn", "--train", tmp_path / "p", "--size", "100000x100000", "-o", tmp_path / "m.onnx", *FAST
    )
    assert code == 1
    assert "takes more than the 1073741824 bytes" in err


def test_a_length_that_fits_in_no_memory_is_refused_before_a_clip_is_padded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / "s" / name).mkdir(parents=True)
        with wave.open(str(tmp_path / "s" / name / "1.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(8000))
    words = ("--length", 1_000_000_000, "-o", tmp_path / "m.onnx", *FAST)
    code, _, err = run(capsys, "cnn", "--train", tmp_path / "s", *words)
    assert code == 1
    assert "takes more than the 1073741824 bytes" in err


def test_tokens_beyond_all_reach_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).integers(0, 2**40, (24, 8)), np.arange(24) % 2
    code, _, err = run(capsys, "gru", "--train", saved(tmp_path, x=x, y=y), "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "GiB" in err
    assert "number tokens and items from 0 without gaps" in err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("mels=many", "sound of 4000 Hz cannot be cut by mels=many"),
        ("mels=9.5", "sound of 4000 Hz cannot be cut by mels=9.5"),
        ("window=0.0004", "cannot be cut by window=0.0004, hop=0.02"),
        ("window=0", "cannot be cut by window=0, hop=0.02"),
        ("hop=0.0001", "cannot be cut by window=0.025, hop=0.0001"),
        ("widths=1e9", "settings of cnn have the wrong type: widths (1000000000.0,)"),
        ("widths=wide", "settings of cnn have the wrong type: widths 'wide'"),
        ("widths=500000000", "a weight of the shape (500000000, 1, 3, 3) takes"),
        ("input=3", "cnn has no setting input"),
    ],
)
def test_settings_of_the_wrong_kind_are_named(
    setting: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = np.random.default_rng(0).normal(size=(24, 2000)).astype(np.float32), np.arange(24) % 2
    code, _, err = run(
        capsys, "cnn", "--train", saved(tmp_path, x=x, y=y), "--sample-rate", 4000, "-o", tmp_path / "m.onnx", *FAST,
        "--set", setting,
    )  # fmt: skip
    assert code == 1
    assert words in err


@pytest.mark.parametrize(("setting", "words"), [("chars=abc", "not abc"), ("buckets=1.5", "not 1.5")])
def test_how_texts_are_cut_is_whole_numbers(
    setting: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "up,1\ndown,0\n" * 8)
    command = ("text-bag", "--train", table, "-o", tmp_path / "m.onnx", *FAST, "--set", setting)
    code, _, err = run(capsys, *command)
    assert code == 1
    assert f"texts are cut by whole numbers, {words}" in err


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_floats_of_any_width_are_learnt_from(dtype: type, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals(24)
    data, out = saved(tmp_path, x=x.astype(dtype), y=y), tmp_path / "m.onnx"
    assert run(capsys, "cnn1d", "--train", data, "-o", out, *FAST, "--batch", 8)[0] == 0
    assert answers(out, x=x[:2])["logits"].shape == (2, 2)  # the file takes float32
    assert run(capsys, out, "--train", data, "--eval", data, "-o", tmp_path / "n.onnx", *FAST, "--batch", 8)[0] == 0


def test_floats_beyond_what_the_model_counts_to_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals(24)
    x = x.astype(np.float64)
    x[5, 0, 0] = 1e300
    code, _, err = run(capsys, "cnn1d", "--train", saved(tmp_path, x=x, y=y), "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "not finite (NaN or infinity) in row 5" in err


def test_tokens_that_are_met_in_the_evaluation_alone_have_a_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = np.random.default_rng(0).integers(1, 9, (24, 8)), np.arange(24) % 2
    data, held = saved(tmp_path, x=x, y=y), tmp_path / "held.npz"
    np.savez(held, x=x + 20, y=y)
    command = ("gru", "--train", data, "--eval", held, "-o", tmp_path / "m.onnx", *FAST, "--batch", 8)
    assert run(capsys, *command)[0] == 0
    x[3, 3] = -1
    saved(tmp_path, x=x, y=y)
    code, _, err = run(capsys, *command)
    assert code == 1
    assert "training data: tokens are numbers from 1, 0 for padding, and x is below 0 in row 3" in err


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        ("mse", np.arange(24) % 2, "the output logits gives 2 numbers a sample, and y is float32 (19,)"),
        ("bce", np.arange(24) % 2, "the output logits gives 2 numbers a sample, and y is int64 (20,)"),
        ("bce", np.eye(24, 2) * 0.5, "neither 0 nor 1 in rows 0 and 1\n"),
    ],
)
def test_values_fit_the_output_that_learns_them(
    loss: str, y: np.ndarray, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, classes = signals(24)
    model = tmp_path / "m.onnx"
    run(capsys, "cnn1d", "--train", saved(tmp_path, x=x, y=classes), "-o", model, *FAST, "--batch", 8)
    data = saved(tmp_path, x=x, y=y)
    code, _, err = run(capsys, model, "--train", data, "--loss", loss, "-o", tmp_path / "n.onnx", *FAST)
    assert code == 1
    assert words in err


def test_whole_numbers_are_values_to_a_regression(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Not classes of which most are empty."""
    x, classes = signals(24)
    model = tmp_path / "m.onnx"
    shape = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Gemm", ["flat", "w"], ["y"])]
    enters = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *x.shape[1:]])
    weights = numpy_helper.from_array(np.zeros((x[0].size, 1), np.float32), "w")
    graph = helper.make_graph(nodes, "line", [enters], [shape], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), model)
    data = saved(tmp_path, x=x, y=np.arange(24) * 100 + classes)
    more = ("--loss", "mse", "-o", tmp_path / "n.onnx", *FAST, "--batch", 8, "--json")
    code, text, _ = run(capsys, model, "--train", data, *more)
    assert code == 0
    assert json.loads(text)["metric"]["name"] == "rmse"

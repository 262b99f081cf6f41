"""`edgewise compress --teacher --student --unlabelled`, with a real server, real files, and everything that does not fit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewise.cli.main import main
from edgewise.digits import load_split, model_bytes
from edgewise.graph.image import image_pipeline
from edgewise.graph.inspect import read_model
from edgewise.graph.join import prepend
from edgewise.networks.fitting import fit_config
from edgewise.networks.registry import build
from edgewise.runtime.engine import installed_engines
from edgewise.testing.inference_server import InferenceServer


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, count in (("train", 300), ("eval", 300)):
        x, y = load_split(name)
        np.savez(tmp_path / f"{name}.npz", x=(x[:count, :, :, None] * 15).astype(np.uint8), y=y[:count])
    x, _ = load_split("train")
    np.savez(tmp_path / "more.npz", x=(x[300:420, :, :, None] * 15).astype(np.uint8))
    (tmp_path / "digits.onnx").write_bytes(model_bytes("fp32"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def server() -> Iterator[InferenceServer]:
    """The digits model, taking pixels as they are in the data."""
    whole = prepend(image_pipeline(size=None, channels=1, input_name="image"), read_model(model_bytes("fp32")))
    with InferenceServer(whole.SerializeToString(), "large") as server:
        yield server


def network(classes: int) -> bytes:
    """Not taught yet, and taking floats as the digits model does."""
    config = fit_config("cnn", (1, 8, 8), "float32", classes=classes)
    return build("cnn", config, 0).SerializeToString()


def compress(*more: str, chains: tuple[str, ...] = ("distil-student > compact",), epochs: int = 1) -> int:
    asked = [word for chain in chains for word in ("--chains", chain)]
    return main(
        [
            "compress",
            "digits.onnx",
            "--train",
            "train.npz",
            "--eval",
            "eval.npz",
            "--epochs",
            str(epochs),
            *asked,
            "-o",
            "out",
            *more,
        ]
    )


def rows(folder: Path = Path("out")) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads((folder / "report.json").read_text())["rows"]}


def test_a_teacher_behind_a_url_is_asked_once_about_each_sample_and_never_about_those_that_judge(
    digits: Path, server: InferenceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("--teacher", server.model_url, "--student", "cnn", "--unlabelled", "more.npz", "--max-drop", "90")
    chains = ("distil-student > compact", "simplify > tune > int8-dynamic > compact")
    assert compress(*named, "--workers", "2", chains=chains, epochs=2) == 0
    told = capsys.readouterr().err
    assert f"345 samples of --train and --unlabelled (22080 bytes) go to {server.model_url} on this machine" in told
    assert told.index("345 samples") < told.index("rung 1/")
    assert sum(server.questions) == 225 + 120
    found = rows()
    assert not any(found[name]["failed"] for name in chains)
    assert found["distil-student > compact"]["did"][0] == (
        "cnn taught for 4 epochs by the answers of the teacher large and 120 samples without labels"
    )
    assert "from the answers of the teacher large" in found["simplify > tune > int8-dynamic > compact"]["did"][1]
    # Gone on with, nothing is asked twice; the server need not even be there.
    uses = json.loads(Path("out/report.json").read_text())["data"]
    assert [use["samples"] for use in uses] == [225, 75, 300, 120]
    server.statuses = [500] * 9
    assert compress(*named, "--resume", chains=chains, epochs=2) == 0
    assert "no sample is sent" in capsys.readouterr().err
    assert len(server.statuses) == 9
    # Another teacher is another search.
    assert compress("--student", "cnn", "--resume", chains=chains, epochs=2) == 1
    assert "teacher, unlabelled differ" in capsys.readouterr().err


def test_a_teacher_that_ends_in_the_middle_is_asked_for_the_rest_alone(
    digits: Path, server: InferenceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.most = 2
    assert compress("--teacher", server.model_url, "--student", "cnn", "--max-drop", "90") == 3
    told = capsys.readouterr().err
    assert "answers 400" in told
    assert "--resume goes on; what was answered is kept" in told
    server.most = None
    assert compress("--teacher", server.model_url, "--student", "cnn", "--max-drop", "90", "--resume") == 0
    assert "97 samples of --train" in capsys.readouterr().err
    assert sum(server.questions) == 225


def test_a_teacher_that_counts_its_classes_otherwise_is_refused(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, order in (("digits", range(10)), ("large", reversed(range(10)))):
        (digits / f"{name}.onnx").write_bytes(model_bytes("fp32"))
        (digits / f"{name}.labels.txt").write_text("".join(f"d{at}\n" for at in order))
    names = np.array([f"d{at}" for at in range(10)])
    for name in ("train", "eval"):
        with np.load(f"{name}.npz") as data:
            arrays = {**data, "class_names": names}
        np.savez(f"{name}.npz", **arrays)
    assert compress("--teacher", "large.onnx", "--student", "cnn") == 1
    assert "large.onnx counts its classes as d9, d8" in capsys.readouterr().err


def test_what_does_not_fit_is_said_before_a_sample_leaves(
    digits: Path, server: InferenceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (digits / "twelve.onnx").write_bytes(network(12))
    with InferenceServer((digits / "twelve.onnx").read_bytes(), "twelve") as other:
        for more, word in (
            (("--teacher", other.model_url), "the teacher takes"),
            (("--teacher", f"{server.url}/v2/models/small"), "answers 404: {\"error\":\"no such model\"}"),
            (("--teacher", "http://example.org/v2/models/a"), "without encryption"),
            (("--teacher", server.model_url, "--teacher-output", "boxes"), "no output boxes"),
            (("--teacher", "twelve.onnx"), "answers with [12] numbers"),
            (("--teacher", "nowhere.onnx"), "there is no model"),
            (("--teacher-output", "logits"), "--teacher-output is for --teacher"),
            (("--student", "twelve.onnx"), "the student's output"), (("--student", "abacus"), "neither a file nor a reference"),
            (("--unlabelled", "train"), "no data set"), (("--unlabelled", "small.npz"), "those of --train"),
        ):  # fmt: skip
            np.savez("small.npz", x=np.zeros((3, 4, 4, 1), np.uint8))
            assert compress(*more) in (1, 3, 4), more
            assert word in capsys.readouterr().err, more
            assert not (digits / "out").exists(), more
        assert not other.questions
    assert not server.questions


def test_files_teach_and_learn_with_the_same_preprocessing_in_front(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Both take floats, as the model itself does.
    (digits / "large.onnx").write_bytes(model_bytes("fp32"))
    (digits / "narrow.onnx").write_bytes(network(10))
    folder = digits / "pictures" / "unsorted"
    folder.mkdir(parents=True)
    for at, image in enumerate(np.load("more.npz")["x"][:40]):
        Image.fromarray(np.kron(image[:, :, 0], np.ones((2, 2), np.uint8))).save(folder / f"{at:02}.png")
    named = ("--teacher", "large.onnx", "--student", "narrow.onnx", "--unlabelled", "pictures", "--max-drop", "90")
    assert compress(*named, "--workers", "2") == 0
    row = rows()["distil-student > compact"]
    assert not row["failed"]
    assert row["did"][0].endswith("by the answers of the teacher large.onnx and 40 samples without labels")
    assert row["passes"][0].startswith("distil:given-")


@pytest.mark.skipif("litert" not in installed_engines(), reason="LiteRT is not installed")
def test_a_tflite_file_teaches(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = shared_data / "model_kws_dscnn"
    data = np.load(folder / "kws01_accuracy_set_1000.npz")
    real = (data["x_int8"].astype(np.float32) - float(data["zero_point"])) * np.float32(data["scale"])
    shape = [
        d.dim_value
        for d in read_model((folder / "kws_ds_cnn_fp32.onnx").read_bytes()).graph.input[0].type.tensor_type.shape.dim
    ]
    x, y = real.reshape(-1, *shape[1:]), data["y"]
    np.savez("train.npz", x=x[:160], y=y[:160])
    np.savez("eval.npz", x=x[160:260], y=y[160:260])
    arguments = ["--train", "train.npz", "--eval", "eval.npz", "--epochs", "1", "-o", "out", "--max-drop", "99"]
    teacher = [
        "--teacher",
        str(folder / "kws_ref_model_int8.tflite"),
        "--chains",
        "distil-25 > streamline > int8-storage > express > compact",
    ]
    assert main(["compress", str(folder / "kws_ds_cnn_fp32.onnx"), *arguments, *teacher]) == 0
    row = rows()["distil-25 > streamline > int8-storage > express > compact"]
    assert not row["failed"]
    assert "the teacher kws_ref_model_int8.tflite" in row["did"][0]

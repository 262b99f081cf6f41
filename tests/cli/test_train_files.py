"""`edgewise train MODEL.onnx`: somebody's file, fine-tuned."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests.cli.train_data import FAST, run, saved

from edgewise.digits import load_split, model_bytes


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


def test_a_model_of_pictures_takes_them_as_they_lie_in_the_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Many sizes, grey and in colour: brought to one size to learn from, and by the file itself afterwards."""
    Image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name, (low, high) in {"dark": (0, 120), "light": (130, 256)}.items():
        (tmp_path / "d" / name).mkdir(parents=True)
        for at in range(20):
            shape = (20 + at, 30, 3) if at % 2 else (20 + at, 30)
            Image.fromarray(rng.integers(low, high, shape, np.uint8)).save(tmp_path / f"d/{name}/{at}.png")
    out = tmp_path / "m.onnx"
    code, _, _ = run(
        capsys, "cnn", "--train", tmp_path / "d", "--size", "16x24", "-o", out, "--threads", 1, "--epochs", 12,
        "--augment", "none", "--set", "widths=4,8", "--batch", 8,
    )  # fmt: skip
    assert code == 0
    session = ort.InferenceSession(out)
    (entering,) = session.get_inputs()
    assert (entering.type, entering.shape[1:]) == ("tensor(uint8)", ["height", "width", 3])
    for name, wanted in (("dark", 0), ("light", 1)):
        picture = np.asarray(Image.open(tmp_path / f"d/{name}/1.png"))
        assert session.run(None, {entering.name: picture[None]})[0].argmax() == wanted


def test_a_file_for_other_numbers_gets_a_last_layer_of_as_many(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = load_split("eval")
    data = saved(tmp_path, x=(x[:60, None] / 16).astype(np.float32), y=np.stack([y[:60], -y[:60]], 1) / np.float32(10))
    (tmp_path / "d.onnx").write_bytes(model_bytes("fp32"))
    out = tmp_path / "m.onnx"
    words = (tmp_path / "d.onnx", "--train", data, "--loss", "mse", "-o", out, *FAST)
    code, _, err = run(capsys, *words)
    assert code == 1
    assert "gives 10 numbers a sample" in err
    assert "--head" in err
    code, _, err = run(capsys, *words, "--head")
    assert code == 0, err
    assert ort.InferenceSession(out).get_outputs()[0].shape[-1] == 2

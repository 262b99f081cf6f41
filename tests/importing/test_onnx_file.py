"""An ONNX file is imported with everything it refers to and nothing else; what cannot run says why."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.document import Document
from edgewise.errors import MismatchError, ModelError, NotFoundError, RefusedError, UnsupportedError
from edgewise.importing.check import check_against, open_imported
from edgewise.importing.onnx_file import import_onnx

onnx = pytest.importorskip("onnx", reason="needs the extra pack")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


def linear(inputs: list[Any] | None = None, nodes: list[Any] | None = None, **model: Any) -> Any:
    """x (?, 4) -> y (?, 3) with a 4 x 3 matrix of weights."""
    weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3) / 10, "w")
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])], [weights],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, **model)


def saved(model: Any, folder: Path, name: str = "model.onnx") -> Path:
    (folder / name).write_bytes(model.SerializeToString())
    return folder / name


def external(folder: Path, location: str = "weights.bin", **entries: str) -> Path:
    model = linear()
    tensor = model.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(len(content)), **entries}.items():
        tensor.external_data.add(key=key, value=value)
    if not location.startswith(("/", "..")):
        (folder / location).write_bytes(content)
    return saved(model, folder)


def test_the_interface_names_what_varies_and_the_requirements_are_those_of_the_file(tmp_path: Path) -> None:
    model = import_onnx(saved(linear(), tmp_path, "Tiny Model.onnx"))
    assert str(model.inputs[0]) == "x: float32 (batch, 4)"
    assert model.requires == {"opset": 17, "irVersion": 9, "domains": {}}
    assert (model.name, list(model.files), model.precision) == ("tiny-model", ["model.onnx"], "fp32")


def test_an_imported_model_builds_into_a_bundle(tmp_path: Path) -> None:
    model = import_onnx(external(tmp_path))
    variant, files = model.to_variant("fp32")
    document = Document("tiny", "1.0.0", "tensor", model.inputs, model.outputs, (variant,))
    bundle = build_bundle(document, files)
    assert bundle.model_files(variant) == model.files


# --------------------------------------------------------------------------- external data


def test_external_data_comes_along_and_the_model_runs_from_memory(tmp_path: Path) -> None:
    model = import_onnx(external(tmp_path))
    assert list(model.files) == ["model.onnx", "weights.bin"]
    (tmp_path / "weights.bin").unlink()
    session = open_imported(model)
    got = session.run({"x": np.eye(4, dtype=np.float32)})["y"]
    session.close()
    np.testing.assert_allclose(got, np.arange(12).reshape(4, 3) / 10, atol=1e-7)


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "..", "sub/../../outside.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "outside.bin").write_bytes(bytes(48))
    (tmp_path / "inside" / "sub").mkdir(parents=True)
    with pytest.raises(ModelError, match="outside the model's folder"):
        import_onnx(external(tmp_path / "inside", location))


@pytest.mark.parametrize("where", ["attribute", "nested"])
def test_external_data_that_onnxruntime_would_take_from_the_current_folder_is_refused(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime resolves such a location against the working directory when the model comes from memory."""
    held = onnx.load(external(tmp_path), load_external_data=False).graph.initializer[0]
    model = linear()
    model.graph.ClearField("initializer")
    if where == "attribute":
        model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=held))
    else:
        output = [helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3])]
        branches = [
            helper.make_graph([helper.make_node("Identity", ["w"], ["o"])], "b", [], output, [held]) for _ in range(2)
        ]
        for branch in branches:
            branch.output[0].name = "o"
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        model.graph.node.insert(
            0, helper.make_node("If", ["yes"], ["w"], then_branch=branches[0], else_branch=branches[1])
        )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsupportedError, match="from memory"):
        import_onnx(saved(model, tmp_path, "held.onnx"))


def test_external_data_behind_a_link_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "real.bin")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "real.bin")
    with pytest.raises(RefusedError, match="link"):
        import_onnx(path)


@pytest.mark.parametrize("entries", [{"length": "49"}, {"offset": "8"}, {"offset": "-8"}, {"length": "many"}])
def test_a_tensor_that_lies_beyond_its_file_is_damage(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(ModelError):
        import_onnx(external(tmp_path, **entries))


def test_external_data_that_is_missing_or_cannot_be_named_says_so(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(NotFoundError, match=r"weights\.bin"):
        import_onnx(path)
    with pytest.raises(UnsupportedError, match="cannot carry"):
        import_onnx(external(tmp_path, "my weights.bin"))


# ------------------------------------------------------------------------ what cannot run


def test_an_operator_that_onnxruntime_lacks_is_named_with_its_domain(tmp_path: Path) -> None:
    model = linear(nodes=[helper.make_node("Sharpen", ["x"], ["y"], domain="acme.vision")])
    model.opset_import.append(helper.make_opsetid("acme.vision", 1))
    with pytest.raises(UnsupportedError, match=r"Sharpen of the domain 'acme\.vision'"):
        import_onnx(saved(model, tmp_path))


def test_an_interface_that_a_bundle_cannot_state_is_named(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [None, 4])
    with pytest.raises(UnsupportedError, match="x is of type sequence"):
        import_onnx(saved(linear(inputs=[sequence]), tmp_path))
    brain = helper.make_tensor_value_info("x", TensorProto.BFLOAT16, [None, 4])
    with pytest.raises(UnsupportedError, match="bfloat16"):
        import_onnx(saved(linear(inputs=[brain]), tmp_path))
    shapeless = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    with pytest.raises(ModelError, match="shape"):
        import_onnx(saved(linear(inputs=[shapeless]), tmp_path))


def test_what_is_no_onnx_damaged_or_inconsistent_is_a_model_error(tmp_path: Path) -> None:
    data = linear().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="no ONNX"):
        import_onnx(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(data[:-20])
    with pytest.raises(ModelError, match="no ONNX"):
        import_onnx(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="check"):
        import_onnx(saved(linear(nodes=[helper.make_node("MatMul", ["x", "nowhere"], ["y"])]), tmp_path))
    with pytest.raises(NotFoundError):
        import_onnx(tmp_path / "none.onnx")


def test_the_precision_is_that_of_the_weights_and_operators(tmp_path: Path) -> None:
    half = linear()
    weights = numpy_helper.from_array(np.ones((4, 3), np.float16), "h")
    half.graph.ClearField("initializer")
    half.graph.initializer.append(weights)
    half.graph.node.insert(0, helper.make_node("Cast", ["h"], ["w"], to=TensorProto.FLOAT))
    assert import_onnx(saved(half, tmp_path)).precision == "fp16"
    quantized = pytest.importorskip("onnxruntime.quantization")
    quantized.quantize_dynamic(saved(linear(), tmp_path), tmp_path / "q.onnx")
    assert import_onnx(tmp_path / "q.onnx").precision == "int8"


# ----------------------------------------------------------------------------- real models


@pytest.mark.parametrize(
    ("file", "interface"),
    [
        ("model_kws_dscnn/kws_ds_cnn_fp32.onnx", [("float32", 4)]),
        ("model_vision_mobilenet/vww_96_fp32.onnx", [("float32", 4)]),
        ("model_vad_silero/silero_vad.onnx", [("float32", 2), ("float32", 3), ("int64", 0)]),
        ("model_vad_silero/silero_vad_16k_op15.onnx", [("float32", 2), ("float32", 3), ("int64", 0)]),
    ],
)
def test_published_models_import(shared_data: Path, file: str, interface: list[tuple[str, int]]) -> None:
    model = import_onnx(shared_data / file)
    assert [(spec.dtype, len(spec.shape)) for spec in model.inputs] == interface
    assert all(isinstance(dim, str) or dim > 0 for spec in (*model.inputs, *model.outputs) for dim in spec.shape)


def frames(shared_data: Path) -> Any:
    import wave

    with wave.open(str(shared_data / "model_vad_silero" / "test.wav")) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(np.float32) / 32768
    return samples[: len(samples) // 512 * 512].reshape(-1, 512)


@pytest.mark.parametrize("file", ["silero_vad.onnx", "silero_vad_16k_op15.onnx"])
def test_the_voice_detector_gives_its_golden_probabilities_frame_by_frame(shared_data: Path, file: str) -> None:
    """If sub-graphs, an LSTM and a state that goes round: the first 300 frames of ten seconds."""
    golden = np.load(shared_data / "model_vad_silero" / "golden_probabilities.npy").ravel()
    session = open_imported(import_onnx(shared_data / "model_vad_silero" / file))
    state, context, worst = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), 0.0
    for at, frame in enumerate(frames(shared_data)[:300]):
        got = session.run(
            {"input": np.concatenate([context, frame])[np.newaxis], "state": state, "sr": np.array(16000)}
        )
        state, context = got["stateN"], frame[-64:]
        worst = max(worst, abs(float(got["output"][0, 0]) - float(golden[at])))
    session.close()
    assert worst < 1e-4


def test_the_person_detector_gives_its_golden_probabilities(shared_data: Path) -> None:
    images = pytest.importorskip("PIL.Image", reason="needs the extra image")
    folder = shared_data / "model_vision_mobilenet"
    session = open_imported(import_onnx(folder / "vww_96_fp32.onnx"))
    for name, wanted in json.loads((folder / "golden_predictions.json").read_text()).items():
        image = images.open(folder / "images" / name).convert("RGB").resize((96, 96), images.Resampling.BILINEAR)
        (scores,) = session.run({"input": np.asarray(image, np.float32)[np.newaxis] / 255}).values()
        assert float(scores[0, 1]) == pytest.approx(wanted["vww_person_probability"], abs=2e-4), name
    session.close()


def test_a_reference_file_reproduces_and_a_changed_one_does_not(shared_data: Path, tmp_path: Path) -> None:
    """check_against with 64 samples of the keyword set, against plain onnxruntime."""
    ort = pytest.importorskip("onnxruntime")
    path = shared_data / "model_kws_dscnn" / "kws_ds_cnn_fp32.onnx"
    model = import_onnx(path)
    given = np.random.default_rng(5).normal(size=(64, 49, 10, 1)).astype(np.float32)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {model.inputs[0].name: given})
    names = {"i": f"in/{model.inputs[0].name}", "o": f"out/{model.outputs[0].name}"}
    np.savez(tmp_path / "reference.npz", **{names["i"]: given, names["o"]: expected})
    assert check_against(model, tmp_path / "reference.npz").max_absolute < 1e-5
    wrong = expected.copy()
    wrong[7, 3] += 0.01
    np.savez(tmp_path / "wrong.npz", **{names["i"]: given, names["o"]: wrong})
    with pytest.raises(MismatchError) as caught:
        check_against(model, tmp_path / "wrong.npz")
    assert caught.value.details["worst"]["index"] == [7, 3]

"""Every bundle gets a golden set that its own device repeats, from data or, without any, from inputs that its model takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgewise
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.tensors import StateSpec
from edgewise.compose.keys import trust_key
from edgewise.compose.pack_options import with_constants
from edgewise.errors import GoldenReplayError, InputError
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import import_onnx, onnx_from_bytes
from edgewise.importing.tflite_file import import_tflite
from edgewise.measure.dataset import Dataset
from edgewise.packing.pack import PackRequest, pack
from edgewise.runtime.golden_set import read_golden
from edgewise.store.bundles import write_file
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey

KEY = PrivateKey(bytes(32))


def graph(
    nodes: list[Any], inputs: dict[str, tuple[int, list[Any]]], outputs: dict[str, tuple[int, list[Any]]], *stored: Any
) -> ImportedModel:
    sides = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in side.items()]
        for side in (inputs, outputs)
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", *sides, list(stored)), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    return onnx_from_bytes("m.onnx", model.SerializeToString())


def tokens() -> ImportedModel:
    """Ten rows that whole numbers choose from: 0..9 are tokens, anything else is an error of the runtime."""
    table = numpy_helper.from_array(np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32), "w")
    nodes = [helper.make_node("Gather", ["w", "t"], ["y"])]
    return graph(
        nodes, {"t": (TensorProto.INT64, ["batch", "n"])}, {"y": (TensorProto.FLOAT, ["batch", "n", 4])}, table
    )


def request(model: ImportedModel, **changes: Any) -> PackRequest:
    return PackRequest("m", "1", {model.precision: model}, **changes)


def loads(bundle: Bundle, folder: Path) -> edgewise.Session:
    home = Home(folder / "home")
    trust_key(KEY.public, "tests", home)
    write_file(bundle, folder / "m.bundle")
    return edgewise.load(folder / "m.bundle", home=home)


def test_a_model_of_tokens_is_packed_without_data_and_runs_on_the_engine_that_checks_them(tmp_path: Path) -> None:
    bundle = pack(request(tokens()), KEY).bundle
    assert bundle.document.golden is not None
    assert bundle.document.golden.extra["source"] == "seeded"
    golden = read_golden(bundle)
    assert golden is not None
    assert golden.inputs["t"].max() <= 9
    assert golden.count == 8, "made-up inputs say less than real ones: few are kept"
    assert loads(bundle, tmp_path).origin.engine == "onnxruntime"


def test_a_model_with_two_inputs_gets_one_too(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    shape = (TensorProto.FLOAT, ["batch", 3])
    bundle = pack(request(graph(nodes, {"a": shape, "b": shape}, {"y": shape})), KEY).bundle
    golden = read_golden(bundle)
    assert golden is not None
    assert set(golden.inputs) == {"a", "b"}
    with loads(bundle, tmp_path) as session:
        one = np.ones(3, np.float32)
        assert session.predict(a=one, b=one).output.tolist() == [2, 2, 2]


def test_a_streaming_detector_packs_as_its_guide_says_and_loads(shared_data: Path, tmp_path: Path) -> None:
    model = with_constants(import_onnx(shared_data / "model_vad_silero" / "silero_vad.onnx"), ["sr=16000"])
    states = (StateSpec("state", "stateN"),)
    made = request(model, states=states, decision="output")
    session = loads(pack(made, KEY).bundle, tmp_path)
    assert session.stream().predict(np.zeros((1, 576), np.float32)).output.shape == (1, 1)


def test_a_tflite_model_is_recorded_by_litert_and_runs_there(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
    model = import_tflite(shared_data / "model_kws_dscnn" / "kws_ref_model_int8.tflite")
    home = Home(tmp_path / "home")
    trust_key(KEY.public, "tests", home)
    write_file(pack(request(model, task="classification"), KEY).bundle, tmp_path / "m.bundle")
    with edgewise.load(tmp_path / "m.bundle", home=home, require={"engine": "litert"}) as session:
        said = session.predict(np.zeros((1, 49, 10, 1), np.int8))
        assert 0 <= said.score[0] <= 1, "a quantized score is told in real numbers"


def test_text_and_none_are_said_instead_of_pretended() -> None:
    nodes = [helper.make_node("Identity", ["t"], ["y"])]
    shape = (TensorProto.STRING, ["batch"])
    texts = graph(nodes, {"t": shape}, {"y": shape})
    packed = pack(request(texts), None)
    assert packed.bundle.document.golden is None
    assert "no golden set" in packed.notes[0]
    assert "as you asked" in pack(request(tokens(), golden_count=0), None).notes[0]
    with pytest.raises(InputError, match="holds numbers"):
        pack(request(texts, golden=Dataset(np.array(["a", "b"], object), np.zeros(2))), None)


def test_several_inputs_and_data_do_not_go_together() -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    shape = (TensorProto.FLOAT, ["batch", 3])
    model = graph(nodes, {"a": shape, "b": shape}, {"y": shape})
    with pytest.raises(InputError, match="this model has a, b"):
        pack(request(model, golden=Dataset(np.zeros((4, 3), np.float32), np.zeros(4))), None)


def test_a_model_that_knows_no_batches_is_recorded_one_answer_a_row(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["p"], axis=0)]
    shape = (TensorProto.FLOAT, [4])
    bundle = pack(request(graph(nodes, {"x": shape}, {"p": shape}), task="classification"), KEY).bundle
    golden = read_golden(bundle)
    assert golden is not None
    assert golden.outputs["fp32"]["p"].shape == (golden.count, 4)
    assert golden.inputs["x"].shape == (golden.count, 4)
    with loads(bundle, tmp_path) as session:
        assert session.predict(np.array([0, 3, 1, 2], np.float32)).index == 1


def test_texts_beside_numbers_are_left_out_of_the_golden_set(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["text"], to=TensorProto.STRING), helper.make_node("Neg", ["x"], ["y"])]
    shape = ["batch", 2]
    sides = {"text": (TensorProto.STRING, shape), "y": (TensorProto.FLOAT, shape)}
    bundle = pack(request(graph(nodes, {"x": (TensorProto.FLOAT, shape)}, sides), decision="y"), KEY).bundle
    golden = read_golden(bundle)
    assert golden is not None
    assert set(golden.outputs["fp32"]) == {"y"}
    assert np.array_equal(golden.outputs["fp32"]["y"], -golden.inputs["x"])
    with loads(bundle, tmp_path) as session:
        assert session.predict(np.ones(2, np.float32)).output.tolist() == [-1, -1]


def test_where_answers_are_lists_of_any_length_samples_are_taken_evenly(tmp_path: Path) -> None:
    """A detector's list says nothing of single samples, so none can be chosen by it."""
    nodes = [helper.make_node("NonZero", ["x"], ["found"]), helper.make_node("Transpose", ["found"], ["places"])]
    inputs = {"x": (TensorProto.FLOAT, ["batch", 4])}
    model = graph(nodes, inputs, {"places": (TensorProto.INT64, ["count", 2])})
    x = np.array([[1, at % 2, at % 3, at] for at in range(7)], np.float32)
    bundle = pack(request(model, golden=Dataset(x, np.zeros(7)), golden_count=3), KEY).bundle
    golden = read_golden(bundle)
    assert golden is not None
    assert golden.inputs["x"].tolist() == x[[0, 3, 6]].tolist()
    assert len(golden.outputs["fp32"]["places"]) == np.count_nonzero(x[[0, 3, 6]])
    loads(bundle, tmp_path).close()


def test_a_model_that_does_not_repeat_its_own_answers_is_never_packed() -> None:
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["noise"]), helper.make_node("Add", ["x", "noise"], ["y"])]
    shape = (TensorProto.FLOAT, ["batch", 4])
    with pytest.raises(GoldenReplayError, match="fails its golden replay"):
        pack(request(graph(nodes, {"x": shape}, {"y": shape})), KEY)

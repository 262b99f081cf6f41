"""What onnxruntime's engine does beyond the public suite: the optimised copy, bound buffers, no silent fall-back."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("onnx", reason="needs the extra pack")

import onnx
from onnx import TensorProto, helper

from edgewise.digests import digest_of
from edgewise.digits import model_bytes
from edgewise.errors import ModelError, UnsupportedError
from edgewise.runtime.engine import OpenOptions
from edgewise.runtime.onnxruntime_engine import OnnxRuntimeEngine
from edgewise.testing.engine_models import example

CONVOLUTION = example("onnx", "convolution")
CPU = "CPUExecutionProvider"


def _open_cached(folder: Path, seed: int = 0) -> np.ndarray:
    session = OnnxRuntimeEngine().open(CONVOLUTION.files, OpenOptions(cache=folder))
    feeds = CONVOLUTION.feeds(2, seed)
    result = session.run(feeds)["y"]
    assert np.allclose(result, CONVOLUTION.expected(feeds)["y"], atol=1e-4)
    session.close()
    return result


def test_the_second_opening_uses_the_optimised_copy(tmp_path: Path) -> None:
    """Proven by a copy with other weights: its answers come back, so it is what was opened."""
    _open_cached(tmp_path)
    path = tmp_path / "optimised.onnx"
    written = path.stat().st_mtime_ns
    _open_cached(tmp_path)
    assert path.stat().st_mtime_ns == written, "the copy was made again"
    model = onnx.load_model_from_string(path.read_bytes())
    assert "Relu" not in [node.op_type for node in model.graph.node], "Conv and Relu are one node in the copy"
    for weights in model.graph.initializer:
        weights.raw_data = bytes(len(weights.raw_data))
    path.write_bytes(model.SerializeToString())
    (tmp_path / "optimised.sha256").write_text(digest_of(path.read_bytes()))
    session = OnnxRuntimeEngine().open(CONVOLUTION.files, OpenOptions(cache=tmp_path))
    assert not session.run(CONVOLUTION.feeds(2))["y"].any()


@pytest.mark.parametrize("damage", [b"", b"not a model", None], ids=["empty", "garbage", "one bit"])
def test_a_damaged_copy_is_discarded_and_made_again(tmp_path: Path, damage: bytes | None) -> None:
    _open_cached(tmp_path)
    path = tmp_path / "optimised.onnx"
    good = path.read_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    path.write_bytes(bytes(changed) if damage is None else damage)
    _open_cached(tmp_path)
    _open_cached(tmp_path)
    assert digest_of(path.read_bytes()) == (tmp_path / "optimised.sha256").read_text()


def test_a_copy_that_its_own_runtime_refuses_is_made_again(tmp_path: Path) -> None:
    """The digest fits, the content does not: a copy by another build of the same version."""
    _open_cached(tmp_path)
    (tmp_path / "optimised.onnx").write_bytes(b"another build's format")
    (tmp_path / "optimised.sha256").write_text(digest_of(b"another build's format"))
    _open_cached(tmp_path)
    assert not (tmp_path / "optimised.sha256").exists(), "the next opening is told to make it again"
    _open_cached(tmp_path)
    assert onnx.load_model_from_string((tmp_path / "optimised.onnx").read_bytes()).graph.node


def test_no_draft_is_left_behind(tmp_path: Path) -> None:
    _open_cached(tmp_path)
    _open_cached(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optimised.onnx", "optimised.sha256"]


def test_remote_providers_are_neither_listed_nor_opened() -> None:
    """The wheel carries AzureExecutionProvider; nothing may leave the device through an inference engine."""
    engine = OnnxRuntimeEngine()
    assert "AzureExecutionProvider" not in [provider.name for provider in engine.providers()]
    with pytest.raises(UnsupportedError, match=CPU):
        engine.open(CONVOLUTION.files, OpenOptions(provider="AzureExecutionProvider"))


def test_a_provider_that_is_not_there_is_an_error_and_not_the_cpu() -> None:
    missing = set(onnxruntime.get_all_providers()) - set(onnxruntime.get_available_providers())
    for name in (*missing, "cpuexecutionprovider"):
        with pytest.raises(UnsupportedError, match="it has"):
            OnnxRuntimeEngine().open(CONVOLUTION.files, OpenOptions(provider=name))


def test_an_operator_that_the_runtime_lacks_is_a_model_error_that_names_it() -> None:
    with pytest.raises(ModelError, match="NoSuchOperator"):
        OnnxRuntimeEngine().open({"m.onnx": _unknown_operator()}, OpenOptions())


@pytest.mark.parametrize("output_shape", [("found",), (None,), ("batch",), (3,)], ids=str)
def test_outputs_whose_shape_depends_on_the_values_are_right_on_every_call(output_shape: tuple[object, ...]) -> None:
    """Buffers bound for one call's output shape must not shape the next call's, even if the model's declaration lies."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Squeeze", ["places", "axis"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, list(output_shape))],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [0])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = OnnxRuntimeEngine().open({"m.onnx": model.SerializeToString()}, OpenOptions())
    for x in ([1, 1, 1], [1, 1, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 1], [1, 1, 1]):
        wanted = np.flatnonzero(x)
        assert session.run({"x": np.array(x, np.float32)})["y"].tolist() == wanted.tolist()


def test_placement_of_a_real_model(shared_data: Path) -> None:
    """The keyword model: every node of the graph that runs is reported, on the CPU, convolutions fused with what follows."""
    data = (shared_data / "model_kws_dscnn/kws_ds_cnn_fp32.onnx").read_bytes()
    session = OnnxRuntimeEngine().open({"kws.onnx": data}, OpenOptions(record_placement=True))
    placement = session.placement()
    operators = [node.operator for node in placement.nodes]
    assert placement.counts() == {CPU: len(operators)}
    assert placement.share(CPU) == 1
    assert placement.elsewhere(CPU) == []
    assert sum("Conv" in operator for operator in operators) == 9, "DS-CNN has one convolution and four separable pairs"
    assert len(operators) < len(onnx.load_model_from_string(data).graph.node)


def _unknown_operator() -> bytes:
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("NoSuchOperator", ["x"], ["y"])], "g", infos[:1], infos[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def _with_weights_outside(count: int) -> bytes:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[count], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("length", str(count * 4))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [count]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def test_weights_outside_the_model_come_from_the_given_files_and_from_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, model = np.arange(4096, dtype=np.float32), _with_weights_outside(4096)
    weights.tofile(tmp_path / "weights.bin")
    monkeypatch.chdir(tmp_path)
    zeros = {"x": np.zeros(4096, np.float32)}
    given = OnnxRuntimeEngine().open({"model.onnx": model, "weights.bin": (weights * 2).tobytes()}, OpenOptions())
    assert np.array_equal(given.run(zeros)["y"], weights * 2)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        OnnxRuntimeEngine().open({"model.onnx": model}, OpenOptions()).run(zeros)


def test_placement_is_that_of_the_graph_that_later_sessions_run(tmp_path: Path) -> None:
    options = OpenOptions(cache=tmp_path / "cache", record_placement=True)
    model = {"model.onnx": model_bytes("int8")}
    first = OnnxRuntimeEngine().open(model, options).placement()
    assert OnnxRuntimeEngine().open(model, options).placement().counts() == first.counts()


def test_a_model_with_weights_outside_has_no_copy_that_could_hold_other_ones(tmp_path: Path) -> None:
    model, zeros = _with_weights_outside(4096), {"x": np.zeros(4096, np.float32)}
    for number in (1.0, 2.0, 3.0):
        weights = np.full(4096, number, np.float32)
        files = {"model.onnx": model, "weights.bin": weights.tobytes()}
        session = OnnxRuntimeEngine().open(files, OpenOptions(cache=tmp_path))
        assert np.array_equal(session.run(zeros)["y"], weights)
        session.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
@pytest.mark.parametrize("threads", [1, 4])
def test_a_session_has_the_threads_that_were_asked_for(threads: int) -> None:
    """The calling thread is one of them."""
    before = set(Path("/proc/self/task").iterdir())
    session = OnnxRuntimeEngine().open(CONVOLUTION.files, OpenOptions(threads=threads))
    assert len(set(Path("/proc/self/task").iterdir()) - before) == threads - 1
    session.close()

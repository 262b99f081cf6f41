"""The block of the runtime's own layout is what its optimiser writes; asking never fails."""

import onnxruntime as ort
import pytest

from edgewise.training.step import processor


def test_the_block_is_a_width_that_onnxruntime_has() -> None:
    assert processor.block_size() in {0, 8, 16}
    assert processor.block_size() is processor.block_size()


def test_the_runtime_takes_blocks_of_that_size_and_no_other(tmp_path: object) -> None:
    from onnx import TensorProto, helper

    block = processor.block_size()
    if not block:
        pytest.skip("this processor's onnxruntime has no blocked layout")
    node = helper.make_node("ReorderInput", ["x"], ["y"], domain="com.microsoft.nchwc")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph([node], "g", infos[:1], infos[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft.nchwc", 1)]
    ort.InferenceSession(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def test_a_runtime_that_cannot_be_asked_has_no_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no runtime here")

    monkeypatch.setattr(processor.ort, "InferenceSession", fails)
    assert processor.block_size.__wrapped__() == 0

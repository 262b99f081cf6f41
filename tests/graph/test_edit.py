"""A frozen input is the same as feeding its value every time."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper

from edgewise.errors import InputError, TensorError
from edgewise.graph.edit import freeze_input
from edgewise.graph.inspect import describe

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def model(shape: list[int | str]) -> ModelProto:
    """x (batch, 3) times rate."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "rate"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("rate", TensorProto.FLOAT, shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("shape", [[], [1], ["n"]])
def test_the_frozen_model_computes_what_the_model_does_with_that_value(shape: list[int | str]) -> None:
    value = np.float32(1.5) if shape in ([], [1]) else np.array([1.5], np.float32)
    frozen = freeze_input(model(shape), "rate", value)
    assert [item.name for item in describe(frozen).inputs] == ["x"]
    session = ort.InferenceSession(frozen.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], X * np.float32(1.5))


def test_a_value_of_another_dtype_or_shape_is_refused() -> None:
    for value in (np.float64(1), np.ones(2, np.float32), np.ones((1, 1), np.float32)):
        with pytest.raises(TensorError, match="rate is float32"):
            freeze_input(model([1]), "rate", value)


def test_an_input_that_is_not_there_or_the_last_one_is_refused() -> None:
    with pytest.raises(InputError, match="nothing"):
        freeze_input(model([]), "nothing", np.float32(1))
    frozen = freeze_input(model([]), "rate", np.float32(1))
    with pytest.raises(InputError, match="has to remain"):
        freeze_input(frozen, "x", X)

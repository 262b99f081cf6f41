"""Raising the opset keeps what a model computes, or says that it cannot."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.errors import UnsupportedError
from edgewise.graph.opset import at_opset
from edgewise.graph.walk import opsets

F = TensorProto.FLOAT
X = np.random.default_rng(0).standard_normal((2, 4, 6)).astype(np.float32)


def one(
    operator: str, opset: int, outputs: int = 1, weights: dict[str, np.ndarray] | None = None, **attributes: Any
) -> ModelProto:
    """x (2, 4, 6) through one operator."""
    names = [f"y{at}" for at in range(outputs)]
    node = helper.make_node(operator, ["x", *(weights or {})], names, **attributes)
    stored = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    kinds = [F, TensorProto.INT64 if operator == "TopK" else F]
    infos = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, kinds, strict=False)]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", F, X.shape)], infos, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: ModelProto) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": X}))


@pytest.mark.parametrize(
    ("model", "converted"),
    [
        (one("Relu", 7), False),
        (one("Reshape", 9, weights={"shape": np.array([8, -1])}), False),
        (one("TopK", 10, 2, {"k": np.array([2])}), False),
        (one("LpPool", 11, kernel_shape=[2]), False),
        (one("Split", 13, 2, axis=1), True),  # valid under the new schema but for num_outputs, which it must have
        (one("Softmax", 11, axis=1), True),  # over axes 1 and 2 together, later over axis 1 alone
        (one("Softmax", 11), True),
        (one("Unsqueeze", 11, axes=[0]), True),
        (one("ReduceMean", 13, axes=[1], keepdims=0), True),
        (one("Clip", 10, min=-0.5, max=0.5), True),
        (one("Slice", 9, axes=[1], starts=[1], ends=[3]), True),
        (one("Pad", 10, pads=[0, 1, 0, 0, 0, 2], value=3.0), True),
    ],
)
@pytest.mark.parametrize("target", [18, 20])
def test_the_raised_model_computes_the_same(model: ModelProto, converted: bool, target: int) -> None:
    raised = at_opset(model, target)
    assert opsets(raised) == {"": target}
    # Where only the number changes the node is the same to the last byte.
    assert (raised.graph.node[0].SerializeToString() != model.graph.node[0].SerializeToString()) == converted
    for got, expected in zip(run(raised), run(model), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_opsets_are_only_raised() -> None:
    assert at_opset(one("Relu", 18), 18) == one("Relu", 18)
    with pytest.raises(UnsupportedError, match="only raised"):
        at_opset(one("Relu", 20), 18)


def test_what_the_converter_cannot_do_is_unsupported_and_names_both_opsets() -> None:
    vectors = {name: np.ones(4, np.float32) for name in ("scale", "bias", "mean", "variance")}
    model = one("BatchNormalization", 9, 5, weights=vectors)  # five outputs: the training form, gone since opset 14
    with pytest.raises(UnsupportedError, match=r"opset 9 .* 18 .*BatchNormalization"):
        at_opset(model, 18)


def test_a_changed_operator_inside_a_branch_is_unsupported() -> None:
    info = helper.make_tensor_value_info("z", F, [2, 1, 6])
    branch = helper.make_graph([helper.make_node("ReduceMean", ["x"], ["z"], axes=[1])], "b", [], [info])
    model = one("Relu", 13)
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))))
    model.graph.node.append(helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch))
    with pytest.raises(UnsupportedError, match="ReduceMean"):
        at_opset(model, 18)

"""An average stands in for numbers; what counts is taken over as it is."""

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.training.losses.registry import MeanSquaredError
from edgewise.training.run.averages import Averages
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import SGD

F = TensorProto.FLOAT


def counting() -> ModelProto:
    """y = x w, and a whole number that goes up by one at each step."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Add", ["count", "one"], ["more"])]
    stored = {"w": np.ones((3, 2), np.float32), "count": np.array([0]), "one": np.array([1])}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", F, ["n", 3])], [helper.make_tensor_value_info("y", F, ["n", 2])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_count_is_not_averaged() -> None:
    step = build_step(counting(), MeanSquaredError(), SGD(0.1), ["w"], buffers={"count": "more"})
    stepper = Stepper(step, threads=1)
    averages = Averages(stepper, 0.9)
    for update in (1, 2, 3):
        stepper.step({"x": np.ones((4, 3), np.float32), "target": np.zeros((4, 2), np.float32)})
        averages.update(update)
    assert averages.states["count"].tolist() == stepper.state()["count"].tolist() == [3]
    assert (averages.states["w"] > stepper.state()["w"]).all(), "the weights lag behind"

"""Buffers stay bound; outputs whose shape the graph decides come by name, whatever was asked for before."""

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper

from edgewise.training.run.bound_graph import BoundGraph, aligned

F = TensorProto.FLOAT


def doubled_and_negated() -> bytes:
    """x to twice, minus and less (all of x's shape)."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]), helper.make_node("Neg", ["x"], ["minus"]),
        helper.make_node("Sub", ["minus", "twice"], ["less"]),
    ]  # fmt: skip
    x, *outputs = (helper.make_tensor_value_info(name, F, ["n"]) for name in ("x", "twice", "minus", "less"))
    graph = helper.make_graph(nodes, "g", [x], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def test_each_run_gives_the_outputs_it_was_asked_for() -> None:
    graph, kept = BoundGraph(doubled_and_negated(), "it", 1), aligned((3,), np.float32)
    graph.give("less", kept)
    for start, wanted in enumerate((["twice", "minus"], ["minus"], [], ["minus", "twice"], ["twice"])):
        x = np.arange(start, start + 3, dtype=np.float32)
        graph.feed("x", x)
        found = graph.run(wanted)
        assert list(found) == wanted
        for name, array in found.items():
            np.testing.assert_array_equal(array, {"twice": 2 * x, "minus": -x}[name])
        np.testing.assert_array_equal(kept, -3 * x)

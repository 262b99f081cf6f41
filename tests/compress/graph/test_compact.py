"""A compacted file gives the same answers, to the last bit, in fewer bytes."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.compress.quantize.small import case, fused, session
from tests.networks.cases import CASES, feeds

from edgewise.compress.graph.compact import Compact, compacted
from edgewise.compress.quantize.static import Static
from edgewise.graph.inspect import describe
from edgewise.graph.walk import nodes
from edgewise.networks.registry import build


@pytest.mark.parametrize("name", CASES)
def test_answers_inputs_outputs_and_metadata_stay(name: str) -> None:
    network, config, outputs = CASES[name]
    model = build(network, config, 3)
    helper.set_model_props(model, {"note": "kept"})
    before = model.SerializeToString()
    small = compacted(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(small, full_check=True)
    assert describe(small).inputs == describe(model).inputs
    assert describe(small).outputs == describe(model).outputs
    assert [(entry.key, entry.value) for entry in small.metadata_props] == [
        (e.key, e.value) for e in model.metadata_props
    ]
    assert len(small.SerializeToString()) < len(before)
    fed = feeds(model, 3)
    for one, other in zip(*(session(m).run(list(outputs), fed) for m in (model, small)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_integers_stay_fused_and_a_third_of_a_small_net_goes() -> None:
    model, samples, _ = case("ds-cnn")
    static = Static(count=32).apply(model, samples)
    small = compacted(static)
    assert fused(small) == fused(static)
    assert small.ByteSize() < 0.85 * static.ByteSize()
    assert Compact().apply(static, samples) == small


def test_it_is_its_own_fixed_point() -> None:
    small = compacted(case("resnet8", 4)[0])
    assert compacted(small).ByteSize() == small.ByteSize()


def test_nested_graphs_keep_what_they_take_from_outside() -> None:
    value = helper.make_tensor_value_info
    inner = [
        helper.make_graph([helper.make_node(op, ["outside value", "long constant name"], [f"{op} result"])], op, [],
                          [value(f"{op} result", 1, ["n"])])
        for op in ("Add", "Mul")
    ]  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Abs", ["x"], ["outside value"], "a long name", doc_string="a note"),
            helper.make_node("If", ["flag"], ["y"], "branch", then_branch=inner[0], else_branch=inner[1]),
            helper.make_node("Sub", ["y", "equal constant"], ["z"]),
        ],
        "a graph with a long name", [value("x", 1, ["n"]), value("flag", 9, [])], [value("z", 1, ["n"])],
        [numpy_helper.from_array(np.float32([3]), name) for name in ("long constant name", "equal constant")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    small = compacted(model)
    onnx.checker.check_model(small, full_check=True)
    assert len(small.graph.initializer) == 1
    assert {node.name for node in nodes(small)} == {""}
    for flag in (True, False):
        fed = {"x": np.float32([-2, 5]), "flag": np.array(flag)}
        np.testing.assert_array_equal(*(session(each).run(None, fed)[0] for each in (model, small)))


def test_an_attribute_goes_only_where_the_default_says_the_same() -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[1, 1], dilations=[1, 1], pads=[1] * 4, kernel_shape=[3, 3]),
            helper.make_node("MaxPool", ["c"], ["p"], strides=[2, 2], kernel_shape=[2, 2], pads=[0, 0, 0, 0], ceil_mode=0),
            helper.make_node("LeakyRelu", ["p"], ["l"], alpha=0.2),
            helper.make_node("Softmax", ["l"], ["y"], axis=-1),
        ],
        "g", [value("x", 1, [1, 1, 8, 8])], [value("y", 1, None)],
        [numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    small = compacted(model)
    assert [sorted(a.name for a in node.attribute) for node in small.graph.node] == [
        ["kernel_shape", "pads"], ["kernel_shape", "strides"], ["alpha"], [],
    ]  # fmt: skip
    x = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(*(session(each).run(None, {"x": x})[0] for each in (model, small)))

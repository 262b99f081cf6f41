"""A model is extended under new names; what is written twice is stored once; types are known as far as they can be."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.graph.inference import inferred_types
from edgewise.graph.writer import Writer

node = helper.make_node


def model(nodes: list[Any] | None = None, shape: Any = ("batch", 3), output: str = "y") -> ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    stored = [numpy_helper.from_array(np.ones(3, np.float32), "w")]
    graph = helper.make_graph(
        nodes or [node("Add", ["x", "w"], ["y"], "add")], "g", [x], [onnx.ValueInfoProto(name=output)], stored
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_the_model_that_was_given_stays_as_it_was() -> None:
    given = model()
    before = given.SerializeToString()
    w = Writer(given)
    w.output("twice", w.node("Add", "y", "y"), "float32", None)
    w.infer()
    assert given.SerializeToString() == before


def test_names_are_new_in_all_graphs() -> None:
    inner = helper.make_graph(
        [node("Neg", ["x"], ["Neg"])], "inner", [], [helper.make_tensor_value_info("Neg", TensorProto.FLOAT, None)]
    )
    go = node("Cast", ["x"], ["go"], to=TensorProto.BOOL)
    w = Writer(model([go, node("If", ["go"], ["y"], then_branch=inner, else_branch=inner)]))
    assert w.node("Neg", "x") == "Neg_1"
    assert w.fresh("x") == "x_1"
    assert w.input("w", "float32", (1,)) == "w_1"
    assert w.output("y", "x", "float32", None) == "y_1"


def test_equal_nodes_and_constants_are_stored_once() -> None:
    w = Writer(model())
    assert w.node("Neg", "y") == w.node("Neg", "y")
    assert w.node("LeakyRelu", "y", alpha=0.5) == w.node("LeakyRelu", "y", alpha=0.5)
    assert w.constant(np.arange(1000)) == w.constant(np.arange(1000))
    assert w.ints(1, 2) == w.ints(1, 2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("LeakyRelu", {"alpha": 0.5}), ("LeakyRelu", {"alpha": 0.25})), (("Neg", {}), ("Abs", {})),
        (("RandomNormalLike", {}), ("RandomNormalLike", {})),
    ],
)  # fmt: skip
def test_what_differs_or_is_random_is_not_merged(first: Any, second: Any) -> None:
    w = Writer(model())
    assert w.node(first[0], "y", **first[1]) != w.node(second[0], "y", **second[1])


def test_constants_differ_by_type_and_shape() -> None:
    w = Writer(model())
    assert (
        len(
            {
                w.constant(1.0),
                w.constant(1.0, "float64"),
                w.constant([1.0]),
                w.constant([[1.0]]),
                w.constant(1, "int64"),
            }
        )
        == 5
    )


def test_nodes_that_were_taken_out_are_not_merged_with() -> None:
    w = Writer(model())
    negative = w.node("Neg", "y")
    nodes = w.take_nodes()
    assert [n.op_type for n in nodes] == ["Add", "Neg"]
    assert list(w.graph.node) == []
    assert w.node("Neg", "y") != negative, "nothing makes that value any more"


def test_stored_values_are_known_whether_initializer_or_node() -> None:
    nodes = [
        node("Constant", [], ["a"], value_ints=[1, 2]), node("Constant", [], ["b"], value=numpy_helper.from_array(np.float32(3))),
        node("Constant", [], ["c"], value_float=0.5), node("Add", ["x", "w"], ["y"]),
    ]  # fmt: skip
    w = Writer(model(nodes))
    found = {name: np.asarray(w.array(name)).tolist() for name in "abc"}
    assert found == {"a": [1, 2], "b": 3.0, "c": 0.5}
    assert w.array("y") is None
    w.forget(["w"])
    assert w.array("w") is None


def test_types_and_shapes_with_names_of_dimensions() -> None:
    w = Writer(model())
    assert (w.dtype("y"), w.shape("y")) == ("float32", ("batch", 3))
    assert (w.dtype("nobody"), w.shape("nobody")) == ("", None)


def test_what_onnx_does_not_infer_is_known_all_the_same() -> None:
    nodes = [
        node("GroupNormalization", ["x", "w", "w"], ["a"], num_groups=1),
        node("MeanVarianceNormalization", ["a"], ["b"], axes=[0, 2]),
        node("GroupNormalization", ["b", "w", "w"], ["c"], num_groups=3), node("Relu", ["c"], ["y"]),
    ]  # fmt: skip
    types = inferred_types(model(nodes, ("batch", 3, 5)))
    assert {types[name] for name in "abcy"} == {("float32", ("batch", 3, 5))}


@pytest.mark.parametrize(("declared", "expected"), [([2, 3], (2, 3)), (None, None)])
def test_states_of_a_loop_keep_their_shape_where_its_body_says_so(declared: Any, expected: Any) -> None:
    infos = {"i": (TensorProto.INT64, []), "go": (TensorProto.BOOL, []), "h": (TensorProto.FLOAT, declared)}
    inputs = [helper.make_tensor_value_info(name, *kind) for name, kind in infos.items()]
    outputs = [helper.make_tensor_value_info("on", TensorProto.BOOL, [])] + [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, declared) for name in ("n", "each")
    ]
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Neg", ["h"], ["n"]), node("Abs", ["h"], ["each"])],
        "body",
        inputs,
        outputs,
    )
    loop = node("Loop", ["", "yes", "x"], ["y", "all"], body=body)
    yes = node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    types = inferred_types(model([yes, loop], (2, 3)))
    assert types.get("y", ("", None))[1] == expected
    everything = types.get("all", ("", None))[1]
    assert everything is None if expected is None else everything is not None and everything[1:] == expected

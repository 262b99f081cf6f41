"""Graphs written in pieces are put in an order that runs, and lose what no output needs."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgewise.errors import ModelError
from edgewise.graph.order import captured, ordered, pruned

node = helper.make_node


def model(nodes: list[NodeProto], outputs: list[str], stored: dict[str, Any] | None = None) -> ModelProto:
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "unused")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in outputs]
    tensors = [numpy_helper.from_array(np.ones(2, np.float32), name) for name in stored or {}]
    return helper.make_model(
        helper.make_graph(nodes, "g", infos, ends, tensors), opset_imports=[helper.make_opsetid("", 18)]
    )


def branch(name: str, reads: str) -> onnx.GraphProto:
    return helper.make_graph(
        [node("Neg", [reads], [name])], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])]
    )


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.permutations(range(8)), st.randoms(use_true_random=False))
def test_each_node_comes_after_what_it_reads_and_none_is_lost(places: list[int], random: Any) -> None:
    made = [node("Sum", ["x", *(f"v{random.randrange(at)}" for _ in range(2) if at)], [f"v{at}"]) for at in range(8)]
    result = ordered([made[at] for at in places], {"x"})
    there = {"x"}
    for one in result:
        assert set(one.input) <= there
        there |= set(one.output)
    assert len(result) == 8


def test_nodes_that_run_already_keep_their_order() -> None:
    made = [node("Neg", ["x"], ["b"]), node("Neg", ["x"], ["a"]), node("Add", ["a", "b"], ["c"])]
    assert ordered(made, {"x"}) == made


def test_a_branch_reads_from_outside() -> None:
    choice = node("If", ["go"], ["y"], then_branch=branch("t", "late"), else_branch=branch("e", "x"))
    assert captured(choice) == {"go", "late", "x"}
    assert [n.op_type for n in ordered([choice, node("Abs", ["x"], ["late"])], {"x", "go"})] == ["Abs", "If"]


def test_circles_and_values_that_nothing_makes_are_refused() -> None:
    with pytest.raises(ModelError, match="circle"):
        ordered([node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"])], {"x"})
    with pytest.raises(ModelError, match="lost"):
        ordered([node("Add", ["x", "lost"], ["a"])], {"x"})


def test_pruning_leaves_what_outputs_need() -> None:
    nodes = [
        node("Add", ["a", "w"], ["y"]), node("Neg", ["x"], ["a"]), node("Mul", ["x", "v"], ["gone"]),
        node("Neg", ["gone"], ["gone too"]),
    ]  # fmt: skip
    whole = model(nodes, ["y"], {"w": 1, "v": 1})
    before = whole.SerializeToString()
    result = pruned(whole)
    assert whole.SerializeToString() == before, "the argument stays as it was"
    assert [n.op_type for n in result.graph.node] == ["Neg", "Add"]
    assert [t.name for t in result.graph.initializer] == ["w"]
    assert [v.name for v in result.graph.input] == ["x", "unused"]
    assert [v.name for v in pruned(whole, keep_inputs=False).graph.input] == ["x"]
    onnx.checker.check_model(result)


def test_pruning_keeps_what_only_a_branch_reads() -> None:
    choice = node("If", ["go"], ["y"], then_branch=branch("t", "w"), else_branch=branch("e", "late"))
    result = pruned(
        model([choice, node("Abs", ["x"], ["late"]), node("Cast", ["x"], ["go"], to=TensorProto.BOOL)], ["y"], {"w": 1})
    )
    assert [n.op_type for n in result.graph.node][-1] == "If"
    assert len(result.graph.node) == 3
    assert [t.name for t in result.graph.initializer] == ["w"]

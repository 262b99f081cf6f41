"""What cannot be trained is named, all of it, before anything is built."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgewise.errors import UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.training.step.support import Obstacle, obstacles, require_trainable

F = TensorProto.FLOAT


def graph(nodes: list[NodeProto], weights: tuple[str, ...] = ("w",)) -> Writer:
    stored = [numpy_helper.from_array(np.ones((3, 3), np.float32), name) for name in weights]
    proto = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", F, ["n", 3])],
        [helper.make_tensor_value_info("y", F, None)],
        stored,
    )
    return Writer(
        helper.make_model(
            proto, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("odd", 1)], ir_version=8
        )
    )


def rule(node: NodeProto) -> str | None:
    return "there is no rule for it" if node.op_type in {"Odd", "Det"} else None


def test_every_obstacle_on_the_way_is_listed_with_operator_node_and_reason() -> None:
    w = graph([
        helper.make_node("Det", ["x"], ["before"], "no_weight_behind_it"),
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("Odd", ["a"], ["b"], "second", domain="odd"),
        helper.make_node("Det", ["a"], ["aside"], "leads_nowhere"),
        helper.make_node("Det", ["b"], ["y"]),
    ])  # fmt: skip
    found = obstacles(w, "y", ["w"], rule)
    assert found == (
        Obstacle("odd.Odd", "second", "there is no rule for it"), Obstacle("Det", "y", "there is no rule for it"),
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match=r"odd\.Odd \(second\).*; Det \(y\)") as caught:
        require_trainable(w, "y", ["w"], rule)
    assert [entry["node"] for entry in caught.value.details["nodes"]] == ["second", "y"]


def test_a_weight_that_the_loss_cannot_see_is_an_obstacle() -> None:
    w = graph([
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("Round", ["a"], ["b"], "rounding"),
        helper.make_node("MatMul", ["x", "aside"], ["c"], "unused"),
        helper.make_node("MatMul", ["b", "after"], ["y"], "last"),
    ], ("w", "aside", "after"))  # fmt: skip
    found = {entry.node: entry.reason for entry in obstacles(w, "y", ["w", "aside", "after"], rule)}
    assert found == {
        "w": "nothing flows back through Round (rounding) on the way to the loss",
        "aside": "the loss does not depend on it",
    }


@pytest.mark.parametrize(("count", "more"), [(20, ""), (23, "; and 3 more")])
def test_long_lists_are_cut_and_kept_in_the_details(count: int, more: str) -> None:
    odd = [helper.make_node("Odd", [f"v{at}"], [f"v{at + 1}"], f"n{at}", domain="odd") for at in range(count)]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["v0"]), *odd, helper.make_node("Neg", [f"v{count}"], ["y"])]
    with pytest.raises(UnsupportedError) as caught:
        require_trainable(graph(nodes), "y", ["w"], rule)
    assert caught.value.what.endswith(f"odd.Odd (n19): there is no rule for it{more}")
    assert len(caught.value.details["nodes"]) == count


def test_what_can_be_trained_passes() -> None:
    require_trainable(graph([helper.make_node("MatMul", ["x", "w"], ["y"])]), "y", ["w"], rule)

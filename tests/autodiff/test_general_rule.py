"""Why rules of our own stand before the general one: what onnx-ad gets wrong or does not do.

Where one of these fails, the package was mended, and the rule of ours is a matter of speed alone.
"""

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.autodiff.finite_differences import Case, Stored, call, check

from edgewise.autodiff.rules import MANY, RULES
from edgewise.errors import UnsupportedError

RNG = np.random.default_rng(6)


def noise(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


LEFT_OUT = {
    "AveragePool": call("AveragePool", noise(1, 1, 5), kernel_shape=[2], strides=[2], auto_pad="SAME_UPPER"),
    "DepthToSpace": call("DepthToSpace", noise(2, 4, 1, 1), blocksize=2, mode="CRD"),
    "Pad": call("Pad", noise(4), Stored(np.array([1, 2])), mode="reflect"),
    "Pow": call("Pow", np.abs(noise(3)) + 1, Stored(np.array([1.5, 2.0, 3.0], np.float32))),
    "Slice": call("Slice", noise(5), Stored(np.array([0])), Stored(np.array([5])), Stored(np.array([0])), Stored(np.array([2]))),
}  # fmt: skip


def test_the_package_gives_another_gradient_of_a_product_over_stated_but_empty_axes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = call("ReduceProd", noise(3) + 2, Stored(np.zeros(0, np.int64)), keepdims=0)
    check(case)
    monkeypatch.delitem(RULES, "ReduceProd")
    with pytest.raises(AssertionError, match="differences say"):
        check(case)


def test_the_package_forgets_the_reset_of_a_gru_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [noise(*shape).astype(np.float32) for shape in ((3, 2, 2), (1, 6, 2), (1, 6, 2))]
    case = call("GRU", *arrays, outputs=["", "last"], hidden_size=2, linear_before_reset=1, step=0.005, tolerance=1e-3)
    check(case)
    monkeypatch.delitem(MANY, "GRU")
    with pytest.raises(AssertionError, match="differences say"):
        check(case)


@pytest.mark.parametrize("operator", LEFT_OUT)
def test_the_package_has_no_gradient(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    symbolic = operator == "DepthToSpace"
    check(LEFT_OUT[operator], symbolic=symbolic)
    monkeypatch.delitem(RULES, operator)
    with pytest.raises(UnsupportedError, match=operator):
        check(LEFT_OUT[operator], symbolic=symbolic)


def test_what_a_node_reads_twice_or_from_inside_a_branch_is_asked_for_once() -> None:
    """The general rule wraps the node in a model, whose inputs must have different names."""
    branch = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["t"])],
        "branch",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, [3])],
    )
    nodes = [
        helper.make_node("If", ["go"], ["a"], then_branch=branch, else_branch=branch),
        helper.make_node("Mean", ["a", "x", "x"], ["y"]),
    ]
    x = noise(3).astype(np.float32)
    check(Case(nodes, {"x": x, "go": np.array(True)}, ["y"], step=0.005, tolerance=1e-3))

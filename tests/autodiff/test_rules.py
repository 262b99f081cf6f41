"""What single rules promise beyond the slope at a smooth point: ties, shared values, several outputs, what stops, refusals."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.autodiff.finite_differences import Case, Held, Stored, call, check, gradients, run

from edgewise.autodiff.differentiate import STOP_GRADIENT, differentiate
from edgewise.errors import UnsupportedError
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer

RNG = np.random.default_rng(2)
node = helper.make_node


def noise(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def test_a_value_used_several_times_gets_the_sum() -> None:
    nodes = [
        node("Mul", ["x", "x"], ["a"]),
        node("Add", ["a", "x"], ["b"]),
        node("Concat", ["b", "x", "b"], ["y"], axis=0),
    ]
    check(Case(nodes, {"x": noise(3)}, ["y"]))


def test_a_value_that_is_an_output_and_is_used_gets_both() -> None:
    check(Case([node("Tanh", ["x"], ["a"]), node("Mul", ["a", "a"], ["b"])], {"x": noise(2, 3)}, ["a", "b"]))


def test_a_parameter_on_two_paths_gets_both() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"]), node("Tanh", ["a"], ["h"]), node("MatMul", ["h", "w"], ["b"]),
        node("Add", ["b", "w"], ["y"]),
    ]  # fmt: skip
    check(Case(nodes, {"x": noise(2, 2), "w": noise(2, 2)}, ["y"]))


@pytest.mark.parametrize("weighted", [False, True])
def test_partial_gradients_of_means_are_broadcast_in_time(weighted: bool) -> None:
    """A mean hands on an error that is not yet repeated; whatever comes before it must still get the right shape."""
    for inner in (["Add", "Sub", "Mul", "Div"], ["Sum", "Max"]):
        for operator in inner:
            nodes = [
                node(operator, ["x", "b"], ["a"]), node("Tanh", ["a"], ["t"]), node("Add", ["t", "a"], ["s"]),
                node("Identity", ["s"], ["i"]), node("Neg", ["i"], ["n"]), node("Clip", ["n", "low"], ["c"]),
                node("Transpose", ["c"], ["p"], perm=[0, 2, 1]), node("ReduceMean", ["p", "axes"], ["m"], keepdims=0),
                node("ReduceSum", ["m", "first"], ["y"]),
            ]  # fmt: skip
            stored = {"axes": np.array([1, 2]), "first": np.array([0]), "low": np.array(-50.0)}
            check(Case(nodes, {"x": noise(2, 3, 4), "b": noise(4) + 3}, ["y"], stored), weighted=weighted)


def test_a_partial_error_reaches_the_general_rule_whole() -> None:
    nodes = [node("Gelu", ["x"], ["a"], approximate="tanh"), node("GlobalAveragePool", ["a"], ["y"])]
    check(Case(nodes, {"x": noise(1, 2, 3)}, ["y"], opset=20, reference=True), weighted=False)
    nodes = [node("Clip", ["x", "low"], ["a"]), node("ReduceMean", ["a"], ["y"])]
    check(Case(nodes, {"x": noise(2, 3), "low": np.array(-0.05)}, ["y"]), weighted=False)


def test_dimensions_of_which_nothing_is_known_may_be_repeated_ones() -> None:
    """x is sliced to a length that nobody knows beforehand, here 1, and added to another such value, here of length 3."""
    nodes = [
        node("Compress", ["x", "one"], ["a"], axis=0),
        node("Compress", ["z", "all"], ["b"], axis=0),
        node("Add", ["a", "b"], ["y"]),
    ]
    feeds = {"x": noise(3, 2), "z": noise(3, 2), "one": np.array([False, True, False]), "all": np.ones(3, bool)}
    check(Case(nodes, feeds, ["y"]))


def test_equal_extremes_share_the_error() -> None:
    x = np.array([[1.0, 2.0, 2.0]])
    found = gradients(call("ReduceMax", x, Stored(np.array([1]))), weighted=False)
    np.testing.assert_allclose(found["x0"], [[0, 0.5, 0.5]])
    found = gradients(call("Max", np.array([1.0, 2.0]), np.array([1.0, 0.0])), weighted=False)
    np.testing.assert_allclose(found["x0"], [0.5, 1])
    np.testing.assert_allclose(found["x1"], [0.5, 0])


def test_a_tie_in_a_pool_goes_to_one_place() -> None:
    """After a Relu many windows hold only zeros: their errors must not be counted twice."""
    x = np.zeros((1, 1, 4, 4), np.float32)
    for strides in ([2, 2], [1, 1]):
        found = gradients(call("MaxPool", x, kernel_shape=[2, 2], strides=strides), weighted=False)["x0"]
        assert found.sum() == (4 if strides == [2, 2] else 9)
        assert found[0, 0, 0, 0] == 1, "the first of them, as torch does"


def test_a_place_that_wins_several_dilated_windows_gets_all_their_errors() -> None:
    """Windows as far apart as they are wide still overlap where they are spread out."""
    x = np.zeros((1, 1, 5, 5), np.float32)
    x[0, 0, 2, 2] = 1
    case = call("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2])
    found = gradients(case, weighted=False)["x0"]
    assert found[0, 0, 2, 2] == found.sum() == 4


@pytest.mark.parametrize("start", [-9, -2, 1])
def test_a_computed_start_before_the_beginning_is_the_beginning(start: int) -> None:
    bounds = (Held(np.array([start])), Held(np.array([3])))
    check(call("Slice", noise(4, 3), *bounds, Stored(np.array([0]))))


@pytest.mark.parametrize("operator", ["AveragePool", "LpPool"])
def test_what_a_last_window_spreads_past_the_end_is_cut_off(operator: str) -> None:
    check(call(operator, noise(1, 1, 6), kernel_shape=[3], strides=[2], ceil_mode=1, opset=19, reference=True))


def test_bounds_of_clip_let_the_error_through() -> None:
    found = gradients(
        call("Clip", np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), Stored(np.array(-1.0)), Stored(np.array(1.0))),
        weighted=False,
    )
    np.testing.assert_array_equal(found["x0"], [0, 1, 1, 1, 0])


@pytest.mark.parametrize(
    ("operator", "expected"), [("Relu", 0.0), ("Abs", 0.0), ("LeakyRelu", 0.25), ("HardSwish", 0.5)]
)
def test_at_zero_slopes_are_torch_s(operator: str, expected: float) -> None:
    given = {"alpha": 0.25} if operator == "LeakyRelu" else {}
    np.testing.assert_allclose(gradients(call(operator, np.zeros(1), **given), weighted=False)["x0"], [expected])


@pytest.mark.parametrize("case", [
    call("Pow", np.array([0.0, 1.0]), Held(np.array([0.0, 2.0]))), call("ReduceL2", np.zeros((2, 3))),
    call("ReduceProd", np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0]]), Stored(np.array([1]))),
    call("GlobalLpPool", np.zeros((1, 2, 3), np.float32)), call("Pow", np.array([0.0, 2.0]), np.array([2.0, 2.0])),
    call("Pow", np.array([0.0, 2.0]), Stored(np.array(0.0))),
])  # fmt: skip
def test_no_slope_is_infinite_where_its_value_is_finite(case: Case) -> None:
    assert all(np.isfinite(gradient).all() for gradient in gradients(case).values())


def test_a_product_gives_a_single_zero_the_product_of_the_others() -> None:
    x = np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [1.0, 2.0, 3.0]])
    found = gradients(call("ReduceProd", x, Stored(np.array([1]))), weighted=False)
    np.testing.assert_allclose(found["x0"], [[6, 0, 0], [0, 0, 0], [6, 3, 2]])


@pytest.mark.parametrize("space", [(), (5,), (3, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_batch_norm_is_what_numpy_says(space: tuple[int, ...], dtype: type) -> None:
    shape, axes = (4, 3, *space), (0, *range(2, 2 + len(space)))
    x, dy = noise(*shape).astype(dtype), noise(*shape).astype(dtype)
    scale, shift, mean, var = ((noise(3) ** 2 + 0.5).astype(dtype) for _ in range(4))
    names = {"x": x, "scale": scale, "shift": shift, "mean": mean, "var": var, "dy": dy}
    inputs = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in names.items()
    ]
    norm = node(
        "BatchNormalization", ["x", "scale", "shift", "mean", "var"], ["y", "m", "v"], training_mode=1, momentum=0.8, epsilon=0.01
    )  # fmt: skip
    graph = helper.make_graph([norm, node("Mul", ["y", "dy"], ["p"])], "g", inputs, [])
    w = Writer(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))
    total = w.node("ReduceSum", "p", keepdims=0)
    w.infer()
    kind = np.dtype(dtype).name
    found = differentiate(w, total, ["x", "scale", "shift"]).gradients
    for name, value in {**{f"d{k}": v for k, v in found.items()}, "y!": "y", "m!": "m", "v!": "v"}.items():
        w.output(name, value, kind, None)
    got = run(pruned(w.model), names)
    column = (-1, *[1] * len(space))
    count = x.size // 3
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred**2).mean(axes)
    inverse = 1 / np.sqrt(variance + 0.01).reshape(column)
    normal = centred * inverse
    expected = {
        "y!": normal * scale.reshape(column) + shift.reshape(column), "dshift": dy.sum(axes), "dscale": (dy * normal).sum(axes),
        "m!": 0.8 * mean + 0.2 * x.mean(axes), "v!": 0.8 * var + 0.2 * variance,
    }  # fmt: skip
    pull = dy - (dy.sum(axes, keepdims=True) + normal * (dy * normal).sum(axes, keepdims=True)) / count
    expected["dx"] = scale.reshape(column) * inverse * pull
    for name, value in expected.items():
        np.testing.assert_allclose(
            got[name], value, rtol=1e-4, atol=2e-5 if dtype == np.float32 else 1e-9, err_msg=name
        )


def test_stop_gradient_lets_nothing_through() -> None:
    nodes = [node("Identity", ["x"], ["a"], f"a{STOP_GRADIENT}"), node("Mul", ["a", "x"], ["y"])]
    x = np.array([2.0, 3.0])
    np.testing.assert_allclose(gradients(Case(nodes, {"x": x}, ["y"]), weighted=False)["x"], x)
    assert gradients(Case(nodes[:1], {"x": x}, ["a"])) == {}


@pytest.mark.parametrize("operator", ["Ceil", "Floor", "Round", "Sign", "Hardmax"])
def test_what_is_flat_almost_everywhere_has_no_gradient(operator: str) -> None:
    assert gradients(call(operator, noise(2, 3).astype(np.float32))) == {}


def test_constant_nodes_are_known_values() -> None:
    """Exporters write axes and pads as nodes."""
    axes = node("Constant", [], ["axes"], value=numpy_helper.from_array(np.array([1])))
    cut = [
        node("Constant", [], [name], value_ints=[value])
        for name, value in (("from", 0), ("to", 2), ("on", 1), ("by", 2))
    ]
    nodes = [
        axes,
        *cut,
        node("Slice", ["x", "from", "to", "on", "by"], ["s"]),
        node("ReduceMean", ["s", "axes"], ["y"]),
    ]
    check(Case(nodes, {"x": noise(2, 4)}, ["y"]))


def unsupported(case: Case) -> UnsupportedError:
    with pytest.raises(UnsupportedError) as caught:
        gradients(case)
    return caught.value


REFUSED = {
    "Det": (call("Det", noise(3, 3)), "determinant"),
    "Dropout": (call("Dropout", noise(3), Stored(np.array(0.5)), Stored(np.array(True))), "training"),
    "LSTM": (
        call("LSTM", *(noise(*s).astype(np.float32) for s in ((3, 2, 1), (1, 4, 1), (1, 4, 1))), None,
             Stored(np.array([1, 3], np.int32)), hidden_size=1, outputs=["y"]),
        "sequence_lens",
    ),
    "GRU": (
        call("GRU", *(noise(*s).astype(np.float32) for s in ((3, 2, 1), (1, 3, 1), (1, 3, 1))), None,
             Stored(np.array([2, 2], np.int32)), hidden_size=1, linear_before_reset=1, outputs=["", "last"]),
        "bias",
    ),
    "ConvTranspose": (
        call("ConvTranspose", noise(1, 2, 3), noise(2, 1, 3), strides=[2], output_shape=[6]), "output shape",
    ),
    "Einsum": (call("Einsum", noise(3, 3), noise(3), equation="ii,i->i"), "diagonal"),
    "GatherND": (call("GatherND", noise(2, 3), Stored(np.array([[1], [0]])), batch_dims=1), "batch_dims"),
    "MaxPool": (
        call("MaxPool", noise(1, 1, 3), kernel_shape=[2], strides=[3], pads=[0, 1], ceil_mode=1), "ceil_mode",
    ),
    "ReduceSumSquare": (call("ReduceSumSquare", noise(3), noop_with_empty_axes=1), "noop_with_empty_axes"),
    "RotaryEmbedding": (
        call("RotaryEmbedding", noise(1, 1, 2, 2).astype(np.float32), *(Held(noise(1, 2, 1).astype(np.float32)) for _ in "cs"),
             opset=23, interleaved=1),
        "step",
    ),
    "ScatterElements": (
        call("ScatterElements", noise(3), Stored(np.array([0, 1])), noise(2), reduction="mul"), "mul",
    ),
    "Slice": (
        call("Slice", noise(5), np.array([0]), np.array([4]), Stored(np.array([0])), Stored(np.array([2]))), "computed",
    ),
    "LayerNormalization": (
        call("LayerNormalization", noise(2, 3).astype(np.float32), noise(3).astype(np.float32), outputs=2), "first output",
    ),
}  # fmt: skip


@pytest.mark.parametrize("operator", REFUSED)
def test_what_cannot_be_done_is_refused_by_operator_node_and_reason(operator: str) -> None:
    case, reason = REFUSED[operator]
    error = unsupported(case)
    assert [(f["operator"], f["node"]) for f in error.details["nodes"]] == [(operator, operator.lower())]
    assert reason in error.details["nodes"][0]["reason"]
    assert operator in str(error)


def layer(operator: str, **form: Any) -> Case:
    rows = {"LSTM": 8, "GRU": 6}[operator]
    arrays = (2 * noise(*shape).astype(np.float32) for shape in ((3, 2, 2), (1, rows, 2), (1, rows, 2), (1, 2 * rows)))
    return call(operator, *arrays, hidden_size=2, outputs=["y"], step=0.005, tolerance=2e-3, **form)


@pytest.mark.parametrize(
    ("operator", "form"),
    [("LSTM", {"clip": 0.5}), ("LSTM", {"input_forget": 1}), ("GRU", {"clip": 0.5, "linear_before_reset": 1})],
)
def test_a_recurrent_layer_that_computes_something_else_is_not_taken_for_the_usual_one(
    operator: str, form: dict[str, Any]
) -> None:
    (fault,) = unsupported(layer(operator, **form)).details["nodes"]
    assert next(iter(form)) in fault["reason"]


def test_a_recurrent_layer_with_other_activations_has_their_slopes() -> None:
    check(layer("LSTM", activations=["Sigmoid", "Tanh", "Relu"]))
    check(layer("GRU", activations=["Sigmoid", "Relu"], linear_before_reset=1))


def test_every_node_that_cannot_be_differentiated_is_named_at_once() -> None:
    nodes = [
        node("Det", ["x"], ["a"], "first"), node("Strange", ["x"], ["b"], "second", domain="example.org"),
        node("Add", ["a", "b"], ["y"], "sum"), node("Det", ["frozen"], ["c"], "harmless"), node("Add", ["y", "c"], ["z"]),
    ]  # fmt: skip
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    frozen = helper.make_tensor_value_info("frozen", TensorProto.FLOAT, [2, 2])
    scalars = [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("a", "b", "y", "z")]
    graph = helper.make_graph(nodes, "g", [x, frozen], [scalars[-1]], value_info=scalars[:-1])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("example.org", 1)]
    w = Writer(helper.make_model(graph, opset_imports=opsets, ir_version=10))
    with pytest.raises(UnsupportedError) as caught:
        differentiate(w, "z", ["x"])
    assert {fault["node"] for fault in caught.value.details["nodes"]} == {"first", "second"}
    assert {fault["operator"] for fault in caught.value.details["nodes"]} == {"Det", "example.org.Strange"}


def test_sequences_are_refused() -> None:
    nodes = [
        node("SequenceConstruct", ["x", "x"], ["s"], "made"), node("SequenceAt", ["s", "first"], ["y"], "taken"),
    ]  # fmt: skip
    assert (
        unsupported(Case(nodes, {"x": noise(2)}, ["y"], {"first": np.array(0)})).details["nodes"][0]["node"] == "taken"
    )

"""Weights are told from other stored values by what reads them, and chosen by name."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tests.training.loss_graphs import run

from edgewise.errors import InputError
from edgewise.training.rewrites.freezing import choose_trainable, weights_of
from edgewise.training.rewrites.opening import opened

RNG = np.random.default_rng(3)


def network(ir: int = 8, *, as_inputs: bool = False) -> ModelProto:
    """Normalised image -> convolution, batch norm, PRelu -> a transposed matrix, a bias, a mask -> a tied matrix."""
    f = lambda *shape: RNG.standard_normal(shape).astype(np.float32)  # noqa: E731
    stored = {
        "mean": f(1, 3, 1, 1), "deviation": np.abs(f(1, 3, 1, 1)) + 1, "conv.w": f(4, 3, 3, 3), "conv.b": f(4),
        "bn.scale": f(4), "bn.bias": f(4), "bn.mean": f(4), "bn.var": np.abs(f(4)), "slope": f(4, 1, 1),
        "flat": np.array([-1, 4]), "table": f(4, 4), "bias": f(4), "hide": np.array([0, -1e9, 0, 0], np.float32),
        "half": np.array([0.5], np.float32), "axes": np.array([2, 3]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"]),
        helper.make_node("Div", ["a", "deviation"], ["b"]),
        helper.make_node("Mul", ["b", "mean"], ["b2"]),
        helper.make_node("Conv", ["b2", "conv.w", "conv.b"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", "bn.scale", "bn.bias", "bn.mean", "bn.var"], ["d"], "bn"),
        helper.make_node("PRelu", ["d", "slope"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["g"]),
        helper.make_node("Reshape", ["g", "flat"], ["h"]),
        helper.make_node("Constant", [], ["inner.w"], value=numpy_helper.from_array(f(4, 4))),
        helper.make_node("Transpose", ["table"], ["tableT"], perm=[1, 0]),
        helper.make_node("MatMul", ["h", "tableT"], ["i"]),
        helper.make_node("Add", ["bias", "i"], ["j"]),
        helper.make_node("Mul", ["j", "half"], ["k"]),
        helper.make_node("Gemm", ["k", "inner.w"], ["l"]),
        helper.make_node("MatMul", ["l", "table"], ["m"]),
        helper.make_node("Add", ["m", "hide"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])]
    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    if as_inputs:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])], tensors
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=ir)


WEIGHTS = ("conv.w", "conv.b", "bn.scale", "bn.bias", "slope", "table", "bias", "inner.w")


@pytest.mark.parametrize("ir", [3, 8])
def test_weights_are_known_by_what_reads_them(ir: int) -> None:
    """Not the normalisation of the input, running statistics, masks, single factors, shapes."""
    before = network(ir, as_inputs=ir == 3)
    model, names = choose_trainable(before)
    assert names == WEIGHTS
    stored = {tensor.name for tensor in model.graph.initializer}
    assert set(names) <= stored
    assert [value.name for value in model.graph.input] == ["x"]
    x = RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)
    assert run(model, {"x": x})[0].shape == (2, 4)


def test_raising_the_model_changes_no_answer() -> None:
    before = network()
    model, _ = choose_trainable(before)
    x = RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(run(before, {"x": x})[0], run(model, {"x": x})[0])


def test_names_are_chosen_by_pattern() -> None:
    assert choose_trainable(network(), ["conv.*", "bias"])[1] == ("conv.w", "conv.b", "bias")
    assert choose_trainable(network(), ["*"], ["bn.*", "conv.?"])[1] == ("slope", "table", "bias", "inner.w")
    # Written out, a value is taken though nothing tells that it is a weight.
    assert choose_trainable(network(), ["hide", "bias"])[1] == ("bias", "hide")


def test_a_pattern_without_a_match_is_an_error_with_the_names_near_it() -> None:
    with pytest.raises(InputError, match=r"'cnv\.w'; near are: conv\.w"):
        choose_trainable(network(), ["cnv.w"])
    with pytest.raises(InputError, match=r"no stored values match 'head\.\*'"):
        choose_trainable(network(), ["*"], ["head.*"])
    with pytest.raises(InputError, match="nothing is left to train"):
        choose_trainable(network(), ["*"], ["*"])
    with pytest.raises(InputError, match="'flat'"):  # integers are never weights
        choose_trainable(network(), ["flat"])


def test_gates_and_tables_are_weights() -> None:
    f = lambda *shape: np.zeros(shape, np.float32)  # noqa: E731
    stored = {
        "table": f(10, 4),
        "gru.w": f(1, 9, 4),
        "gru.r": f(1, 9, 3),
        "gru.b": f(1, 18),
        "first": f(1, 2, 3),
        "place": f(5, 1, 4),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["a"]),
        helper.make_node("Add", ["a", "place"], ["b"]),
        helper.make_node("GRU", ["b", "gru.w", "gru.r", "gru.b", "", "first"], ["", "y"], hidden_size=3),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("ids", TensorProto.INT64, [5, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    assert weights_of(opened(model)) == ("table", "gru.w", "gru.r", "gru.b", "place")

"""A new last layer, and batches of any size, for files that others made."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.errors import UnsupportedError
from edgewise.training.rewrites.heads import class_count, free_batch, replace_head

RNG = np.random.default_rng(0)


def made(
    nodes: list[object], stored: dict[str, np.ndarray], output: tuple[object, ...], batch: object = "n"
) -> ModelProto:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(output))],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def answer(model: ModelProto, n: int) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": RNG.random((n, 4, 2, 2), np.float32)})[0]


def dense(*behind: str) -> ModelProto:
    """Flatten, MatMul, Add with a bias, and what is named behind them."""
    names = ["scores", *(f"v{at}" for at in range(len(behind) - 1)), "y"][: len(behind) + 1] if behind else ["y"]
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], [names[0]]),
        *(helper.make_node(op, [names[at]], [names[at + 1]], f"node {op}") for at, op in enumerate(behind)),
    ]  # fmt: skip
    stored = {"w": RNG.random((16, 10), np.float32), "b": np.zeros(10, np.float32)}
    return made(nodes, stored, ("n", 10))


@pytest.mark.parametrize("behind", [(), ("Softmax",), ("Identity", "LogSoftmax")])
def test_a_dense_layer_and_its_bias_are_replaced(behind: tuple[str, ...]) -> None:
    model = dense(*behind)
    assert class_count(model) == 10
    head = replace_head(model, 3)
    assert head.parameters == ("head.weight", "head.bias") or set(head.parameters) == {"head.weight", "head.bias"}
    assert class_count(head.model) == 3
    assert answer(head.model, 5).shape == (5, 3)
    assert {"w", "b"}.isdisjoint(tensor.name for tensor in head.model.graph.initializer)


def test_a_gemm_with_turned_weights_is_replaced() -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1)]
    model = made(nodes, {"w": RNG.random((10, 16), np.float32), "b": np.zeros(10, np.float32)}, ("n", 10))
    assert answer(replace_head(model, 2).model, 3).shape == (3, 2)


def test_a_convolution_before_a_reshape_is_replaced() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Reshape", ["p", "shape"], ["y"]),
    ]  # fmt: skip
    stored = {"w": RNG.random((10, 4, 1, 1), np.float32), "b": np.zeros(10, np.float32), "shape": np.array([-1, 10])}
    assert answer(replace_head(made(nodes, stored, ("n", 10)), 7).model, 3).shape == (3, 7)


@pytest.mark.parametrize("bias", [(1,), (1, 1)])
@pytest.mark.parametrize("batch", ["n", 1])
def test_a_single_score_becomes_one_for_each_class(bias: tuple[int, ...], batch: object) -> None:
    """A yes or no made into more classes: the file says so, and a batch of one stays what it is."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["s"]), helper.make_node("Reshape", ["s", "shape"], ["y"]),
    ]  # fmt: skip
    stored = {"w": RNG.random((16, 1), np.float32), "b": np.zeros(bias, np.float32), "shape": np.array([-1, 1])}
    head = replace_head(made(nodes, stored, (batch, 1), batch), 3)
    assert class_count(head.model) == 3
    n = 1 if batch == 1 else 5
    assert answer(head.model, n).shape == (n, 3)


def test_what_other_layers_share_with_the_last_one_stays_theirs() -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["a"]),
        helper.make_node("Gemm", ["a", "w", "b"], ["y"]),
    ]  # fmt: skip
    stored = {"w": RNG.random((16, 16), np.float32), "b": np.zeros(16, np.float32)}
    head = replace_head(made(nodes, stored, ("n", 16)), 3)
    assert answer(head.model, 5).shape == (5, 3)
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in head.model.graph.initializer}
    assert set(kept) == {"w", "b", *head.parameters}
    np.testing.assert_array_equal(kept["w"], stored["w"])


def test_the_same_seed_draws_the_same_layer() -> None:
    first, again, other = (replace_head(dense(), 3, seed).model.SerializeToString() for seed in (1, 1, 2))
    assert first == again != other


def test_what_stands_in_the_way_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"TopK|Exp \(node Exp\)"):
        replace_head(dense("Exp"), 3)


def test_a_file_for_one_sample_takes_many() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]  # fmt: skip
    model = made(nodes, {"w": RNG.random((16, 3), np.float32), "shape": np.array([1, 16])}, (1, 3), batch=1)
    assert answer(free_batch(model), 5).shape == (5, 3)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1

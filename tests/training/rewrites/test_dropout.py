"""Dropout follows from its seed alone, drops at its rate, and keeps expectations."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tests.training.loss_graphs import open_graph, run

from edgewise.autodiff.differentiate import differentiate
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.dropout import SEED, train_dropout

F = TensorProto.FLOAT


def dropouts(shape: tuple[int, ...], ratios: tuple[float | None, ...] = (0.5,), element: int = F) -> ModelProto:
    """x through one Dropout for each ratio, side by side: y0, y1, ..."""
    nodes, stored = [], []
    for at, ratio in enumerate(ratios):
        if ratio is not None:
            stored.append(numpy_helper.from_array(np.array(ratio, np.float32), f"r{at}"))
        nodes.append(
            helper.make_node("Dropout", ["x", *([f"r{at}"] if ratio is not None else [])], [f"y{at}"], f"drop{at}")
        )
    free = ["n", *shape[1:]]
    outputs = [helper.make_tensor_value_info(f"y{at}", element, free) for at in range(len(ratios))]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", element, free)], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def masks(model: ModelProto, shape: tuple[int, ...], seed: int, kind: str = "float32") -> list[np.ndarray]:
    return run(model, {"x": np.ones(shape, kind), SEED: np.array(seed)})


@pytest.mark.parametrize("shape", [(1000,), (64, 33), (8, 5, 16), (4, 6, 7, 9), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
def test_the_rate_and_the_expectation_are_kept_for_every_shape(shape: tuple[int, ...], ratio: float) -> None:
    model = train_dropout(dropouts(shape, (ratio,)))
    drawn = np.concatenate([masks(model, shape, seed)[0].reshape(-1) for seed in range(20)])
    scale = np.float32(1 / (1 - ratio))
    np.testing.assert_allclose(np.unique(drawn), [0, scale], rtol=1e-6)
    deviations = ((drawn == 0).mean() - ratio) / np.sqrt(ratio * (1 - ratio) / drawn.size)
    assert abs(deviations) < 4
    assert abs(drawn.mean() - 1) < 4 * scale / np.sqrt(drawn.size)


def test_same_seed_same_bits_and_every_seed_and_node_its_own() -> None:
    shape = (50, 40)
    model = train_dropout(dropouts(shape, (0.5, 0.5)))
    first = masks(model, shape, 7)
    np.testing.assert_array_equal(first, masks(model, shape, 7))
    draws = [mask for seed in (7, 8, 7 + 2**32, -7, 2**62, 0) for mask in masks(model, shape, seed)]
    bits = np.array([np.where(mask > 0, 1.0, -1.0).reshape(-1) for mask in draws])
    alike = bits @ bits.T / np.sqrt(bits.shape[1]) - np.eye(len(bits)) * np.sqrt(bits.shape[1])
    assert np.abs(alike).max() < 4  # in standard deviations, 66 pairs


def test_these_very_bits_stay() -> None:
    """A resumed run, another runtime or a later version must draw the same masks."""
    model = train_dropout(dropouts((4, 4)))
    bits = (masks(model, (4, 4), 1234567890123)[0] > 0).reshape(-1)
    assert np.packbits(bits).tobytes().hex() == "7455"


def test_neighbours_rows_columns_and_rectangles_are_independent() -> None:
    """Products of signs over pairs along each axis, over rectangles, and over seeds in sequence average to nothing."""
    shape = (128, 96)
    model = train_dropout(dropouts(shape, (0.5,)))
    signs = np.array([np.where(masks(model, shape, seed)[0] > 0, 1.0, -1.0) for seed in range(60)])
    products = {
        "columns": signs[:, :, 1:] * signs[:, :, :-1],
        "far columns": signs[:, :, 48:] * signs[:, :, :-48],
        "rows": signs[:, 1:] * signs[:, :-1],
        "far rows": signs[:, 64:] * signs[:, :-64],
        "diagonal": signs[:, 1:, 1:] * signs[:, :-1, :-1],
        "seeds": signs[1:] * signs[:-1],
        "rectangles": signs[:, ::2, ::2] * signs[:, 1::2, ::2] * signs[:, ::2, 1::2] * signs[:, 1::2, 1::2],
        "large rectangles": signs[:, :64, :48] * signs[:, 64:, :48] * signs[:, :64, 48:] * signs[:, 64:, 48:],
    }
    for name, product in products.items():
        assert abs(product.mean()) * np.sqrt(product.size) < 4, name
    # How many are kept in each row and in each column varies as a binomial does.
    for axis in (1, 2):
        counts = signs.sum(axis) / np.sqrt(signs.shape[axis])
        assert abs(counts.var() - 1) < 4 * np.sqrt(2 / counts.size)


def test_the_gradient_is_the_mask() -> None:
    w = open_graph({"y": np.ones((3, 4), np.float32)})
    w.graph.node[0].op_type = "Dropout"
    w = Writer(train_dropout(w.model))
    total = w.node("ReduceSum", "y", keepdims=0)
    w.infer()
    gradient = differentiate(w, total, ["y_in"]).gradients["y_in"]
    w.output("gradient", gradient, "float32", None)
    y, gradient = run(w.model, {"y_in": np.ones((3, 4), np.float32), SEED: np.array(3)}, ["y", "gradient"])
    np.testing.assert_array_equal(gradient, y)
    assert set(np.unique(y)) == {0, 2}


def test_double_precision_draws_the_same_mask() -> None:
    shape = (9, 5)
    narrow, wide = train_dropout(dropouts(shape, (None,))), train_dropout(dropouts(shape, (None,), TensorProto.DOUBLE))
    np.testing.assert_array_equal(masks(narrow, shape, 1)[0], masks(wide, shape, 1, "float64")[0])


def test_nodes_are_chosen_by_name_and_places_added_by_value() -> None:
    x = np.ones((40, 40), np.float32)
    model = train_dropout(dropouts(x.shape, (0.5, 0.5, 0.5)), ["drop[12]"], ratio=0.25)
    plain, *others = run(model, {"x": x, SEED: np.array(1)})
    np.testing.assert_array_equal(plain, x)
    assert all(set(np.unique(other)) == {0, np.float32(1 / 0.75)} for other in others)
    model = train_dropout(dropouts(x.shape, (0.5,)), [], after={"x": 0.1})
    assert set(np.unique(run(model, {"x": x, SEED: np.array(1)})[0])) == {0, np.float32(1 / 0.9)}
    untouched = train_dropout(dropouts(x.shape, (0.5,)), [])
    assert [value.name for value in untouched.graph.input] == ["x"]
    none = train_dropout(dropouts(x.shape, (0.5,)), ratio=0)
    np.testing.assert_array_equal(run(none, {"x": x, SEED: np.array(1)})[0], x)


def test_what_cannot_be_dropped_is_refused_in_words() -> None:
    with pytest.raises(InputError, match=r"'drip\*'.*drop0"):
        train_dropout(dropouts((2, 2)), ["drip*"])
    with pytest.raises(InputError, match=r"y0: 1\.0"):
        train_dropout(dropouts((2, 2)), ratio=1.0)
    with pytest.raises(InputError, match="'y0' is an output"):
        train_dropout(dropouts((2, 2)), [], after={"y0": 0.5})
    masked = dropouts((2, 2))
    masked.graph.node[0].output.append("mask")
    masked.graph.output.append(helper.make_tensor_value_info("mask", TensorProto.BOOL, None))
    with pytest.raises(UnsupportedError, match="drop0"):
        train_dropout(masked)
    computed = dropouts((2, 2))
    computed.graph.node[0].input[1] = "x"
    with pytest.raises(UnsupportedError, match="ratio is computed"):
        train_dropout(computed)

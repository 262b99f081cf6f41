"""Ranges: what they hold, what they leave out, and what each way of reading a histogram is for."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from edgewise.compress.quantize.grids import activation_grid
from edgewise.compress.quantize.ranges import Histogram, Method, histograms, range_of
from edgewise.errors import UnsupportedError

METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy", "mse")


def model() -> ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("Neg", ["square"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def histogram(x: np.ndarray, bins: int = 2048) -> Histogram:
    return Histogram(float(x.min()), float(x.max()), np.histogram(x, bins, (x.min(), x.max()))[0].astype(float))


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=20_000).astype(np.float32)


def test_histograms_count_inputs_and_inner_values_over_all_batches() -> None:
    x = values()
    batches = lambda: ({"x": part} for part in np.split(x, 8))  # noqa: E731
    found = histograms(model(), ["x", "square", "y"], batches, bins=64)
    for name, array in (("x", x), ("square", x * x), ("y", -x * x)):
        assert (found[name].low, found[name].high) == (array.min(), array.max())
        np.testing.assert_array_equal(found[name].counts, np.histogram(array, 64, (array.min(), array.max()))[0])


def test_what_is_not_finite_is_left_out_and_no_sample_is_an_error() -> None:
    x = np.float32([1, np.inf, np.nan, -2])
    found = histograms(model(), ["square"], lambda: [{"x": x}], bins=4)
    assert (found["square"].low, found["square"].high, found["square"].counts.sum()) == (1, 4, 2)
    with pytest.raises(UnsupportedError, match="no sample"):
        histograms(model(), ["square"], list)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "x", [values(), np.maximum(values(), 0), np.abs(values()) + 3, -np.abs(values()) - 1, np.full(9, 2.0)]
)
def test_zero_is_in_every_range_and_no_range_is_wider_than_what_was_seen(method: Method, x: np.ndarray) -> None:
    low, high = range_of(histogram(x), method)
    assert min(x.min(), 0) <= low <= 0 <= high <= max(x.max(), 0)
    assert high > low


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_outliers_are_cut_off(method: Method) -> None:
    x = np.concatenate([values(), np.float32([60])])
    assert range_of(histogram(x), method)[1] < 45


@pytest.mark.parametrize("x", [values(), np.maximum(values(), 0), values() ** 3])
def test_the_searched_range_has_the_least_error_of_rounding(x: np.ndarray) -> None:
    errors = {}
    for method in METHODS:
        grid = activation_grid(*range_of(histogram(x), method))
        errors[method] = float(np.square(grid.numbers(grid.integers(x)) - x).sum())
    assert errors["mse"] <= 1.01 * min(errors.values())


def test_entropy_keeps_the_bulk_of_a_distribution() -> None:
    x = np.maximum(values(), 0)
    low, high = range_of(histogram(x), "entropy")
    assert low == 0
    assert np.mean(x <= high) > 0.98

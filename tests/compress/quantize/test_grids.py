"""Laws of the grids: 0 is exact, rounding is onnxruntime's own, no number inside is further away than half a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.compress.quantize.small import session, weight

from edgewise.compress.quantize.grids import Grid, activation_grid, bias_room, weight_grid

ENDS = st.floats(-1e4, 1e4, allow_nan=False, width=32)


@given(ENDS, ENDS, st.sampled_from(["u8", "s8"]))
def test_zero_is_exact_and_nothing_inside_is_half_a_step_away(one: float, other: float, kind: str) -> None:
    low, high = sorted((one, other))
    grid = activation_grid(low, high, kind)  # type: ignore[arg-type]
    assert grid.numbers(grid.integers(np.zeros(1)))[0] == 0
    x = np.linspace(*grid.ends, 400, dtype=np.float32)
    error = np.abs(grid.numbers(grid.integers(x)) - x).max()
    assert error <= float(grid.scale) * 0.5001 + 1e-6 * max(abs(low), abs(high))


@pytest.mark.parametrize("kind", ["u8", "s8"])
def test_rounding_is_that_of_quantize_linear(kind: str) -> None:
    grid = activation_grid(-1.3, 2.6, kind)  # type: ignore[arg-type]
    element = TensorProto.UINT8 if kind == "u8" else TensorProto.INT8
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])], [helper.make_tensor_value_info("y", element, ["n"])],
        [helper.make_tensor("scale", 1, [], [float(grid.scale)]), helper.make_tensor("zero", element, [], [grid.zero])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = np.concatenate(
        [weight(5000), np.float32([-9, 9]), (np.arange(-300, 300) + 0.5).astype(np.float32) * grid.scale]
    )
    np.testing.assert_array_equal(session(model).run(None, {"x": x})[0], grid.integers(x))


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("bits", [8, 7, 4])
def test_a_searched_weight_grid_is_never_worse_and_stays_within_its_bits(axis: int | None, bits: int) -> None:
    w = weight(6, 50) ** 3
    plain, searched = (weight_grid(w, axis, bits=bits, searched=each) for each in (False, True))
    assert plain.integers(w).max() == (1 << (bits - 1)) - 1 or plain.integers(w).min() == 1 - (1 << (bits - 1))
    errors = [np.square(grid.numbers(grid.integers(w)) - w).sum() for grid in (searched, plain)]
    assert errors[0] <= errors[1]
    assert axis is None or searched.scale.shape == (w.shape[axis],)


def test_a_large_bias_of_a_tiny_weight_fits_an_int32() -> None:
    entering, bias = np.float32(1e-3), np.float32([0.5, -1e6])
    grid = bias_room(weight_grid(np.float32([[0.5], [1e-9]]), 0), entering, bias)
    assert np.abs(bias / (entering * grid.scale.astype(np.float64))).max() < 2**31 - 1
    assert grid.scale[0] == np.float32(0.5 / 127)


def test_all_zero_weights_have_a_grid() -> None:
    grid = weight_grid(np.zeros((3, 4), np.float32), 0, searched=True)
    assert not grid.integers(np.zeros((3, 4))).any()
    assert (grid.scale > 0).all()


def test_seven_bits_are_used_only() -> None:
    assert Grid(np.float32(1), bits=7, narrow=True).limits == (-63, 63)

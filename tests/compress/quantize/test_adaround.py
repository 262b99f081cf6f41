"""Learnt rounding: each weight goes up or down, no channel is worse for it, and few bits go further."""

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from tests.compress.quantize.test_aware import held_out
from tests.compress.test_foundation import digits, with_front

from edgewise.compress.quantize.adaround import Adaround, Problem, learnt_rounding
from edgewise.compress.quantize.layer_inputs import layer_of
from edgewise.compress.quantize.static import Static
from edgewise.compress.tuning import answers
from edgewise.graph.writer import Writer


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.sampled_from([3, 7, 127]))
def test_each_weight_goes_up_or_down_and_no_channel_is_worse_for_it(seed: int, inputs: int, most: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(1, 200, inputs)) @ random.normal(size=(1, inputs, inputs))
    covariance = np.swapaxes(rows, 1, 2) @ rows / 200
    weight = random.normal(size=(1, 3, inputs))
    scale = np.broadcast_to(np.abs(weight).max(axis=2, keepdims=True) / most, weight.shape)
    problem = Problem(weight, covariance, covariance)
    learnt = learnt_rounding(problem, scale, (-most, most), 60)
    assert set(np.unique(np.abs(learnt - np.floor(weight / scale)))) <= {0.0, 1.0}
    assert np.abs(learnt).max() <= most
    nearest = np.round(weight / scale)
    # What few samples hold is damped, by a hundredth of the variance: so much may be lost on these very samples.
    loose = 0.01 * np.einsum("gii->gi", covariance).mean() * np.square(scale).sum(axis=2)
    assert (problem.error(learnt * scale) <= problem.error(nearest * scale) + loose + 1e-9).all()


@pytest.mark.parametrize(
    "attributes",
    [
        {}, {"strides": [2, 1], "pads": [1, 0, 2, 1]}, {"dilations": [2, 1]}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER"}, {"group": 2},
    ],
)  # fmt: skip
def test_rows_times_the_matrix_are_what_the_layer_gives(attributes: dict[str, object]) -> None:
    random = np.random.default_rng(1)
    group = int(attributes.get("group", 1))  # type: ignore[call-overload]
    weight = random.normal(size=(6, 4 // group, 3, 2)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    model = helper.make_model(
        helper.make_graph(
            [node], "conv", [helper.make_tensor_value_info("x", 1, [2, 4, 7, 6])],
            [helper.make_tensor_value_info("y", 1, None)], [numpy_helper.from_array(weight, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 18)], ir_version=10,
    )  # fmt: skip
    x = random.normal(size=(2, 4, 7, 6)).astype(np.float32)
    (wanted,) = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    layer = layer_of(Writer(model), node)
    assert layer is not None
    given = np.einsum("gni,goi->ngo", layer.read(x, random), layer.rows(weight))
    np.testing.assert_allclose(given.reshape(2, *wanted.shape[2:], 6), np.moveaxis(wanted, 1, -1), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(layer.weight_of(layer.rows(weight)), weight)


def test_four_bits_rounded_as_the_outputs_ask_are_nearer_to_the_float_model() -> None:
    samples, held, model = digits(), held_out(), with_front()
    before = model.SerializeToString()
    wanted = answers(model, held)
    static = Static(weight_bits=4, weight_ranges="mse", count=48)
    made = Adaround(static=static, steps=100).apply(model, samples)
    nearest, learnt = answers(static.apply(model, samples), held), answers(made, held)
    assert np.square(learnt - wanted).mean() < 0.5 * np.square(nearest - wanted).mean()
    assert np.mean(learnt.argmax(1) == held.data.y) > 0.98
    assert model.SerializeToString() == before
    assert Adaround(static=static, steps=100).apply(model, samples).SerializeToString() == made.SerializeToString()

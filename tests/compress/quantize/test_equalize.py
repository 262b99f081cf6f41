"""Equalisation changes no answer, leaves equal ranges, and saves what one scale for a tensor would waste."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper
from tests.compress.quantize.small import between_convolutions, case, decibels, run

from edgewise.compress.quantize.equalize import Equalize, equalized
from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.quantize.static import Static
from edgewise.errors import UnsupportedError
from edgewise.training.step.assembly import with_weights


def skewed(model: ModelProto) -> ModelProto:
    """``model`` with channels of very different size, as training leaves them in depthwise networks."""
    chance = np.random.default_rng(0)
    weights = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
            array = numpy_helper.to_array(tensor)
            weights[tensor.name] = array * np.exp(chance.normal(size=(len(array), 1, 1, 1)) * 1.5).astype(np.float32)
    return with_weights(model, weights)


@pytest.mark.parametrize("name", ["cnn", "cnn of everything", "ds-cnn", "mobilenet", "unet", "cnn1d", "ssd"])
def test_no_answer_changes(name: str) -> None:
    model, samples, fed = case(name, 8)
    same = Equalize().apply(model, samples)
    wanted = run(model, fed)
    np.testing.assert_allclose(run(same, fed), wanted, atol=2e-5 * np.abs(wanted).max())
    assert same.graph.node != model.graph.node


def test_neighbours_end_with_equal_ranges() -> None:
    model, _, _ = case("ds-cnn", 8)
    core, pairs = equalized(prepare(skewed(model)).core)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in core.graph.initializer}
    convs = [node for node in core.graph.node if node.op_type == "Conv"]
    assert pairs == len(convs)  # each feeds the next, the last one the classifier through the pooling
    depthwise, pointwise = (stored[convs[at].input[1]] for at in (1, 2))
    made = np.abs(depthwise).max(axis=(1, 2, 3))
    made = np.maximum(made, np.abs(stored[convs[1].input[2]]))
    read = np.abs(pointwise).max(axis=(0, 2, 3))
    alive = made > 0.01 * made.max()
    np.testing.assert_allclose(np.log(made[alive]), np.log(read[alive]), atol=0.05)


def test_one_scale_for_a_tensor_loses_less_afterwards() -> None:
    model, samples, fed = case("ds-cnn")
    model = skewed(model)
    plain, better = (Static(count=32, weights="tensor", equalize=each).apply(model, samples) for each in (False, True))
    wanted = run(model, fed)
    assert decibels(wanted, run(better, fed)) > decibels(wanted, run(plain, fed)) + 3


@pytest.mark.parametrize("operator", ["Sigmoid", "Tanh"])
def test_no_scale_goes_through_a_curve(operator: str) -> None:
    model, samples, _ = between_convolutions([(operator, ["a"], ["b"], {})])
    with pytest.raises(UnsupportedError, match="through Relu or pooling alone"):
        Equalize().apply(model, samples)


def test_no_scale_goes_where_a_channel_is_read_twice() -> None:
    model, _, _ = between_convolutions([("Relu", ["a"], ["z"], {}), ("Add", ["z", "a"], ["b"], {})])
    assert equalized(prepare(model).core)[1] == 0


def test_the_pass_has_a_name() -> None:
    assert Equalize().name == "equalize"
    assert replace(Static(), equalize=True).name.endswith("equalized,n=200")

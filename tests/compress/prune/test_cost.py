"""Multiply-adds by hand, and by what MLPerf Tiny says of its networks."""

from edgewise.compress.prune.cost import layer_costs, multiply_adds, stored_bytes
from edgewise.networks.compact import CnnConfig
from edgewise.networks.inputs import ImageInput
from edgewise.networks.registry import build


def test_multiply_adds_of_each_layer() -> None:
    model = build("cnn", CnnConfig(ImageInput(8, 8), 10, (4, 6), strides=(1, 2)), 0)
    costs = layer_costs(model)
    channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    assert [cost.operator for cost in costs] == ["Conv", "Conv", "Gemm"]
    assert [cost.multiply_adds for cost in costs] == [64 * 4 * channels * 9, 16 * 6 * 4 * 9, 60]
    assert multiply_adds(model) == sum(cost.multiply_adds for cost in costs)


def test_the_reference_networks_cost_what_is_published() -> None:
    # Banbury et al. 2021, table 3: 12.5 million for ResNet-8, 7.5 for MobileNetV1 0.25, 2.7 for DS-CNN.
    assert round(multiply_adds(build("resnet8")) / 1e6, 1) == 12.5
    assert round(multiply_adds(build("mobilenet")) / 1e6, 1) == 7.5
    assert round(multiply_adds(build("ds-cnn")) / 1e6, 1) == 2.7


def test_a_recurrent_layer_costs_its_weights_at_every_step() -> None:
    model = build("gru")
    (layer, *_) = layer_costs(model)
    sizes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    steps = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value or 1
    (_, rows, width), (_, _, hidden) = sizes["gru1.weight"], sizes["gru1.recurrent"]
    assert layer.operator == "GRU"
    assert layer.multiply_adds == steps * rows * (width + hidden)


def test_bytes_are_those_of_all_stored_values() -> None:
    model = build("resnet8")
    assert 0.95 < stored_bytes(model) / len(model.SerializeToString()) < 1

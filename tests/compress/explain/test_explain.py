"""A comparison says where two models differ, by how much, and nothing where they do not."""

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper
from tests.networks.cases import CASES, feeds

from edgewise.compress.explain.comparison import Comparison, compare
from edgewise.compress.explain.decisions import compare_decisions
from edgewise.compress.explain.layers import compare_layers
from edgewise.compress.explain.page import to_html
from edgewise.compress.explain.sizes import sizes_of
from edgewise.compress.explain.times import times_of
from edgewise.compress.graph.simplify import simplified
from edgewise.digits import load_split, model_bytes
from edgewise.errors import DataError, InputError
from edgewise.graph.inspect import read_model
from edgewise.measure.intervals import mcnemar_exact
from edgewise.networks.parameters import parameters
from edgewise.networks.registry import build


def digits(form: str = "fp32") -> ModelProto:
    return read_model(model_bytes(form))


def samples(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    x, y = load_split("eval")
    return (x[:count, None] / 16).astype(np.float32), y[:count]


def scaled(model: ModelProto, name: str, factor: float) -> ModelProto:
    changed = ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))
    return changed


@pytest.mark.parametrize("case", ["cnn", "resnet8", "gru", "encoder", "text-bag", "unet"])
def test_a_model_is_equal_to_itself_in_every_layer(case: str) -> None:
    name, config, _ = CASES[case]
    model = build(name, config, 0)
    found = compare_layers(model, model, [feeds(model, 2)])
    assert found
    assert all(layer.sqnr == inf and layer.peak == 0 for layer in found)


def test_the_ratio_of_a_scaled_layer_is_that_of_the_scale() -> None:
    """A last layer without bias times 1.01 is off by a hundredth of its signal: 40 dB; the layers before it are equal."""
    name, config, _ = CASES["two-tower of everything"]
    model = build(name, config, 0)
    weight = next(n for n in reversed(list(parameters(model))) if n.startswith("items"))
    found = compare_layers(model, scaled(model, weight, 1.01), [feeds(model, 3)])
    assert found[-1].sqnr == pytest.approx(40, abs=0.1)
    assert all(layer.sqnr == inf for layer in found[:-1])


def test_layers_that_a_runtime_renamed_find_their_counterparts() -> None:
    name, config, _ = CASES["resnet8"]
    model = build(name, config, 3)
    small = simplified(model)
    found = compare_layers(model, small, [feeds(model, 2)])
    convolutions = [layer for layer in found if layer.operator == "Conv"]
    assert len(convolutions) == sum(node.op_type == "Conv" for node in model.graph.node)


def test_integers_are_compared_as_the_numbers_that_they_stand_for() -> None:
    x, _ = samples(64)
    model = digits()
    found = compare_layers(model, digits("int8"), [{model.graph.input[0].name: x}])
    assert [layer.operator for layer in found].count("Conv") == 4
    assert all(20 < layer.sqnr < 60 for layer in found if layer.operator == "Conv")


@given(st.integers(0, 2**32 - 1))
def test_flips_are_exactly_the_rows_that_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    equal = rng.random(40) < rng.random()
    second[equal] = first[equal]
    found = compare_decisions(first, second, y)
    differ = np.flatnonzero(first.argmax(1) != second.argmax(1))
    assert [flip.row for flip in found.flips] == differ.tolist()
    assert all(flip.scores == (first[flip.row].max(), second[flip.row].max()) for flip in found.flips)
    right = first.argmax(1) == y, second.argmax(1) == y
    assert found.p == mcnemar_exact(*right)
    assert sum(change.samples for change in found.classes) == 40
    assert sum(change.second for change in found.classes) == right[1].sum()


def test_outputs_of_other_samples_are_refused() -> None:
    with pytest.raises(DataError, match="not of the same samples"):
        compare_decisions(np.zeros((3, 2)), np.zeros((4, 2)))


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_all_bytes_are_accounted_for_and_weights_belong_to_their_layer(form: str) -> None:
    model = digits(form)
    found = sizes_of(model)
    assert sum(share.bytes for share in found) == model.ByteSize()
    layers = {share.layer: share for share in found}
    weights = {name: layers[name].bytes for name in ("conv3", "conv6", "conv10")}
    assert all(layers[name].operator == "Conv" for name in weights)
    assert sum(weights.values()) > 0.8 * model.ByteSize()
    assert max(weights, key=lambda name: weights[name]) == "conv6"


def test_times_are_of_the_nodes_that_really_run() -> None:
    x, _ = samples(1)
    model = digits("int8")
    found = times_of(model, {model.graph.input[0].name: x}, runs=5)
    assert "QLinearConv" in {share.operator for share in found}
    assert [share.microseconds for share in found] == sorted((s.microseconds for s in found), reverse=True)


def comparison() -> Comparison:
    x, y = samples()
    return compare(("one", digits()), ("two", digits("int8")), x, y, seconds=0.05)


def test_a_comparison_is_json_and_a_page_and_both_say_the_same() -> None:
    found = comparison()
    told = json.loads(json.dumps(found.to_json()))
    assert told["samples"] == 200
    assert told["first"]["bytes"] > 3 * told["second"]["bytes"]
    assert told["decisions"]["accuracy"][0] > 0.95
    page = to_html(replace(found, output="<script>alert(1)</script>"), ["a", "b"])
    assert "<script" not in page
    assert "http" not in page, "nothing is fetched"
    assert "of the bytes" in page
    assert "points of accuracy" in page


def test_models_of_other_interfaces_are_refused() -> None:
    x, _ = samples(4)
    other = build("cnn", CASES["cnn"][1], 0)
    with pytest.raises(InputError, match="takes"):
        compare(("one", digits()), ("two", other), x)
    with pytest.raises(InputError, match="the outputs that both have are"):
        compare(("one", digits()), ("two", digits()), x, output="nothing")


def test_a_weight_that_two_layers_share_counts_once() -> None:
    name, config, _ = CASES["two-tower"]  # one table of items: looked up in, and multiplied with
    model = build(name, config, 0)
    found = sizes_of(model)
    table = max(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)
    assert sum(share.bytes >= table for share in found) == 1
    assert all(share.bytes >= 0 for share in found)

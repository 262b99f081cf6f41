"""Every network builds, passes ONNX's check, runs on the stock runtime for any batch, and follows from its seed."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, numpy_helper
from tests.networks.cases import CASES, feeds

from edgewise.errors import InputError, NotFoundError
from edgewise.networks.parameters import parameter_count, parameters
from edgewise.networks.recurrent import GruConfig
from edgewise.networks.registry import NETWORKS, build
from edgewise.networks.separable import DsCnnConfig


def session(model: ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_all_networks_are_among_the_cases() -> None:
    assert {name for name, _, _ in CASES.values()} == set(NETWORKS)


@pytest.mark.parametrize("case", CASES)
def test_a_network_passes_the_check_and_runs_for_any_batch(case: str) -> None:
    name, config, outputs = CASES[case]
    model = build(name, config, 5)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    run = session(model)
    three = feeds(model, 3)
    got = dict(zip(outputs, run.run(list(outputs), three), strict=True))
    assert {key: array.shape for key, array in got.items()} == {key: (3, *shape) for key, shape in outputs.items()}
    assert all(np.isfinite(array).all() and array.std() > 0 for array in got.values())
    # The rows of a batch do not see each other.
    first = run.run(list(outputs), {key: array[:1] for key, array in three.items()})
    for key, array in zip(outputs, first, strict=True):
        np.testing.assert_allclose(array, got[key][:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_declared_shapes_are_those_that_come_out(case: str) -> None:
    """Layers compute shapes themselves; the model's value infos, from inference, must not have overruled them."""
    name, config, outputs = CASES[case]
    declared = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim[1:]]
        for value in build(name, config).graph.output
    }
    assert declared == {key: list(shape) for key, shape in outputs.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_seed_gives_the_same_bytes_and_another_other_weights(name: str) -> None:
    config = next(config for network, config, _ in CASES.values() if network == name)
    one, same, other = build(name, config, 1), build(name, config, 1), build(name, config, 2)
    assert one.SerializeToString() == same.SerializeToString()
    assert parameters(one) == parameters(other)
    drawn = {
        t.name
        for t in one.graph.initializer
        if np.unique(numpy_helper.to_array(t)).size > 1 and t.name in parameters(one)
    }
    before = {t.name: t.raw_data for t in one.graph.initializer}
    assert drawn
    assert all(t.raw_data != before[t.name] for t in other.graph.initializer if t.name in drawn)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        (
            "ds-cnn",
            22_000,
            40_000,
        ),  # 38.6 k with the biases and averages of MLPerf's file, 23.7 k in the paper's DS-CNN-S
        ("resnet8", 76_000, 80_000),  # MLPerf Tiny: 78 k
        ("mobilenet", 208_000, 222_000),  # MLPerf Tiny: 221 k with the running averages
    ],
)
def test_sizes_are_those_of_the_published_class(name: str, least: int, most: int) -> None:
    assert least <= parameter_count(build(name)) <= most


@pytest.mark.parametrize("case", CASES)
def test_only_parameters_are_large_and_their_names_say_where_they_are(case: str) -> None:
    name, config, _ = CASES[case]
    model = build(name, config)
    learnt = parameters(model)
    averages = {t.name for t in model.graph.initializer if t.name.endswith((".mean", ".var"))}
    for tensor in model.graph.initializer:
        if tensor.name in learnt or tensor.name in averages:
            assert "." in tensor.name
            assert tensor.data_type == onnx.TensorProto.FLOAT
        else:
            assert tensor.name.startswith("constant")
            assert np.prod(tensor.dims) <= 8
    used = [name for node in model.graph.node for name in node.input]
    assert set(learnt) | averages <= set(used)
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


def test_dropout_is_a_node_that_does_nothing_yet() -> None:
    model = build("ds-cnn", DsCnnConfig(dropout=(0.2, 0.4, 0.0)))
    nodes = [node for node in model.graph.node if node.op_type == "Dropout"]
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert [float(stored[node.input[1]]) for node in nodes] == pytest.approx([0.2, 0.4])
    assert all(len(node.input) == 2 and len(node.output) == 1 for node in nodes)
    plain = build("ds-cnn", DsCnnConfig(dropout=(0.0, 0.0, 0.0)))
    x = feeds(model, 2)
    np.testing.assert_array_equal(session(model).run(None, x)[0], session(plain).run(None, x)[0])


def test_what_does_not_exist_or_does_not_belong_is_refused() -> None:
    with pytest.raises(NotFoundError, match="no network 'vgg'"):
        build("vgg")
    with pytest.raises(InputError, match="built from a CnnConfig, not from a GruConfig"):
        build("cnn", GruConfig())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_config_names_every_fault_at_once(name: str) -> None:
    config = NETWORKS[name].config
    wrong: dict[str, Any] = {
        "widths": (),
        "classes": 0,
        "width": 0,
        "dropout": 2.0,
        "hidden": (0,),
        "heads": 0,
        "sizes": ((),),
    }
    wrong["dropout"] = (2.0,) if name == "ds-cnn" else 2.0
    wrong["hidden"] = 0 if name == "gru" else (0,)
    given = {key: value for key, value in wrong.items() if key in config.__dataclass_fields__}
    with pytest.raises(InputError) as caught:
        config(**given)
    assert len(caught.value.details["problems"]) >= 2
    assert name in str(caught.value)

"""read_model lets sound models through and says of every other one what is wrong with it; describe says what a model is."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.errors import ModelError, UnsupportedError
from edgewise.graph.inspect import IR_VERSIONS, OPSETS, ModelLimits, checked, describe, read_model

F = TensorProto.FLOAT


def model(nodes: list[Any], weights: dict[str, np.ndarray] | None = None, **options: Any) -> ModelProto:
    """x (batch, 4) to y, by ``nodes``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", F, ["batch", 4])],
        [helper.make_tensor_value_info("y", F, ["batch", "found"])],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    domains = options.pop("domains", {"": 18})
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=opsets, **{"ir_version": 8, **options})


def relu(**options: Any) -> bytes:
    return bytes(model([helper.make_node("Relu", ["x"], ["y"], "r")], **options).SerializeToString())


def opens(data: bytes) -> None:
    ort.InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("opset", OPSETS)
def test_the_bounds_of_the_opset_open_in_onnxruntime(opset: int) -> None:
    data = relu(domains={"": opset})
    opens(data)
    assert describe(read_model(data)).opsets == {"ai.onnx": opset}


@pytest.mark.parametrize("version", [8, IR_VERSIONS[1]])
def test_the_bounds_of_the_ir_version_open_in_onnxruntime(version: int) -> None:
    data = relu(ir_version=version)
    opens(data)
    assert describe(read_model(data)).ir_version == version


@pytest.mark.parametrize("domains", [{"": 6}, {"": 29}, {"": 18, "ai.onnx.ml": 6}, {"": 18, "com.microsoft": 2}])
def test_versions_that_onnxruntime_does_not_take_are_unsupported(domains: dict[str, int]) -> None:
    with pytest.raises(UnsupportedError, match=str(list(domains.values())[-1])):
        read_model(relu(domains=domains))


@pytest.mark.parametrize("version", [2, 15, 1 << 40])
def test_ir_versions_that_onnxruntime_does_not_take_are_unsupported(version: int) -> None:
    with pytest.raises(UnsupportedError, match="IR version"):
        read_model(relu(ir_version=version))


def test_an_operator_of_a_foreign_domain_is_named_with_its_node() -> None:
    foreign = helper.make_node("Fancy", ["x"], ["y"], "layer3/fancy", domain="com.example")
    with pytest.raises(UnsupportedError, match=r"layer3/fancy.*Fancy.*com\.example") as caught:
        read_model(model([foreign], domains={"": 18, "com.example": 1}).SerializeToString())
    assert caught.value.details == {"operator": "Fancy", "domain": "com.example", "node": "layer3/fancy"}


def test_a_foreign_operator_inside_a_branch_is_found() -> None:
    bad = helper.make_graph(
        [helper.make_node("Fancy", ["x"], ["z"], domain="com.example")],
        "b",
        [],
        [helper.make_tensor_value_info("z", F, ["batch", 4])],
    )
    condition = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    node = helper.make_node("If", ["c"], ["y"], then_branch=bad, else_branch=bad)
    with pytest.raises(UnsupportedError, match="Fancy"):
        read_model(model([condition, node], domains={"": 18, "com.example": 1}).SerializeToString())


def test_microsofts_operators_and_own_functions_are_let_through_and_reported() -> None:
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    nodes = [
        helper.make_node("Gelu", ["x"], ["h"], domain="com.microsoft"),
        helper.make_node("Twice", ["h"], ["y"], domain="own"),
    ]
    domains = {"": 18, "com.microsoft": 1, "own": 1}
    summary = describe(read_model(model(nodes, domains=domains, functions=[function]).SerializeToString()))
    assert summary.operators == {"Add": 1, "com.microsoft::Gelu": 1, "own::Twice": 1}
    assert summary.functions == ("own::Twice",)
    assert summary.opsets == {"ai.onnx": 18, "com.microsoft": 1, "own": 1}


@pytest.mark.parametrize("data", [b"", b"hello, this is no model", b"\x08\x08", relu()[:-5]])
def test_what_is_no_model_is_a_model_error(data: bytes) -> None:
    with pytest.raises(ModelError):
        read_model(data)


def test_the_checkers_words_reach_the_reader() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        read_model(model([helper.make_node("Relu", ["nowhere"], ["y"])]).SerializeToString())


def test_bounds_on_size_and_nodes_are_enforced() -> None:
    with pytest.raises(UnsupportedError, match="at most 10"):
        read_model(relu(), limits=ModelLimits(model_bytes=10))
    with pytest.raises(UnsupportedError, match="more than 0 nodes"):
        read_model(relu(), limits=ModelLimits(nodes=0))


def test_training_graphs_are_unsupported() -> None:
    trained = ModelProto.FromString(relu())
    trained.training_info.add()
    with pytest.raises(UnsupportedError, match="training"):
        read_model(trained.SerializeToString())


def test_shapes_are_inferred_also_where_weights_are_large() -> None:
    """Large weights do not go through the checker's copy, and are all there afterwards, in order."""
    weights = {
        "small": np.ones((4, 4), np.float32),
        "large": np.arange(4 * 9000, dtype=np.float32).reshape(4, 9000),
        "last": np.ones(9000, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "small"], ["h"]),
        helper.make_node("MatMul", ["h", "large"], ["i"]),
        helper.make_node("Add", ["i", "last"], ["y"]),
    ]
    read = read_model(model(nodes, weights).SerializeToString())
    assert [tensor.name for tensor in read.graph.initializer] == list(weights)
    assert [value.name for value in read.graph.input] == ["x"]
    np.testing.assert_array_equal(numpy_helper.to_array(read.graph.initializer[1]), weights["large"])
    summary = describe(read)
    assert summary.outputs[0].shape == ("batch", 9000)
    assert summary.parameters == sum(value.size for value in weights.values())
    assert abs(summary.size - len(read.SerializeToString())) < 50
    opens(read.SerializeToString())


def test_a_large_weight_that_is_cut_off_is_a_model_error() -> None:
    cut = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((4, 9000), np.float32)})
    cut.graph.initializer[0].raw_data = cut.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelError, match="its shape needs"):
        checked(cut)


def precision_of(nodes: list[Any], weights: dict[str, np.ndarray]) -> str:
    return describe(model(nodes, weights, domains={"": 18, "com.microsoft": 1})).precision


W = np.ones((64, 64))
SCALE = {"s": np.float32(0.1)}
MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"])
DEQUANTIZE = helper.make_node("DequantizeLinear", ["q", "s"], ["w"])


@pytest.mark.parametrize(
    ("expected", "nodes", "weights"),
    [
        ("fp32", [MATMUL], {"w": W.astype(np.float32)}),
        ("fp16", [MATMUL], {"w": W.astype(np.float16)}),
        ("int8", [DEQUANTIZE, MATMUL], {"q": W.astype(np.int8), **SCALE}),
        (
            "int8",
            [helper.make_node("QuantizeLinear", ["f", "s"], ["q"]), DEQUANTIZE, MATMUL],
            {"f": W.astype(np.float32), **SCALE},
        ),
        ("mixed", [DEQUANTIZE, MATMUL], {"q": W.astype(np.int8), "rest": W.astype(np.float32), **SCALE}),
        (
            "int4",
            [
                helper.make_node(
                    "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", bits=4, K=4, N=4, block_size=16
                )
            ],
            {"w": W.astype(np.uint8), **SCALE},
        ),
        ("fp32", [helper.make_node("Relu", ["x"], ["y"])], {}),
        ("int8", [helper.make_node("QuantizeLinear", ["x", "s"], ["h"])], SCALE),
    ],
)
def test_precision_follows_the_weights(expected: str, nodes: list[Any], weights: dict[str, np.ndarray]) -> None:
    assert precision_of(nodes, weights) == expected


def test_real_models_are_described(shared_data: Path) -> None:
    keywords = describe(read_model((shared_data / "model_kws_dscnn/kws_ds_cnn_fp32.onnx").read_bytes()))
    assert keywords.inputs[0].dtype == "float32"
    assert keywords.inputs[0].shape is not None
    assert keywords.inputs[0].shape[1:] == (49, 10, 1)
    assert (keywords.precision, keywords.control_flow, keywords.operators["Conv"]) == ("fp32", False, 9)
    speech = describe(read_model((shared_data / "model_vad_silero/silero_vad.onnx").read_bytes()))
    assert [(item.name, item.dtype) for item in speech.inputs] == [
        ("input", "float32"),
        ("state", "float32"),
        ("sr", "int64"),
    ]
    assert (speech.control_flow, speech.operators["LSTM"], speech.opsets) == (True, 4, {"ai.onnx": 16})


def test_initializers_that_are_listed_as_inputs_are_no_inputs() -> None:
    old = model([MATMUL], {"w": np.ones((4, 2), np.float32)}, domains={"": 8}, ir_version=3)
    old.graph.input.append(helper.make_tensor_value_info("w", F, [4, 2]))
    onnx.checker.check_model(old)
    assert [item.name for item in describe(read_model(old.SerializeToString())).inputs] == ["x"]

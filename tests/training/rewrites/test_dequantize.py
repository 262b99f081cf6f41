"""Quantized graphs become floating-point ones with exactly their weights, or are refused by node."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from tests.training.loss_graphs import run
from tests.training.small_models import convolutions, images, model_of

from edgewise.errors import UnsupportedError
from edgewise.training.rewrites.dequantize import dequantize
from edgewise.training.rewrites.freezing import choose_trainable

RNG = np.random.default_rng(10)


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self.rest: Iterator[dict[str, np.ndarray]] = iter([{"x": images(64, seed)} for seed in (1, 2)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rest, None)


def statically(folder: Path, form: QuantFormat, **options: object) -> ModelProto:
    onnx.save(convolutions(), folder / "plain.onnx")
    quantize_static(folder / "plain.onnx", folder / "q.onnx", Reader(), quant_format=form, **options)
    return onnx.load(folder / "q.onnx")


def exactly(model: ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


FORMS = [
    (QuantFormat.QDQ, {}), (QuantFormat.QOperator, {}), (QuantFormat.QDQ, {"per_channel": True, "weight_type": QuantType.QInt8}),
    (QuantFormat.QOperator, {"per_channel": True, "activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}),
]  # fmt: skip


@pytest.mark.parametrize(("form", "options"), FORMS)
def test_the_rounding_form_computes_what_the_integers_did(
    form: QuantFormat, options: dict[str, object], tmp_path: Path
) -> None:
    model = statically(tmp_path, form, **options)
    x = images(16, 1)
    expected = exactly(model, x)
    found = dequantize(model, rounding=True)
    assert found.quantizers
    # A sum in another order can fall on the other side of a half: then one value differs by a step.
    close = np.isclose(exactly(found.model, x), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert close.mean() > 0.8
    np.testing.assert_allclose(exactly(found.model, x), expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize(("form", "options"), FORMS)
def test_without_rounding_the_limits_stay_and_the_weights_can_be_trained(
    form: QuantFormat, options: dict[str, object], tmp_path: Path
) -> None:
    model = statically(tmp_path, form, **options)
    found = dequantize(model)
    kinds = {node.op_type for node in found.model.graph.node}
    assert kinds <= {
        "Conv",
        "Gemm",
        "MatMul",
        "Relu",
        "Clip",
        "Identity",
        "GlobalAveragePool",
        "Flatten",
        "Reshape",
        "Transpose",
        "Add",
    }
    x = images(16, 1)
    expected = exactly(model, x)
    np.testing.assert_allclose(exactly(found.model, x), expected, atol=0.15 * np.abs(expected).max())
    assert not found.quantizers
    _, names = choose_trainable(found.model)
    assert len(names) >= 8
    # The weights are those of the integers: a multiple of the scale each, near the weights before.
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in found.model.graph.initializer}
    (weight,) = [array for array in stored.values() if array.shape == (4, 3, 3, 3)]
    plain = onnx.numpy_helper.to_array(convolutions().graph.initializer[0])
    assert 0 < np.abs(weight - plain).max() < 0.02 * np.abs(plain).max()


@pytest.mark.parametrize("per_channel", [False, True])
def test_run_time_quantization_leaves_its_input_as_it_is(per_channel: bool, tmp_path: Path) -> None:
    onnx.save(convolutions(), tmp_path / "plain.onnx")
    operators = ["MatMul", "Gemm"] if per_channel else ["Conv", "MatMul", "Gemm"]
    quantize_dynamic(
        tmp_path / "plain.onnx", tmp_path / "q.onnx", per_channel=per_channel, op_types_to_quantize=operators
    )
    model = onnx.load(tmp_path / "q.onnx")
    assert any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node)
    found = dequantize(model)
    kinds = {node.op_type for node in found.model.graph.node}
    assert not any("Integer" in kind or "Quantize" in kind for kind in kinds)
    x = images(16, 1)
    expected = exactly(model, x)
    np.testing.assert_allclose(exactly(found.model, x), expected, atol=0.1 * np.abs(expected).max())


def integers(name: str, low: int, high: int, shape: tuple[int, ...], kind: str = "uint8") -> dict[str, np.ndarray]:
    return {name: RNG.integers(low, high, shape).astype(kind)}


SCALES = {
    "s": np.array(0.02, np.float32),
    "z": np.array(100, np.uint8),
    "t": np.array(0.03, np.float32),
    "o": np.array(128, np.uint8),
}
QUANTIZE = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize")
BACK = helper.make_node("DequantizeLinear", ["r", "t", "o"], ["y"], "back")
MS = "com.microsoft"


def quantized_op(operator: str, inputs: list[str], stored: dict[str, np.ndarray], **attributes: object) -> ModelProto:
    node = helper.make_node(operator, inputs, ["r"], "op", domain=MS, **attributes)
    return model_of([QUANTIZE, node, BACK], SCALES | stored, ["n", 4, 6, 6])


@pytest.mark.parametrize(
    "model",
    [
        quantized_op("QLinearAdd", ["q", "s", "z", "b", "t", "o", "t", "o"], integers("b", 0, 255, (4, 1, 1))),
        quantized_op("QLinearMul", ["q", "s", "z", "q", "s", "z", "t", "o"], {}),
        quantized_op("QLinearSigmoid", ["q", "s", "z", "t", "o"], {}),
        quantized_op("QLinearLeakyRelu", ["q", "s", "z", "t", "o"], {}, alpha=0.2),
        quantized_op("QLinearGlobalAveragePool", ["q", "s", "z", "t", "o"], {}, channels_last=0),
        quantized_op("QLinearAveragePool", ["q", "s", "z", "t", "o"], {}, kernel_shape=[2, 2], strides=[2, 2]),
        quantized_op("QLinearSoftmax", ["q", "s", "z", "t", "o"], {}, axis=-1, opset=13),
        quantized_op("QLinearConcat", ["t", "o", "q", "s", "z", "q", "s", "z"], {}, axis=1),
    ],
)
def test_each_quantized_operator_is_its_floating_point_one_within_a_step(model: ModelProto) -> None:
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    expected = exactly(model, x)
    for rounding, steps in ((True, 1.01), (False, 2.5)):
        found = dequantize(model, rounding=rounding).model
        assert {node.domain for node in found.graph.node} == {""}
        np.testing.assert_allclose(exactly(found, x), expected, atol=steps * 0.03)


def test_integers_that_are_only_moved_keep_their_meaning() -> None:
    nodes = [
        QUANTIZE,
        helper.make_node("MaxPool", ["q"], ["a"], "pool", kernel_shape=[2, 2]),
        helper.make_node("Transpose", ["a"], ["b"], "turn", perm=[0, 2, 3, 1]),
        helper.make_node("Concat", ["b", "b"], ["r"], "join", axis=1),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"], "back"),
    ]
    model = model_of(nodes, SCALES, ["n", 4, 6, 6])
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(exactly(dequantize(model, rounding=True).model, x), exactly(model, x), atol=1e-6)


def test_a_weight_of_integers_that_is_shared_stays_shared() -> None:
    nodes = [
        QUANTIZE,
        helper.make_node("QLinearMatMul", ["q", "s", "z", "w", "s", "z", "s", "z"], ["a"], "m1"),
        helper.make_node("QLinearMatMul", ["a", "s", "z", "w", "s", "z", "t", "o"], ["r"], "m2"),
        BACK,
    ]
    model = dequantize(model_of(nodes, SCALES | integers("w", 0, 255, (6, 6)), ["n", 6])).model
    assert choose_trainable(model)[1] == ("w/real",)


def test_what_has_no_exact_form_is_refused_by_operator_node_and_reason() -> None:
    nodes = [
        QUANTIZE,
        helper.make_node("Relu", ["x"], ["unrelated"], "unrelated"),
        helper.make_node("BitwiseNot", ["q"], ["r"], "bits"),
        helper.make_node("DequantizeLinear", ["q", "t", "o"], ["a"], "other_scale"),
        helper.make_node("QLinearMatMul", ["q", "s", "z", "q", "s", "z", "x", "z"], ["b"], "computed"),
        BACK,
    ]
    with pytest.raises(
        UnsupportedError, match=r"BitwiseNot \(bits\).*DequantizeLinear \(other_scale\).*\(computed\)"
    ) as caught:
        dequantize(model_of(nodes, SCALES, ["n", 6]))
    assert [fault["node"] for fault in caught.value.details["nodes"]] == ["bits", "other_scale", "computed"]
    odd = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"], "dynamic"),
        helper.make_node("Add", ["scale", "x"], ["y"], "reads_the_scale"),
    ]
    with pytest.raises(UnsupportedError, match=r"Add \(reads_the_scale\): it reads scale"):
        dequantize(model_of(odd, {}, ["n", 6]))


def test_a_model_that_is_not_quantized_comes_back_as_it_is() -> None:
    found = dequantize(convolutions()).model
    assert [node.op_type for node in found.graph.node] == [node.op_type for node in convolutions().graph.node]
    np.testing.assert_array_equal(run(found, {"x": images()})[0], run(convolutions(), {"x": images()})[0])


def test_integers_fed_from_outside_are_read_as_before() -> None:
    nodes = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], "back")]
    model = model_of(nodes, SCALES, ["n", 6], TensorProto.UINT8)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    x = RNG.integers(0, 255, (2, 6)).astype(np.uint8)
    np.testing.assert_array_equal(run(dequantize(model).model, {"x": x})[0], run(model, {"x": x})[0])

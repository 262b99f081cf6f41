"""Dynamic int8 is for products: never for Conv, and refused where there is nothing else."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.compress.quantize.small import case, decibels, fused, run, weight

from edgewise.compress.quantize.dynamic import Dynamic
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.inspect import describe
from edgewise.measure.dataset import Dataset


@pytest.mark.parametrize("weight_type", ["s8", "u8"])
@pytest.mark.parametrize("name", ["encoder", "encoder of tokens", "gru"])
def test_products_become_integers_and_answers_stay_close(name: str, weight_type: str) -> None:
    model, samples, fed = case(name)
    before = model.SerializeToString()
    small = Dynamic(weight_type=weight_type).apply(model, samples)  # type: ignore[arg-type]
    assert model.SerializeToString() == before
    assert fused(small)["DynamicQuantizeMatMul"] >= 1
    assert describe(small).inputs == describe(model).inputs
    assert decibels(run(model, fed), run(small, fed)) > 30
    assert len(small.SerializeToString()) < 0.995 * len(before)


def test_an_encoder_takes_about_a_third_of_the_bytes() -> None:
    model, samples, _ = case("encoder")
    assert len(Dynamic().apply(model, samples).SerializeToString()) < 0.36 * model.ByteSize()


def test_convolutions_stay_in_floats() -> None:
    model, samples, _ = case("ds-cnn")
    operators = fused(Dynamic().apply(model, samples))
    assert operators["FusedConv"] == 9
    assert operators["ConvInteger"] == 0


def test_a_model_of_convolutions_alone_is_refused_by_operator_node_and_reason() -> None:
    model, samples, _ = case("unet")
    with pytest.raises(UnsupportedError, match=r"Conv 'down1.block1.conv': its dynamic form is slower than floats"):
        Dynamic().apply(model, samples)


def test_an_lstm_has_an_integer_form() -> None:
    stored = {name: 0.3 * weight(1, 64, *shape) for name, shape in {"w": (8,), "r": (16,)}.items()}
    stored |= {"b": 0.3 * weight(1, 128), "axes": np.int64([0])}
    graph = helper.make_graph(
        [
            helper.make_node("LSTM", ["x", "w", "r", "b"], ["", "h"], "lstm", hidden_size=16),
            helper.make_node("Squeeze", ["h", "axes"], ["y"]),
        ],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, "n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    x = weight(5, 7, 8)
    samples = Samples(Dataset(x, np.zeros(5, np.int64)), "classification", "x", "y")
    small = Dynamic().apply(model, samples)
    assert "DynamicQuantizeLSTM" in {node.op_type for node in small.graph.node}
    assert decibels(run(model, {"x": x}), run(small, {"x": x})) > 20

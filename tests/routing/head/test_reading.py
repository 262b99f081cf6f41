"""What is read of a model: all samples, whatever batch it takes, and nothing that would change its answers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.routing.head.forms import form, noisy, run

from edgewise.errors import MismatchError
from edgewise.routing.head import reading
from edgewise.routing.head.head import features_of
from edgewise.routing.head.reading import read_samples


def test_features_are_those_of_the_models_own_scores() -> None:
    x = noisy()[0][:150]
    seen = read_samples(form("int8"), {"pixels": x}, "logits")
    logits = np.concatenate([run(form("int8"), x[at : at + 64])["logits"] for at in range(0, 150, 64)])
    np.testing.assert_allclose(seen.features, features_of(logits.astype(np.float64)), atol=1e-12)
    assert seen.classes == 10


@pytest.mark.parametrize("size", [1, 16])
def test_a_model_of_one_batch_size_reads_every_sample_once(size: int) -> None:
    model = onnx.load_from_string(form("fp32"))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    x = noisy()[0][:37]
    fixed, free = (read_samples(each, {"pixels": x}, "logits") for each in (model.SerializeToString(), form("fp32")))
    np.testing.assert_allclose(fixed.features, free.features, atol=1e-4)
    assert fixed.hidden is not None
    assert fixed.hidden.shape == (37, 128)


def test_maps_in_front_of_the_last_convolution_are_averaged() -> None:
    draw = np.random.default_rng(0)
    weight = draw.normal(0, 1, (3, 5, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["maps"], "conv"),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])], [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    x = draw.normal(0, 1, (6, 5, 4, 4)).astype(np.float32)
    seen = read_samples(model, {"x": x}, "logits")
    np.testing.assert_allclose(seen.hidden, x.mean(axis=(2, 3)), atol=1e-6)
    assert read_samples(model, {"x": x}, "logits", hidden=False).hidden is None


def test_hidden_values_that_cannot_be_read_without_a_trace_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def changes(*_: object) -> float:
        raise MismatchError("with the head in the graph logits comes out otherwise")

    monkeypatch.setattr(reading, "prove_joined", changes)
    assert read_samples(form("fp32"), {"pixels": noisy()[0][:8]}, "logits").hidden is None


def test_probabilities_are_told_from_scores_by_what_they_sum_to() -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    for rows, wanted in (
        ([[0.2, 0.3, 0.5]], "probabilities"),
        ([[0.9, 0.9, 0.9]], "logits"),
        ([[2.0, -1, 0]], "logits"),
    ):
        assert read_samples(model, {"x": np.float32(rows)}, "y").form == wanted

"""Fragments at a model's edges compute what NumPy computes."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from edgewise.errors import InputError
from edgewise.graph.answer import dequantize, labels, sigmoid, softmax, temperature, top_k, transpose


def run(model: ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {model.graph.input[0].name: x}))


LOGITS = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32) * 4


def _softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def test_softmax_with_and_without_a_temperature() -> None:
    np.testing.assert_allclose(run(softmax(), LOGITS)[0], _softmax(LOGITS), atol=1e-6)
    np.testing.assert_allclose(run(softmax(divisor=2.5), LOGITS)[0], _softmax(LOGITS / 2.5), atol=1e-6)
    np.testing.assert_allclose(run(temperature(2.5), LOGITS)[0], LOGITS / 2.5, atol=1e-6)


def test_names_are_the_callers() -> None:
    model = softmax("scores", "p", shape=("batch", 7))
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("scores", "p")


def test_labels_name_the_highest_score_and_keep_the_scores() -> None:
    names = ["à", "b", "c", "d", "e", "f", "g"]
    scores, label = run(labels(names, "logits"), LOGITS)
    np.testing.assert_array_equal(scores, LOGITS)
    assert label.tolist() == [names[at] for at in LOGITS.argmax(1)]
    with pytest.raises(InputError, match="2 names for 7 classes"):
        labels(["a", "b"], shape=("batch", 7))


def test_sigmoid() -> None:
    np.testing.assert_allclose(run(sigmoid(), LOGITS)[0], 1 / (1 + np.exp(-LOGITS)), atol=1e-6)


@given(st.integers(1, 7), st.integers(0, 100))
@settings(deadline=None, max_examples=10)
def test_top_k_is_the_head_of_the_sorted_scores_and_its_indices_point_there(k: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-3, 4, (4, 7)).astype(np.float32)  # with ties
    values, indices = run(top_k(k, shape=("batch", 7)), x)
    order = np.argsort(-x, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(values, np.take_along_axis(x, order, 1))


@pytest.mark.parametrize(("dtype", "zero"), [("int8", -5), ("uint8", 128)])
def test_dequantize_takes_every_integer_to_its_real_value(dtype: Any, zero: int) -> None:
    q = np.arange(*((-128, 128) if dtype == "int8" else (0, 256)), dtype=dtype)[None]
    got = run(dequantize(0.25, zero, dtype, shape=("batch", 256)), q)[0]
    np.testing.assert_array_equal(got, (q.astype(np.float32) - zero) * 0.25)


def test_transpose_moves_axes_and_their_names() -> None:
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 5), np.uint8)
    model = transpose([0, 3, 1, 2], ("batch", "height", "width", 5), "uint8")
    np.testing.assert_array_equal(run(model, x)[0], x.transpose(0, 3, 1, 2))
    assert [d.dim_value or d.dim_param for d in model.graph.output[0].type.tensor_type.shape.dim] == [
        "batch", 5, "height", "width",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: softmax(divisor=0.0),
        lambda: temperature(-1.0),
        lambda: top_k(0),
        lambda: top_k(8, shape=("batch", 7)),
        lambda: dequantize(0.0, 0, "int8", shape=(1,)),
        lambda: dequantize(1.0, 200, "int8", shape=(1,)),
        lambda: transpose([0, 0], (1, 2)),
    ],
)
def test_what_cannot_be_is_refused_when_built(make: Any) -> None:
    with pytest.raises(InputError):
        make()

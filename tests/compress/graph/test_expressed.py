"""Constants that follow from smaller ones: the file shrinks, the numbers do not change, and the runtime folds them back."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.compress.graph.expressed import Express, expressed
from edgewise.compress.quantize.static import Static
from edgewise.compress.samples import Samples
from edgewise.graph.audio import Framing, log_mel
from edgewise.graph.mel import MelBank
from edgewise.measure.dataset import Dataset

Array = np.ndarray
CHANCE = np.random.default_rng(3)


def holding(array: Array, *, read_as_output: bool = False) -> ModelProto:
    """A model that gives what it stores (times what it is fed)."""
    nodes = [helper.make_node("Mul", ["w", "x"], ["y"])]
    outputs = ["y", "w"] if read_as_output else ["y"]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs], [numpy_helper.from_array(array, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def held(model: ModelProto) -> Array:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array(1, np.float32)})[0]


def basis(size: int, window: Array, sign: int, bins: int) -> Array:
    angle = 2 * np.pi * np.outer(np.arange(bins), np.arange(size)) / size
    return (np.concatenate([np.cos(angle), sign * np.sin(angle)]) * window).astype(np.float32)[:, None]


WINDOWS = {
    "hann": lambda size: 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size),
    "hamming, symmetric": lambda size: 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(size) / (size - 1)),
    "none": np.ones,
    "any": lambda size: np.random.default_rng(size).uniform(0.1, 2, size),
}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("size", "bins"), [(128, 65), (256, 129), (256, 40)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_fourier_basis_becomes_a_window_and_cosines(window: str, size: int, bins: int, sign: int) -> None:
    stored = basis(size, WINDOWS[window](size), sign, bins)
    made = expressed(holding(stored))
    assert made.ByteSize() < 4 * 2 * size + 2000
    np.testing.assert_allclose(held(made), stored, atol=4e-6 * np.abs(stored).max())


def test_what_is_nearly_a_basis_stays() -> None:
    stored = basis(256, np.ones(256), 1, 129)
    stored[200, 0, 7] += 1e-3
    for other in (stored, CHANCE.normal(size=stored.shape).astype(np.float32), basis(256, np.ones(256), 1, 129)[:-1]):
        model = holding(other)
        assert expressed(model) is model
    shown = holding(basis(256, np.ones(256), 1, 129), read_as_output=True)
    assert expressed(shown) is shown


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 90), columns=st.integers(1, 90), share=st.floats(0, 0.4), seed=st.integers(0, 99))
def test_a_sparse_matrix_comes_back_to_the_last_bit(rows: int, columns: int, share: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    stored = np.where(chance.random((rows, columns)) < share, chance.normal(size=(rows, columns)), 0).astype(np.float32)
    stored[0, 0] = -0.0
    model = holding(stored)
    made = expressed(model)
    assert held(made).tobytes() == stored.tobytes()
    assert made is model or made.ByteSize() < model.ByteSize()
    if stored.size > 4000 and share < 0.1:
        assert made.ByteSize() < model.ByteSize() / 2


def spectral(tmp_path: Path) -> tuple[ModelProto, Samples]:
    model = log_mel(
        Framing(8000, 256, 160, centre=False, samples=4000), MelBank(40, 20.0, 4000.0, "htk", area_norm=False)
    )
    x = CHANCE.uniform(-1, 1, (40, 4000)).astype(np.float32)
    return model, Samples(Dataset(x, np.zeros(40)), "regression", model.graph.input[0].name, model.graph.output[0].name)


def run(model: ModelProto, x: Array) -> Array:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: x})[0]


def test_a_mel_front_shrinks_to_a_fiftieth_and_is_folded_at_opening(tmp_path: Path) -> None:
    model, samples = spectral(tmp_path)
    small = Express().apply(model, samples)
    assert small.ByteSize() < model.ByteSize() / 40
    np.testing.assert_allclose(run(small, samples.data.x), run(model, samples.data.x), atol=1e-4)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    ort.InferenceSession(small.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert not {"Gather", "ScatterND", "Mod"} & {
        node.op_type for node in onnx.load(str(tmp_path / "opened.onnx")).graph.node
    }


def test_a_basis_in_integers_comes_back_to_the_last_integer(tmp_path: Path) -> None:
    model, samples = spectral(tmp_path)
    whole = Static(front=True, bias="float32", rest=False).apply(model, samples)
    assert any(node.op_type == "DequantizeLinear" for node in whole.graph.node)
    small = Express().apply(whole, samples)
    assert small.ByteSize() < whole.ByteSize() / 10
    np.testing.assert_array_equal(run(small, samples.data.x), run(whole, samples.data.x))

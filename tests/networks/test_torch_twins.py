"""The ONNX networks are the networks that torch users know: same weights, same answers."""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edgewise.networks.inputs import ImageInput, SequenceInput, TokenInput
from edgewise.networks.parameters import parameters
from edgewise.networks.recommender import TwoTowerConfig
from edgewise.networks.recurrent import GruConfig
from edgewise.networks.transformer import EncoderConfig

torch = pytest.importorskip("torch")


def _twins() -> ModuleType:
    # Tests are not a package: the file is loaded by its place, as the benchmarks do.
    spec = importlib.util.spec_from_file_location("torch_twins", Path(__file__).with_name("torch_twins.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["torch_twins"] = module
    spec.loader.exec_module(module)
    return module


twins = _twins()
torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)  # the fast path is for inference only; what is trained is the plain one


def answers(model: Any, feeds: dict[str, np.ndarray]) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], feeds)[0]


def shaken(model: Any, seed: int = 3) -> Any:
    """Other values wherever a network starts with 0 or 1, so that a swap of two of them shows."""
    from onnx import numpy_helper

    random = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if "." in tensor.name and np.unique(array).size == 1:
            moved = array + random.uniform(0, 0.3, array.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    return model


MORE = {
    "gru both ways, two layers": twins.Case("gru", GruConfig(SequenceInput(20, 6), hidden=16, layers=2, both_ways=True), twins.Gru),
    "gru mean": twins.Case("gru", GruConfig(SequenceInput(20, 6), hidden=16, pooling="mean"), twins.Gru),
    "encoder over tokens": twins.Case("encoder", EncoderConfig(TokenInput(50, 12), width=32), twins.Encoder),
    "two-tower, two tables": twins.Case("two-tower", TwoTowerConfig(100, 9, width=8, shared=False), twins.TwoTower),
}  # fmt: skip


@pytest.mark.parametrize("name", [*twins.TWINS, *MORE])
def test_onnxruntime_gives_what_torch_gives(name: str) -> None:
    case = (twins.TWINS | MORE)[name]
    model, twin = twins.pair(case, seed=1)
    twins.copy_weights(shaken(model), twin)
    twin.eval()
    feeds = twins.inputs(case, 4, seed=2)
    with torch.no_grad():
        expected = twin(*(torch.from_numpy(array) for array in feeds.values())).numpy()
    got = answers(model, feeds)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", [*twins.TWINS, *MORE])
def test_every_parameter_has_a_place_in_the_twin_and_comes_back_as_it_was(name: str) -> None:
    from onnx import numpy_helper

    case = (twins.TWINS | MORE)[name]
    model, twin = twins.pair(case)
    twins.copy_weights(shaken(model), twin)
    back = twins.weights(twin)
    assert set(parameters(model)) <= set(back)
    for tensor in model.graph.initializer:
        if tensor.name in back:
            np.testing.assert_array_equal(back[tensor.name], numpy_helper.to_array(tensor), tensor.name)


def test_gradients_come_under_the_names_of_the_model() -> None:
    for case in (twins.TWINS["gru"], twins.TWINS["encoder"], twins.TWINS["ds-cnn"], twins.TWINS["two-tower"]):
        model, twin = twins.pair(case)
        feeds = twins.inputs(case, 3)
        twin(*(torch.from_numpy(array) for array in feeds.values())).square().mean().backward()
        found = twins.gradients(twin)
        assert {name: gradient.shape for name, gradient in found.items()} == parameters(model)


def test_the_six_networks_have_the_forms_that_were_agreed() -> None:
    assert list(twins.TWINS) == ["ds-cnn", "mobilenet", "resnet8", "gru", "encoder", "two-tower"]
    fronts = {name: dataclasses.asdict(case.config).get("input") for name, case in twins.TWINS.items()}
    assert fronts["ds-cnn"] == dataclasses.asdict(ImageInput(49, 10))
    assert fronts["mobilenet"] == dataclasses.asdict(ImageInput(96, 96, 3))
    assert fronts["resnet8"] == dataclasses.asdict(ImageInput(32, 32, 3))

"""Conversions are the same in training and in evaluation, and a preprocessing graph is one of them."""

import numpy as np
import pytest

from edgewise.errors import DataError, ModelError
from edgewise.training.augment.sensor import Scale
from edgewise.training.augment.step import Step, apply_steps, without_chance
from edgewise.training.augment.time import Crop
from edgewise.training.data.chance import chance
from edgewise.training.data.conversion import ChannelsFirst, FrontGraph, ToFloat, WithAxis


@pytest.fixture
def front() -> FrontGraph:
    pytest.importorskip("onnx")
    from edgewise.graph.sensor import sensor_pipeline

    return FrontGraph(sensor_pipeline(time=8, channels=3, dtype="int16", scale=0.001, detrend=True).SerializeToString())


def test_a_graph_between_two_augmentations(front: FrontGraph) -> None:
    x = np.random.default_rng(0).integers(-3000, 3000, (5, 10, 3)).astype(np.int16)
    steps: tuple[Step, ...] = (Crop(8), front, Scale(0.5))
    out, _ = apply_steps(steps, x, None, chance(0))
    assert (out.shape, str(out.dtype)) == ((5, 8, 3), "float32")
    assert np.allclose(out.mean(axis=1), 0, atol=1e-5)
    still, _ = apply_steps(without_chance(steps), x, None, chance(0))
    middle = x[:, 1:9].astype(np.float32) * 0.001
    assert np.allclose(still, middle - middle.mean(axis=1, keepdims=True), atol=1e-5)


def test_what_a_graph_does_not_take_is_said_in_words(front: FrontGraph) -> None:
    with pytest.raises(DataError, match=r"does not take float32 \(2, 8, 3\)"):
        front(np.zeros((2, 8, 3), np.float32), chance(0))
    with pytest.raises(ModelError, match="cannot open"):
        FrontGraph(b"nothing")


def test_shapes_and_scales() -> None:
    x = np.full((2, 4, 5, 3), 51, np.uint8)
    assert ChannelsFirst()(x, chance(0)).shape == (2, 3, 4, 5)
    assert WithAxis(1)(x, chance(0)).shape == (2, 1, 4, 5, 3)
    out = ToFloat(1 / 255, (0.1, 0.2, 0.0), (0.1, 1.0, 2.0))(x, chance(0))
    assert str(out.dtype) == "float32"
    assert np.allclose(out[0, 0, 0], [1, 0, 0.1], atol=1e-6)

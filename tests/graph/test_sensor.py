"""Sensor fragments compute what NumPy computes, window by window."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from edgewise.errors import InputError
from edgewise.graph.sensor import sensor_pipeline


def run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"window": x})[0]


def windows(batch: int = 4, time: int = 26, channels: int = 3, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.standard_normal((batch, time, channels)) * [1, 5, 0.2][:channels] + [0, 1, 9.81][:channels]).astype(
        np.float32
    )


def test_given_mean_and_std() -> None:
    x, mean, std = windows(), [0.1, 1.0, 9.0], [1.0, 4.0, 0.5]
    got = run(sensor_pipeline(time=26, channels=3, mean=mean, std=std), x)
    np.testing.assert_allclose(got, (x - np.float32(mean)) / np.float32(std), atol=1e-5)


def test_per_window() -> None:
    x = windows()
    expected = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(run(sensor_pipeline(time="time", channels=3, per_window=True), x), expected, atol=1e-4)


def test_a_constant_window_becomes_zeros_and_not_nan() -> None:
    got = run(sensor_pipeline(time=8, channels=3, per_window=True), np.full((1, 8, 3), 0.5, np.float32))
    np.testing.assert_array_equal(got, 0)


def test_magnitude_is_appended_or_alone_and_detrended_like_the_rest() -> None:
    x = windows()
    length = np.linalg.norm(x, axis=2, keepdims=True)
    np.testing.assert_allclose(run(sensor_pipeline(time=26, channels=3, magnitude="only"), x), length, rtol=1e-5)
    both = np.concatenate([x, length], 2)
    got = run(sensor_pipeline(time=26, channels=3, magnitude="append", detrend=True), x)
    np.testing.assert_allclose(got, both - both.mean(1, keepdims=True), atol=1e-5)


def test_integers_are_scaled_to_units_first() -> None:
    """Counts of 1/1000 g: the magnitude of a device at rest is 1."""
    counts = np.zeros((1, 4, 4), np.int16)
    counts[..., 1:] = [0, 600, -800]
    fragment = sensor_pipeline(
        time=4, channels=4, dtype="int16", scale=1e-3, magnitude="only", magnitude_of=(1, 2, 3), layout="bct"
    )
    got = run(fragment, counts)
    assert got.shape == (1, 1, 4)
    np.testing.assert_allclose(got, 1, rtol=1e-6)


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_detrend_of_a_shifted_window_is_detrend_of_the_window(seed: int) -> None:
    fragment, x = sensor_pipeline(time=26, channels=3, detrend=True), windows(seed=seed)
    np.testing.assert_allclose(run(fragment, x + np.float32(7)), run(fragment, x), atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"magnitude": "only", "magnitude_of": (0, 3)},
        {"mean": [1.0, 2.0]},
        {"mean": [1.0, 2.0, 3.0], "magnitude": "append"},
        {"std": [0.0]},
        {"per_window": True, "mean": [1.0]},
    ],
)
def test_contradictions_are_refused_when_built(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        sensor_pipeline(time=8, channels=3, **options)

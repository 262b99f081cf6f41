"""Networks take data as data sets hold it, and see it as their configs say."""

import numpy as np
import onnxruntime as ort
import pytest

from edgewise.errors import InputError
from edgewise.networks.builder import Builder
from edgewise.networks.inputs import ImageInput, SequenceInput, TokenInput

RANDOM = np.random.default_rng(0)


def seen(front: ImageInput | SequenceInput, x: np.ndarray) -> np.ndarray:
    net = Builder("front", 0)
    value = front.write(net)
    model = net.finish({"y": net.node("end", "Identity", value, shape=net.shape(value))})
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_images_of_bytes_come_out_as_normalised_planes() -> None:
    x = RANDOM.integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    got = seen(ImageInput(4, 5, 3, "uint8", "nhwc", 1 / 255, mean, std), x)
    np.testing.assert_allclose(got, ((x / 255 - mean) / std).transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def test_images_without_a_channel_axis_get_one() -> None:
    x = RANDOM.standard_normal((2, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(seen(ImageInput(4, 5, layout="nhw"), x), x[:, None])


@pytest.mark.parametrize("layout", ["ntc", "nct", "nt"])
def test_sequences_come_out_with_time_before_channels(layout: str) -> None:
    x = RANDOM.integers(-2000, 2000, (2, 7, 1 if layout == "nt" else 3)).astype(np.int16)
    given = {"ntc": x, "nct": x.transpose(0, 2, 1), "nt": x[..., 0]}[layout]
    front = SequenceInput(7, x.shape[2], "int16", layout, 1e-3, (0.1,), (0.5,))
    np.testing.assert_allclose(seen(front, np.ascontiguousarray(given)), (x / 1000 - 0.1) / 0.5, rtol=1e-5, atol=1e-5)


def test_derived_channels_stand_behind_the_given_ones() -> None:
    x = RANDOM.standard_normal((2, 7, 3)).astype(np.float32)
    got = seen(SequenceInput(7, 3, derived=("centred", "magnitude"), rest=1.0), x)
    length = np.linalg.norm(x, axis=2, keepdims=True) - 1
    np.testing.assert_allclose(got, np.concatenate([x, x - x.mean(1, keepdims=True), length], 2), rtol=1e-4, atol=1e-5)


def test_standardised_samples_each_have_mean_zero_and_deviation_one() -> None:
    x = (RANDOM.standard_normal((3, 6, 8)) * [[[1]], [[50]], [[0]]] + 4).astype(np.float32)
    got = seen(ImageInput(6, 8, layout="nhw", standardised=True), x)
    np.testing.assert_allclose(got.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(got.std((1, 2, 3)), [1, 1, 0], atol=2e-3)


def test_faults_are_named_together() -> None:
    with pytest.raises(
        InputError, match=r"layout is nchw, nhwc, nhw, not 'hw'; dtype is .*; 2 numbers for mean"
    ) as caught:
        ImageInput(4, 4, 3, "float64", "hw", mean=(0.0, 1.0))
    assert len(caught.value.details["problems"]) == 3
    for std in ((0.0,), (float("nan"),)):
        with pytest.raises(InputError, match="std"):
            SequenceInput(4, 3, std=std)
    with pytest.raises(InputError, match="vocabulary"):
        TokenInput(1, 4)

"""The public models: the MLPerf Tiny keyword model on its official samples, and its person detector (MobileNet) on pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from PIL import Image
from tests.compress.quantize.small import decibels, fused, run

from edgewise.compress.graph.compact import compacted
from edgewise.compress.passes import Pass
from edgewise.compress.quantize.bias_correction import corrected
from edgewise.compress.quantize.half import Half
from edgewise.compress.quantize.mixed import Mixed
from edgewise.compress.quantize.ranges import Method
from edgewise.compress.quantize.static import Static
from edgewise.compress.samples import Samples
from edgewise.measure.dataset import Dataset, load_npz
from edgewise.measure.intervals import mcnemar_exact

Keywords = tuple[ModelProto, Samples, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def keywords(shared_data: Path) -> Keywords:
    """The model, 200 samples to calibrate on, and the other 800 with their classes and with the answers in floats."""
    arrays = load_npz(shared_data / "model_kws_dscnn" / "kws01_accuracy_set_1000.npz")
    x = ((arrays["x_int8"].astype(np.float32) - arrays["zero_point"]) * arrays["scale"]).astype(np.float32)
    y = arrays["y"].astype(np.int64)
    model = onnx.load(str(shared_data / "model_kws_dscnn" / "kws_ds_cnn_fp32.onnx"))
    data = Dataset(x[:200], y[:200])
    samples = Samples(data, "classification", model.graph.input[0].name, model.graph.output[0].name)
    return model, samples, x[200:], y[200:], run(model, {samples.input: x[200:]})


def scored(keywords: Keywords, made: Pass) -> tuple[float, float, float, int, ModelProto]:
    """Accuracy on the 800, p-value of a difference to floats, agreement with them, bytes when compacted; the model."""
    model, samples, x, y, wanted = keywords
    small = compacted(made.apply(model, samples))
    given = run(small, {samples.input: x})
    right = [each.argmax(1) == y for each in (wanted, given)]
    agreement = float(np.mean(wanted.argmax(1) == given.argmax(1)))
    return float(right[1].mean()), mcnemar_exact(*right), agreement, small.ByteSize(), small


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "entropy", "mse"])
def test_the_keyword_model_is_as_accurate_in_integers_in_a_third_of_the_bytes(
    keywords: Keywords, ranges: Method
) -> None:
    accuracy, p_value, agreement, size, small = scored(keywords, Static(ranges=ranges))
    assert p_value > 0.05
    assert accuracy >= 0.905  # 0.910 to 0.914 seen; 0.9125 in floats
    assert agreement >= 0.98
    assert size <= 33_000  # 100,343 in floats; 69,754 from onnxruntime's quantizer
    assert fused(small)["QLinearConv"] == 9


def test_float_biases_save_bytes_and_change_nothing(keywords: Keywords) -> None:
    plain, other = scored(keywords, Static()), scored(keywords, Static(bias="float32"))
    assert other[:3] == plain[:3]
    assert other[3] <= plain[3] - 2000
    assert fused(other[4]) == fused(plain[4])


def test_leaving_the_worst_layers_in_float_brings_answers_nearer(keywords: Keywords) -> None:
    _, _, agreement, size, _ = scored(keywords, Mixed(share=0.3))
    assert agreement >= scored(keywords, Static())[2]
    assert size <= 55_000


@pytest.fixture(scope="module")
def persons(shared_data: Path) -> tuple[ModelProto, Samples, np.ndarray, np.ndarray]:
    """The model, 90 crops of the pictures to calibrate on, the nine whole pictures and 150 other crops."""
    folder = shared_data / "model_vision_mobilenet"
    model = onnx.load(str(folder / "vww_96_fp32.onnx"))
    pictures = [Image.open(path).convert("RGB") for path in sorted((folder / "images").iterdir())]
    chance = np.random.default_rng(0)

    def small(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.resize((96, 96), Image.Resampling.BILINEAR), np.float32) / 255

    def crop(at: int) -> np.ndarray:
        picture = pictures[at % len(pictures)]
        side = int(min(picture.size) * chance.uniform(0.4, 1))
        left, top = (int(chance.integers(0, length - side + 1)) for length in picture.size)
        return small(picture.crop((left, top, left + side, top + side)))

    x = np.stack([crop(at) for at in range(90)])
    samples = Samples(
        Dataset(x, np.zeros(90, np.int64)), "classification", model.graph.input[0].name, model.graph.output[0].name
    )
    return model, samples, np.stack([small(each) for each in pictures]), np.stack([crop(at) for at in range(150)])


SMALLEST = Static(count=90, weights="tensor", bias="float32", equalize=True)


@pytest.mark.parametrize(
    ("made", "most", "nearest"),
    [
        (lambda model, samples: Half().apply(SMALLEST.apply(model, samples), samples), 1 / 3.8, 29),
        (lambda model, samples: Static(count=90).apply(model, samples), 1 / 3.4, 27),
    ],
    ids=["one scale for a tensor, equalised, biases as halves", "a scale for each channel"],
)
def test_the_person_detector_answers_as_in_floats(
    persons: tuple[ModelProto, Samples, np.ndarray, np.ndarray],
    made: Callable[[ModelProto, Samples], ModelProto],
    most: float,
    nearest: float,
) -> None:
    model, samples, pictures, crops = persons
    small = compacted(made(model, samples))
    assert small.ByteSize() <= most * 857_066
    assert fused(small)["QLinearConv"] == 27
    for x, agreement in ((pictures, 1.0), (crops, 0.97)):
        wanted, given = (run(each, {samples.input: x}) for each in (model, small))
        assert np.mean(wanted.argmax(1) == given.argmax(1)) >= agreement
        assert decibels(wanted, given) > nearest


def test_equalisation_and_correction_save_one_scale_for_a_tensor(
    persons: tuple[ModelProto, Samples, np.ndarray, np.ndarray],
) -> None:
    model, samples, _, crops = persons
    fed = {samples.input: crops}
    wanted = run(model, fed)
    plain = Static(count=90, weights="tensor").apply(model, samples)
    better = [
        Static(count=90, weights="tensor", equalize=True).apply(model, samples),
        corrected(plain, model, lambda: samples.feeds(32)),
    ]
    assert all(
        decibels(wanted, run(each, fed)) > decibels(wanted, run(plain, fed)) + 4 for each in better
    )  # 8 and 6 seen

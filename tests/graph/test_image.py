"""Image fragments give what Pillow and torchvision's rules give, for every batch and size, in standard operators only."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto
from PIL import Image, ImageOps

from edgewise.errors import InputError
from edgewise.graph.image import (
    bright_ink,
    centre_crop,
    from_pixels,
    greyscale,
    image_pipeline,
    normalize,
    resize,
    resize_shorter,
    swap_channels,
    to_size,
)

FILTERS = {"linear": Image.Resampling.BILINEAR, "cubic": Image.Resampling.BICUBIC}
SIZES = [(37, 53), (8, 8), (100, 31), (240, 320)]


def run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: x})[0]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """(height, width, 3): a photograph has no single-pixel noise."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 7 + y / 11), np.cos(x / 13 - y / 5), np.sin((x + y) / 9)]
    return np.uint8(127.5 + 120 * np.stack(waves, -1))


@pytest.mark.parametrize("size", [(24, 24), (96, 64), (8, 8)])
@pytest.mark.parametrize("original", SIZES)
def test_linear_resize_is_pillows(original: tuple[int, int], size: tuple[int, int]) -> None:
    """Within 1.5/255 of Image.resize(BILINEAR), on noise."""
    image = noise(*original, 3)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], FILTERS["linear"])) / 255
    got = run(image_pipeline(size=size, layout="nhwc"), image[None])[0]
    assert np.max(np.abs(got - expected)) <= 1.5 / 255


@pytest.mark.parametrize("size", [(24, 24), (96, 64), (8, 8)])
@pytest.mark.parametrize("original", SIZES)
def test_cubic_resize_is_pillows(original: tuple[int, int], size: tuple[int, int]) -> None:
    """Within 2/255 of Image.resize(BICUBIC) on a smooth image (on noise the order of the passes shows)."""
    image = smooth(*original)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], FILTERS["cubic"])) / 255
    got = run(image_pipeline(size=size, method="cubic", layout="nhwc"), image[None])[0]
    assert np.max(np.abs(got - expected)) <= 2.01 / 255


@pytest.mark.parametrize("original", SIZES)
def test_shorter_side_and_centre_crop_are_torchvisions(original: tuple[int, int]) -> None:
    """Resize(20), CenterCrop((18, 17)), ToTensor, Normalize: sizes by its integer arithmetic, pixels by Pillow."""
    image, (height, width) = noise(*original, 3), original
    side = min(height, width)
    new = (int(20 * height / side), int(20 * width / side))
    resized = np.asarray(Image.fromarray(image).resize(new[::-1], FILTERS["linear"]))
    top, left = round((new[0] - 18) / 2.0), round((new[1] - 17) / 2.0)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (resized[top : top + 18, left : left + 17] / 255 - mean) / std
    model = image_pipeline(shorter=20, crop=(18, 17), mean=list(mean), std=list(std))
    got = run(model, image[None])[0].transpose(1, 2, 0)
    assert np.max(np.abs(got - expected) * std) <= 1.5 / 255


@pytest.mark.parametrize("original", SIZES)
def test_contain_keeps_the_aspect_and_pads_with_black(original: tuple[int, int]) -> None:
    image = noise(*original, 3)
    inside = ImageOps.contain(Image.fromarray(image), (40, 30), FILTERS["linear"])
    top, left = (30 - inside.height) // 2, (40 - inside.width) // 2
    expected = np.zeros((30, 40, 3), np.uint8)
    expected[top : top + inside.height, left : left + inside.width] = np.asarray(inside)
    got = run(image_pipeline(size=(30, 40), fit="contain", scale=1.0, layout="nhwc"), image[None])[0]
    assert np.max(np.abs(got - expected)) <= 1.5


@pytest.mark.parametrize("original", SIZES)
def test_cover_keeps_the_aspect_and_crops_the_middle(original: tuple[int, int]) -> None:
    image, (height, width) = noise(*original, 3), original
    new = (max(30, (40 * height + width // 2) // width), max(40, (30 * width + height // 2) // height))
    resized = np.asarray(Image.fromarray(image).resize(new[::-1], FILTERS["linear"]))
    top, left = round((new[0] - 30) / 2.0), round((new[1] - 40) / 2.0)
    got = run(image_pipeline(size=(30, 40), fit="cover", scale=1.0, layout="nhwc"), image[None])[0]
    assert np.max(np.abs(got - resized[top : top + 30, left : left + 40])) <= 1.5


def test_a_crop_larger_than_the_image_pads_with_black() -> None:
    image = noise(1, 6, 8, 3)
    got = run(image_pipeline(crop=(9, 8), scale=1.0, layout="nhwc"), image)[0]
    np.testing.assert_array_equal(got, np.pad(image[0], ((1, 2), (0, 0), (0, 0))))


def test_grey_is_pillows_mode_l() -> None:
    image = noise(16, 16, 3)
    got = run(image_pipeline(grey=True, scale=1.0), image[None])[0, 0]
    assert np.max(np.abs(got - np.asarray(Image.fromarray(image).convert("L")))) <= 1


def test_bright_ink_inverts_each_light_image_and_leaves_the_dark_ones() -> None:
    dark, light = np.full((8, 8, 1), 20, np.uint8), np.full((8, 8, 1), 240, np.uint8)
    dark[2:4], light[2:4] = 250, 10
    got = run(image_pipeline(channels=1, bright_ink=True, scale=1.0, layout="nhwc"), np.stack([dark, light]))
    np.testing.assert_array_equal(got, np.stack([dark, 255 - light]))


def test_bright_ink_looks_at_the_image_not_at_what_is_padded_to_it() -> None:
    light = np.full((1, 4, 40, 1), 240, np.uint8)
    got = run(image_pipeline(channels=1, bright_ink=True, size=(16, 16), fit="contain", scale=1.0), light)
    assert got.max() == 15


def test_any_batch_and_size_goes_through_one_fragment() -> None:
    session = ort.InferenceSession(
        image_pipeline(size=(10, 12)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for shape in [(1, 5, 7, 3), (4, 30, 20, 3), (0, 8, 8, 3)]:
        assert session.run(None, {"image": noise(*shape)})[0].shape == (shape[0], 3, 10, 12)


@pytest.mark.parametrize("original", [*SIZES, (1, 1), (12, 20), (3, 90)])
def test_pictures_of_any_size_come_out_as_pictures_of_one(original: tuple[int, int]) -> None:
    image = noise(1, *original, 3)
    sized = run(to_size((12, 20)), image)
    assert (sized.shape, sized.dtype) == ((1, 12, 20, 3), np.uint8)
    planes = run(resize((12, 20), fit="cover"), image.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(sized, planes.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(run(to_size((12, 20)), sized), sized)  # what has the size stays as it is


def test_the_output_states_its_size() -> None:
    dims = image_pipeline(size=(10, 12), grey=True).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value or dim.dim_param for dim in dims] == ["batch", 1, 10, 12]


def test_the_steps_in_a_row_are_the_pipeline() -> None:
    image = noise(2, 37, 53, 3)
    value = image
    for step in (
        from_pixels(), swap_channels(), bright_ink(3), resize((24, 20)), resize_shorter(18), centre_crop((16, 16)),
        normalize(mean=[0.5], std=[0.25]),
    ):  # fmt: skip
        value = run(step, value)
    front = run(image_pipeline(swap=True, bright_ink=True, size=(24, 20), scale=1.0), image)
    back = run(
        image_pipeline(shorter=18, crop=(16, 16), mean=[0.5], std=[0.25]), front.transpose(0, 2, 3, 1).astype(np.uint8)
    )
    np.testing.assert_allclose(value, back, atol=1e-6)
    assert run(greyscale(), run(from_pixels(), image)).shape == (2, 1, 37, 53)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_only_standard_operators_at_opset_18(method: Any) -> None:
    model = image_pipeline(size=(9, 9), fit="contain", method=method, crop=(8, 8), swap=True, bright_ink=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 2},
        {"channels": 1, "grey": True},
        {"grey": True, "swap": True},
        {"size": (8, 8), "shorter": 8},
        {"size": (0, 8)},
        {"crop": (8, -1)},
        {"size": (8, 8), "fit": "squash"},
        {"size": (8, 8), "method": "area"},
        {"mean": [0.5, 0.5]},
        {"std": [0.0]},
        {"scale": 0.0},
        {"mean": [float("nan")]},
        {"input_name": "same", "output_name": "same"},
    ],
)
def test_contradictions_are_refused_when_built(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        image_pipeline(**options)

"""What somebody else's model can read of a sample."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import InputError
from edgewise.routing.upstreams.readable import MOST_CHARACTERS, pictures_of, texts_of, to_png
from edgewise.runtime.engine import Array

WORDS = np.array(["one", "two"], object)
NUMBERS = np.zeros((2, 4), np.float32)
UNSIGNED = TensorSpec("photo", "uint8", ("batch", "h", "w", 3), (0, 255), "image")
SCALED = TensorSpec("photo", "float32", ("batch", "h", "w", 1), (-1, 1), "image")


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_picture_that_is_written_is_read_back_by_another_library(
    height: int, width: int, channels: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)
    with Image.open(io.BytesIO(to_png(image))) as found:
        found.load()
        assert found.format == "PNG"
        assert found.mode == ("L", "LA", "RGB", "RGBA")[channels - 1]
        assert np.array_equal(np.asarray(found).reshape(image.shape), image)


def test_pixels_are_scaled_from_the_range_of_the_interface() -> None:
    photo = np.array([[[[-1.0], [0.0], [1.0], [3.0]]]], np.float32)
    (png,) = pictures_of({"photo": photo}, [SCALED]) or []
    assert np.asarray(Image.open(io.BytesIO(png))).tolist() == [[0, 128, 255, 255]]


def test_bytes_of_another_range_are_scaled_too() -> None:
    spec = TensorSpec("photo", "uint8", (1, 1, 3, 1), (0, 16), "image")
    (png,) = pictures_of({"photo": np.array([[[[0], [8], [16]]]], np.uint8)}, [spec]) or []
    assert np.asarray(Image.open(io.BytesIO(png))).tolist() == [[0, 128, 255]]


def test_only_an_input_of_content_image_or_of_bytes_in_its_form_is_a_picture() -> None:
    photo = np.zeros((1, 2, 2, 3), np.uint8)
    assert pictures_of({"photo": photo}, []) is None
    for other in (
        TensorSpec("photo", "float32", (1, 2, 2, 3), (0, 1)), TensorSpec("photo", "uint8", (1, 2, 2, 4)),
        TensorSpec("photo", "uint8", (1, 2, 3)), TensorSpec("photo", "uint8", (1, 2, 2, 3), None, "sensor"),
    ):  # fmt: skip
        assert pictures_of({"photo": photo}, [other]) is None
    assert pictures_of({"other": photo}, [UNSIGNED]) is None
    for one in (UNSIGNED, TensorSpec("photo", "uint8", ("batch", "height", "width", 3))):
        assert len(pictures_of({"photo": photo}, [one]) or []) == 1


@pytest.mark.parametrize(
    ("photo", "spec", "said"),
    [
        (np.zeros((1, 2, 3), np.uint8), UNSIGNED, "is no picture"),
        (np.zeros((1, 2, 2, 5), np.uint8), UNSIGNED, "is no picture"),
        (np.zeros((1, 0, 2, 3), np.uint8), UNSIGNED, "is no picture"),
        (np.zeros((1, 4097, 4096, 1), np.uint8), UNSIGNED, "is no picture"),
        (
            np.zeros((1, 2, 2, 1), np.float32),
            TensorSpec("photo", "float32", (1, 2, 2, 1), None, "image"),
            "without a range",
        ),
        (
            np.zeros((1, 2, 2, 1), np.float32),
            TensorSpec("photo", "float32", (1, 2, 2, 1), (1, 1), "image"),
            "without a range",
        ),
        (np.full((1, 2, 2, 1), np.nan, np.float32), SCALED, "finite"),
        (np.full((1, 2, 2, 1), np.inf, np.float32), SCALED, "finite"),
    ],
)
def test_what_cannot_be_written_as_a_picture_is_refused(photo: Array, spec: TensorSpec, said: str) -> None:
    with pytest.raises(InputError, match=said):
        pictures_of({"photo": photo}, [spec])


def test_two_pictures_are_one_too_many() -> None:
    specs = [UNSIGNED, TensorSpec("mask", "uint8", (1, 2, 2, 1), None, "image")]
    with pytest.raises(InputError, match="photo, mask are all pictures"):
        pictures_of({"photo": np.zeros((1, 2, 2, 3), np.uint8), "mask": np.zeros((1, 2, 2, 1), np.uint8)}, specs)


@pytest.mark.parametrize("words", [WORDS, WORDS.astype(str), WORDS.reshape(2, 1)])
def test_the_only_input_of_texts_is_the_text(words: Array) -> None:
    texts = texts_of({"numbers": NUMBERS, "words": words}, None)
    assert texts == ["one", "two"]
    assert {type(text) for text in texts or ()} == {str}


def test_where_there_are_no_texts_whoever_asks_says_how_they_come_back() -> None:
    assert texts_of({"numbers": NUMBERS}, None) is None
    assert texts_of({"mixed": np.array([1, "a"], object)}, None) is None
    assert texts_of({"words": WORDS}, lambda inputs: [text.upper() for text in inputs["words"]]) == ["ONE", "TWO"]


def test_a_text_is_there_for_each_sample_bounded_and_whole() -> None:
    for given_ in (["a"], ["a", "b", "c"], ["a", 1], ("a", "b"), np.array(["a", "b"])):
        with pytest.raises(InputError, match="a list of 2 texts for 2 samples"):
            texts_of({"numbers": NUMBERS}, lambda inputs, given_=given_: given_)  # type: ignore[misc]
    assert texts_of({"w": np.array(["x" * MOST_CHARACTERS])}, None) == ["x" * MOST_CHARACTERS]
    with pytest.raises(InputError, match="a text of 16385 characters"):
        texts_of({"w": np.array(["x" * (MOST_CHARACTERS + 1)])}, None)
    with pytest.raises(InputError, match="surrogate"):
        texts_of({"w": np.array(["a\udc80"], object)}, None)


def test_several_texts_are_a_question_of_the_users_own() -> None:
    with pytest.raises(InputError, match="title, body are all texts") as raised:
        texts_of({"title": WORDS, "body": WORDS}, None)
    assert "text_of" in raised.value.remedy
    with pytest.raises(InputError, match="2 samples have 4 texts"):
        texts_of({"words": np.array([["a", "b"], ["c", "d"]])}, None)

"""The shipped digits: the data is UCI's, the splits share nothing, the models are as right as stated."""

import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.digits import MODELS, SPLITS, load_split, model_bytes
from edgewise.errors import NotFoundError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted((REPOSITORY / "examples" / "digits").glob("*.png"))
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
RIGHT = {"fp32": 496, "int8": 496}  # of the 497 evaluation images, as measured when the models were made
SLACK = 2  # images: kernels differ between processors


def logits(model: str, images: np.ndarray[Any, Any], threads: int = 1) -> np.ndarray[Any, Any]:
    """``images`` (N, 8, 8) of 0..1 through the shipped file."""
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model_bytes(model), options, providers=["CPUExecutionProvider"])
    result: np.ndarray[Any, Any] = session.run(["logits"], {"pixels": images[:, None].astype(np.float32)})[0]
    return result


@pytest.mark.parametrize("model", MODELS)
def test_the_stated_accuracy_is_what_the_shipped_file_reaches(model: str) -> None:
    x, y = load_split("eval")
    right = int((logits(model, x / 16).argmax(1) == y).sum())
    assert abs(right - RIGHT[model]) <= SLACK
    assert right / len(y) >= 0.985


def test_int8_decides_as_fp32_does() -> None:
    x, _ = load_split("eval")
    agreed = (logits("fp32", x / 16).argmax(1) == logits("int8", x / 16).argmax(1)).mean()
    assert agreed >= 0.99


def test_one_image_alone_gets_the_logits_it_gets_in_a_batch() -> None:
    x, _ = load_split("eval")
    np.testing.assert_allclose(logits("fp32", x[3:4] / 16), logits("fp32", x[:8] / 16)[3:4], atol=1e-5)


def test_splits_have_their_sizes_types_and_every_digit() -> None:
    for name, count in zip(SPLITS, (1000, 300, 497), strict=True):
        x, y = load_split(name)
        assert (x.shape, x.dtype, y.shape, y.dtype) == ((count, 8, 8), np.uint8, (count,), np.int64)
        assert x.max() == 16
        assert np.abs(np.bincount(y, minlength=10) / count - 0.1).max() < 0.01


def test_splits_are_disjoint_and_together_are_what_scikit_learn_has() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    theirs_x, theirs_y = datasets.load_digits(return_X_y=True)
    theirs = sorted((row.astype(np.uint8).tobytes(), int(digit)) for row, digit in zip(theirs_x, theirs_y, strict=True))
    splits = [
        [(image.tobytes(), int(digit)) for image, digit in zip(*load_split(name), strict=True)] for name in SPLITS
    ]
    assert len({image for image, _ in theirs}) == len(theirs), "no image occurs twice, so disjoint means something"
    assert sorted(pair for split in splits for pair in split) == theirs


def test_origin_states_the_digest_size_source_and_licence_of_every_file() -> None:
    folder = files("edgewise.digits")
    origin = folder.joinpath("ORIGIN.txt").read_text()
    stated = re.findall(r"^ +([0-9a-f]{64}) +(\d+) +(\S+)$", origin, re.MULTILINE)
    assert {name for _, _, name in stated} == {"digits.npz", "digits-fp32.onnx", "digits-int8.onnx"}
    for sha, size, name in stated:
        data = folder.joinpath(name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (sha, int(size)), name
    assert "CC BY 4.0" in origin
    assert "Alpaydin" in origin


def test_the_files_stay_small_enough_to_ship() -> None:
    sizes = {name: len(model_bytes(name)) for name in MODELS}
    assert sum(sizes.values()) < 400_000
    assert sizes["int8"] < sizes["fp32"] / 3


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("paper", ["light", "dark"])
def test_the_sample_images_are_recognised_on_light_and_on_dark_paper(path: Path, model: str, paper: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    with pillow.open(path) as opened:
        assert (opened.size, opened.mode) == ((120, 120), "L")
        image = np.asarray(opened)
    assert image.mean() > 128, "dark ink on white paper"
    image = image if paper == "light" else 255 - image
    ink = 255 - image if image.mean() > 127.5 else image
    small = np.asarray(pillow.fromarray(ink).resize((8, 8), pillow.Resampling.BILINEAR))
    assert WORDS[int(logits(model, small[None] / 255).argmax())] == path.stem


def test_there_are_sample_images() -> None:
    assert len(EXAMPLES) == 5


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFoundError) as no_split:
        load_split("test")
    assert "train, calibration, eval" in no_split.value.remedy
    with pytest.raises(NotFoundError) as no_model:
        model_bytes("int4")
    assert "fp32, int8" in no_model.value.remedy

"""Labels of pixels and boxes that cannot be learnt from are named by row, before anything runs."""

import numpy as np
import pytest

from edgewise.measure.dataset import Dataset
from edgewise.training.data.annotations import box_problems, pixel_problems

pytestmark = pytest.mark.bare
PICTURES = np.zeros((3, 4, 6, 1), np.uint8)
GOOD = np.array([[[0, 0, 2, 2, 0], [1, 1, 6, 4, 1]]] * 3, float)


def _pixels(*marks: tuple[tuple[int, int, int], int]) -> Dataset:
    y = np.tile(np.arange(24).reshape(4, 6) % 2, (3, 1, 1))
    for place, value in marks:
        y[place] = value
    return Dataset(PICTURES, y)


def _boxes(*marks: tuple[tuple[int, int, int], float]) -> Dataset:
    y = GOOD.copy()
    for place, value in marks:
        y[place] = value
    return Dataset(PICTURES, y)


def test_good_annotations_pass() -> None:
    assert pixel_problems(_pixels(), _pixels()) == []
    assert box_problems(_boxes(), _boxes(((0, 1, 4), -1))) == []
    assert box_problems(_boxes(((1, 0, slice(None)), -1))) == []  # padding is held to nothing


@pytest.mark.parametrize(
    ("train", "evaluation", "said"),
    [
        (Dataset(PICTURES, np.zeros((3, 4, 4), int)), None, "training data: y labels pictures of 4 x 4, and they are 4 x 6 x 1"),
        (Dataset(PICTURES, np.zeros(3, int)), None, "y is int64 (3,), and whole numbers (N, H, W)"),
        (_pixels(((1, 0, 0), -1)), None, "training data: labels of pixels are below 0 in row 1"),
        (_pixels(((2, 0, 0), 255)), None, "no pixels are of class 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 243 more"),
        (_pixels(), _pixels(((2, 0, 0), 7)), "evaluation data: there are classes that are not in the training data in row 2"),
    ],
)  # fmt: skip
def test_labels_of_pixels_are_named(train: Dataset, evaluation: Dataset | None, said: str) -> None:
    assert said in "; ".join(pixel_problems(train, evaluation))


@pytest.mark.parametrize(
    ("train", "evaluation", "said"),
    [
        (Dataset(PICTURES, GOOD[..., :4]), None, "y is float64 (3, 2, 4), and objects (N, objects, 5)"),
        (_boxes(((1, 0, 2), 40)), None, "boxes go beyond the 6 x 4 pixels of the picture in row 1"),
        (
            Dataset(PICTURES, GOOD / [6, 6, 6, 6, 1]),
            None,
            "boxes are shares of the picture (0..1), and pixels are needed",
        ),
        (_boxes(((2, 1, 0), 6)), None, "boxes have no area (x1 < x2 and y1 < y2 are needed) in row 2"),
        (_boxes(((0, 1, 4), 0.5)), None, "classes of objects are no whole numbers in row 0"),
        (_boxes(((0, 1, 4), 3)), None, "no objects are of class 2, and classes are counted from 0 to 3"),
        (_boxes(((slice(None), slice(None), 4), -1)), None, "there is no object in any of the pictures"),
        (_boxes(), _boxes(((1, 0, 4), 2)), "there are classes that are not in the training data in row 1"),
    ],
)
def test_boxes_are_named(train: Dataset, evaluation: Dataset | None, said: str) -> None:
    assert said in "; ".join(box_problems(train, evaluation))

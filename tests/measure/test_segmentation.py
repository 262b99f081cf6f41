"""Intersection over union of labelled pixels."""

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.measure.segmentation import mean_iou_estimator


def scores(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.moveaxis(np.eye(classes, dtype=np.float32)[labels], -1, 1)


def test_the_mean_over_classes_by_hand() -> None:
    truth = np.array([[[0, 0], [1, 1]], [[1, 1], [1, 1]]])
    said = np.array([[[0, 1], [1, 1]], [[1, 1], [1, 1]]])
    # Class 0: 1 of 2; class 1: 6 of 7; class 2 is neither there nor found.
    metric = mean_iou_estimator(scores(said, 3), truth).metric()
    assert metric.value == pytest.approx((1 / 2 + 6 / 7) / 2)
    assert metric.low <= metric.value <= metric.high


def test_pixels_that_do_not_count_are_left_out() -> None:
    truth = np.array([[[0, -1]], [[1, -1]]])
    assert mean_iou_estimator(scores(np.array([[[0, 1]], [[1, 0]]]), 2), truth).value() == 1


@pytest.mark.parametrize("y", [np.zeros((2, 3), int), np.full((2, 1, 2), 5), np.zeros((2, 1, 2))])
def test_what_does_not_fit_is_refused(y: np.ndarray) -> None:
    with pytest.raises(DataError):
        mean_iou_estimator(np.zeros((2, 2, 1, 2), np.float32), y)

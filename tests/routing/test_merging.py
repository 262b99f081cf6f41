"""What upstream answered takes its place among the device's rows, in the device's own form."""

import numpy as np
import pytest

from edgewise.errors import PeerError
from edgewise.routing.merging import fill

ROWS = np.array([1, 3])


def test_rows_take_their_places_and_the_others_stay() -> None:
    ours = np.arange(12, dtype=np.float32).reshape(4, 3)
    theirs = np.full((2, 3), -1.0, np.float64)
    merged = fill({"y": ours, "extra": ours[:, :1]}, ROWS, {"y": theirs}, "y", "classification")
    assert merged["y"].dtype == np.float32
    assert merged["y"].tolist() == [[0, 1, 2], [-1, -1, -1], [6, 7, 8], [-1, -1, -1]]
    assert np.array_equal(merged["extra"], ours[:, :1])
    assert ours[1, 0] == 3, "what was given is left as it is"


def test_other_outputs_come_along_where_they_fit() -> None:
    ours = {"y": np.zeros((4, 3), np.float32), "z": np.zeros((4, 2), np.float32), "w": np.zeros((4, 2), np.float32)}
    theirs = {
        "y": np.ones((2, 3), np.float32),
        "z": np.ones((2, 2), np.float32),
        "w": np.ones((2, 5)),
        "q": np.ones((2, 1)),
    }
    merged = fill(ours, ROWS, theirs, "y", "classification")
    assert merged["z"].sum() == 4
    assert merged["w"].sum() == 0
    assert "q" not in merged


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (np.zeros((4, 1), np.int64), np.eye(5, dtype=np.float32)[[2, 4]], [0, 2, 0, 4]),
        (np.zeros(4, np.int64), np.eye(5, dtype=np.float32)[[2, 4]], [0, 2, 0, 4]),
        (np.zeros((4, 1), np.float32), np.eye(2, dtype=np.float32)[[1, 0]], [0, 1, 0, 0]),
    ],
)
def test_scores_become_indices_or_one_probability(ours: np.ndarray, theirs: np.ndarray, found: list[int]) -> None:
    merged = fill({"y": ours}, ROWS, {"y": theirs}, "y", "classification")
    assert merged["y"].shape == ours.shape
    assert merged["y"].ravel().tolist() == found


def test_indices_become_scores() -> None:
    merged = fill({"y": np.zeros((4, 3), np.float32)}, ROWS, {"y": np.array([[2], [0]])}, "y", "classification")
    assert merged["y"].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_detections_of_other_lengths_are_padded() -> None:
    ours = np.zeros((4, 1, 6), np.float32)
    theirs = np.ones((2, 3, 6), np.float32)
    merged = fill({"y": ours}, ROWS, {"y": theirs}, "y", "detection")["y"]
    assert merged.shape == (4, 3, 6)
    assert merged[0, :, 5].tolist() == [0, -1, -1]
    assert merged[1, :, 5].tolist() == [1, 1, 1]
    short = fill({"y": np.zeros((4, 3, 6), np.float32)}, ROWS, {"y": np.ones((2, 1, 6))}, "y", "detection")["y"]
    assert short[3, :, 5].tolist() == [1, -1, -1]


def test_texts_take_their_places() -> None:
    merged = fill({"y": np.array(["a"] * 4)}, ROWS, {"y": np.array(["longer", "b"])}, "y", "classification")
    assert merged["y"].tolist() == ["a", "longer", "a", "b"]


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({}, "lacks the output"),
        ({"y": np.zeros((3, 3), np.float32)}, "3 rows to 2"),
        ({"y": np.array([[7], [0]])}, "class 7"),
        ({"y": np.array([[-1], [0]])}, "class"),
        ({"y": np.array([["a"] * 3] * 2)}, "is needed"),
    ],
)
def test_what_does_not_fit_is_refused(theirs: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(PeerError, match=said):
        fill({"y": np.zeros((4, 3), np.float32)}, ROWS, theirs, "y", "classification")


def test_numbers_of_another_shape_are_refused_for_other_tasks() -> None:
    with pytest.raises(PeerError, match="is needed"):
        fill({"y": np.zeros((4, 3), np.float32)}, ROWS, {"y": np.zeros((2, 4), np.float32)}, "y", "regression")

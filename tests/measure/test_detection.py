"""Mean average precision, on cases worked out by hand and against a plain second implementation."""

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.measure.detection import average_precision, mean_average_precision, overlaps

BOX = [0.0, 0.0, 10.0, 10.0]


def test_overlap_of_known_boxes() -> None:
    shared = overlaps(np.array([BOX]), np.array([BOX, [5.0, 0.0, 15.0, 10.0], [20.0, 20.0, 30.0, 30.0]]))
    assert shared[0] == pytest.approx([1.0, 1 / 3, 0.0])


def test_a_perfect_detector_has_one_and_a_blind_one_zero() -> None:
    truth = np.array([[[*BOX, 0]], [[*BOX, 1]]])
    perfect = np.array([[[*BOX, 0.9, 0]], [[*BOX, 0.8, 1]]])
    assert mean_average_precision(perfect, truth).value == 1.0
    assert mean_average_precision(np.array([[[*BOX, 0.9, 1]], [[*BOX, 0.8, 0]]]), truth).value == 0.0


def test_a_second_box_on_the_same_object_is_a_false_alarm() -> None:
    truth = np.array([[[*BOX, 0], [50.0, 50.0, 60.0, 60.0, 0]]])
    found = np.array([[[*BOX, 0.9, 0], [0.0, 0.0, 10.0, 9.0, 0.8, 0], [50.0, 50.0, 60.0, 60.0, 0.7, 0]]])
    # Hits in order of score: yes, no, yes. Precision envelope 1 up to recall 1/2, then 2/3.
    assert mean_average_precision(found, truth).value == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_average_precision_against_a_plain_sum() -> None:
    chance = np.random.default_rng(0)
    scores, hits = chance.random(50), chance.random(50) < 0.4
    order = np.argsort(-scores)
    plain, total = 0.0, int(hits.sum()) + 5
    for rank, at in enumerate(order):
        if hits[at]:
            later = [hits[order[: end + 1]].sum() / (end + 1) for end in range(rank, 50)]
            plain += max(later) / total
    assert average_precision(scores, hits, total) == pytest.approx(plain)


def test_padding_counts_for_nothing() -> None:
    truth = np.array([[[*BOX, 0], [0, 0, 0, 0, -1]]])
    found = np.array([[[*BOX, 0.9, 0], [0, 0, 0, 0, 0.99, -1]]])
    assert mean_average_precision(found, truth).value == 1.0


def test_wrong_shapes_and_empty_truth_are_refused() -> None:
    with pytest.raises(DataError, match="are needed"):
        mean_average_precision(np.zeros((1, 2, 5)), np.zeros((1, 2, 5)))
    with pytest.raises(DataError, match="no object"):
        mean_average_precision(np.zeros((1, 2, 6)), np.full((1, 2, 5), -1.0))

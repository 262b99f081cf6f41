"""The figure that a model is judged by counts what it should find, and nothing that it cannot miss."""

import numpy as np
import pytest

from edgewise.training.recipes.judging import judge, known_from_unknown

ITEMS = 20


def hits(rank: int, history: list[int], padding: float = -99.0) -> float:
    """Of one user who chose item 1, whose score has this rank; the others follow each other from the second item on."""
    scores = np.array([[padding, -rank, *(-other for other in range(1, ITEMS + 1) if other != rank)]])
    return judge("recommendation", {"logits": scores}, {"history": np.array([history])}, np.array([1])).value


def test_the_tenth_best_is_found_and_the_eleventh_is_not() -> None:
    assert (hits(1, [0]), hits(10, [0]), hits(11, [0])) == (1, 1, 0)


def test_what_was_chosen_before_and_the_padding_take_no_place() -> None:
    assert hits(11, [2, 0]) == 1, "item 2 stood before it"
    assert hits(10, [ITEMS], padding=99.0) == 1, "a history as long as may be has no padding in it"
    assert hits(1, [1, 0]) == 0, "nobody is told what he has chosen"


def test_errors_are_ranked_where_it_is_known_which_samples_are_odd() -> None:
    score = {"score": np.array([0.1, 0.2, 0.3, 0.9], np.float32)}
    told = judge("anomaly", score, {}, np.array([0, 0, 0, 2]))
    assert (told.name, told.value) == ("auc", 1)
    alike = judge("anomaly", score, {}, np.zeros(4, np.int64))
    assert (alike.name, alike.higher_is_better) == ("mean_error", False)
    assert alike.value == pytest.approx(0.375)
    assert alike.low < alike.value < alike.high


def test_what_is_known_is_told_by_the_largest_probability_not_the_largest_score() -> None:
    sure, unsure = np.array([[0.0, 9.0, 0.0]]), np.array([[50.0, 50.0, 50.0]])
    assert known_from_unknown(np.repeat(sure, 5, 0), np.repeat(unsure, 5, 0)).value == 1

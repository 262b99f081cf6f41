"""What losing means, task by task: known answers."""

import numpy as np
import pytest

from edgewise.errors import DataError, InputError
from edgewise.routing.losses import judge_for


def test_two_classifiers_disagree_where_their_winners_do_whatever_their_form() -> None:
    judge = judge_for("classification", ("ok", "defect"))
    scores = np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]], np.float32)
    probability = np.array([[0.2], [0.4], [0.9]], np.float32)
    assert judge.disagree(scores, probability).tolist() == [False, True, True]
    assert judge.disagree(scores, np.array([0, 1, 1])).tolist() == [False, False, True]
    assert judge.right(scores, np.array([0, 0, 0], np.uint8)).tolist() == [True, False, True]
    assert judge.loss(scores, probability).tolist() == [0.0, 1.0, 1.0]


def test_a_missed_defect_costs_more_than_a_false_alarm() -> None:
    judge = judge_for("classification", ("ok", "defect"), {"defect": 20.0})
    ours, theirs = np.array([0, 1, 1, 0]), np.array([1, 0, 1, 0])
    assert judge.loss(ours, theirs).tolist() == [1.0, 1 / 20, 0.0, 0.0]
    assert judge.unit == 20.0


def test_weights_are_costs_of_labels_that_are_there() -> None:
    with pytest.raises(InputError, match=r"no label crack.*defect=-1"):
        judge_for("classification", ("ok", "defect"), {"crack": 2.0, "defect": -1})
    with pytest.raises(DataError, match="two answers for each sample"):
        judge_for("classification").disagree(np.zeros((3, 2)), np.zeros((2, 2)))

"""What losing means, task by task: known answers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError, InputError
from edgewise.routing.losses import Boxes, Details, Nearest, edit_distance, judge_for
from edgewise.routing.losses.judge import Judge

Array = np.ndarray


def test_two_classifiers_disagree_where_their_winners_do_whatever_their_form() -> None:
    judge = judge_for("classification", ("ok", "defect"))
    scores = np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]], np.float32)
    probability = np.array([[0.2], [0.4], [0.9]], np.float32)
    assert judge.disagree(scores, probability).tolist() == [False, True, True]
    assert judge.disagree(scores, np.array([0, 1, 1])).tolist() == [False, False, True]
    assert judge.disagree(scores, np.array([[0, 1], [1, 0], [1, 0]])).tolist() == [False, False, True]  # the best first
    assert judge.right(scores, np.array([0, 0, 0], np.uint8)).tolist() == [True, False, True]
    assert judge.loss(scores, probability).tolist() == [0.0, 1.0, 1.0]
    assert judge.unit == 1.0


def test_a_missed_defect_costs_more_than_a_false_alarm() -> None:
    judge = judge_for("classification", ("ok", "defect"), {"defect": 20.0})
    ours, theirs = np.array([0, 1, 1, 0]), np.array([1, 0, 1, 0])
    assert judge.loss(ours, theirs).tolist() == [1.0, 1 / 20, 0.0, 0.0]
    assert judge.unit == 20.0
    assert judge_for("classification", (), {"1": 4.0}).loss(ours, theirs).tolist() == [1.0, 1 / 4, 0.0, 0.0]
    # Costs below 1 leave those without a weight the dearest.
    cheap = judge_for("classification", ("ok", "defect"), {"ok": 0.25})
    assert (cheap.unit, cheap.loss(ours, theirs).tolist()) == (1.0, [1.0, 0.25, 0.0, 0.0])


def test_weights_are_costs_of_labels_that_are_there() -> None:
    with pytest.raises(InputError, match=r"no label crack.*defect=-1"):
        judge_for("classification", ("ok", "defect"), {"crack": 2.0, "defect": -1})
    for weight in (math.inf, math.nan):
        with pytest.raises(InputError, match="a weight of ok="):
            judge_for("detection", ("ok",), {"ok": weight})
    for task in ("regression", "sequence", "embedding"):
        with pytest.raises(InputError, match=f"weights are for labels, and a {task} model has none"):
            judge_for(task, (), {"ok": 2.0}, Details(tolerance=1.0, cosine=0.5))


def test_sets_of_labels_disagree_where_they_are_not_equal_and_lose_by_the_label() -> None:
    judge = judge_for("multilabel", ("a", "b", "c", "d"))
    ours = np.array([[0.9, 0.1, 0.5, 0.2], [0.9, 0.1, 0.1, 0.1]])
    theirs = np.array([[1, 0, 1, 0], [0, 1, 0, 0]])
    assert judge.disagree(ours, theirs).tolist() == [False, True]
    assert judge.right(ours, theirs).tolist() == [True, False]
    assert judge.loss(ours, theirs).tolist() == [0.0, 0.5]
    assert judge.loss(ours, theirs * 0.7).tolist() == [0.0, 0.5]
    # b was missed at 3 of 3; a was set in vain, at 1 of 3: a third of a label.
    weighted = judge_for("multilabel", ("a", "b", "c", "d"), {"b": 3.0, "a": 2.0})
    assert weighted.loss(ours, theirs)[1] == pytest.approx((1 + 1 / 3) / 4)
    strict = judge_for("multilabel", details=Details(cut=0.95))
    assert strict.disagree(ours, np.zeros((2, 4))).tolist() == [False, False]


def test_quantized_answers_are_read_as_the_numbers_that_they_stand_for() -> None:
    told = Details(scale=(0.01, -100), cut=0.5)
    floats = np.array([0.4, 0.5])  # that stand for themselves
    assert judge_for("anomaly", details=told).disagree(floats, np.array([0, 1])).tolist() == [False, False]
    assert judge_for("multilabel", details=told).disagree(
        np.array([[-50, -51]], np.int8), np.array([[1, 0]])
    ).tolist() == [False]
    assert judge_for("anomaly", details=told).disagree(
        np.array([[-50], [-51]], np.int8), np.array([1, 0])
    ).tolist() == [False, False]


def box(x: float, label: float, score: float = 0.9) -> list[float]:
    return [x, 0, x + 2, 2, score, label]


def found(*images: list[list[float]]) -> Array:
    longest = max(map(len, images))
    return np.array([[*image, *[box(0, -1)] * (longest - len(image))] for image in images], np.float32).reshape(
        len(images), longest, 6
    )


def test_detectors_disagree_where_an_object_is_in_one_alone() -> None:
    judge = judge_for("detection", ("a", "b"))
    ours = found([box(0, 0)], [box(0, 0)], [box(0, 0)], [], [box(0, 0)], [box(0, 0), box(0.1, 0)])
    theirs = found([box(0.2, 0)], [box(0.2, 1)], [box(1, 0)], [box(0, 0)], [], [box(0, 0)])
    # The same object; another class; too far (a third of an overlap); missed; in vain; twice over.
    assert judge.disagree(ours, theirs).tolist() == [False, True, True, True, True, True]
    assert judge.loss(ours, theirs).tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    assert judge.disagree(found([]), found([])).tolist() == [False]
    assert judge.loss(found([]), found([])).tolist() == [0.0]


def test_the_share_of_objects_that_was_missed_counts_by_weight() -> None:
    judge = judge_for("detection", ("a", "b"), {"b": 4.0}, Details(cut=0.5, theirs_cut=0.8))
    ours = found([box(0, 0), box(9, 1, 0.4)], [box(0, 0)], [box(5, 0)])
    theirs = found([box(0, 0), box(9, 1)], [box(0, 0), box(9, 1, 0.7)], [])
    assert judge.loss(ours, theirs) == pytest.approx([1 / 2, 0.0, 1 / 4])
    truth = np.array(
        [[[0, 0, 2, 2, 0], [9, 0, 11, 2, 1]], [[0, 0, 2, 2, 0], [0, 0, 0, 0, -1]], [[0, 0, 0, 0, -1]] * 2], np.float32
    )
    assert judge.right(ours, truth).tolist() == [False, True, False]


def test_each_box_is_one_object_and_the_surest_comes_first() -> None:
    ours = found([box(0.6, 0, 0.5), box(0, 0, 0.9)])
    theirs = found([box(0, 0), box(0.6, 0)])
    assert Boxes().disagree(ours, theirs).tolist() == [False]
    with pytest.raises(DataError, match="boxes are"):
        Boxes().disagree(ours, theirs[..., :4])


def test_an_anomaly_is_decided_by_the_side_of_the_cut() -> None:
    judge = judge_for("anomaly", ("normal", "anomaly"), {"anomaly": 10.0}, Details(cut=2.0, theirs_cut=5.0))
    ours, theirs = np.array([[2.0], [1.0], [3.0], [np.nan]]), np.array([[5.0], [7.0], [0.0], [0.0]])
    assert judge.disagree(ours, theirs).tolist() == [False, True, True, True]
    assert judge.loss(ours, theirs).tolist() == pytest.approx([0.0, 1.0, 0.1, 0.1])
    assert judge.right(ours, np.array([True, False, False, False])).tolist() == [True, True, False, False]


def test_predictions_disagree_beyond_the_tolerance() -> None:
    judge = judge_for("regression", details=Details(tolerance=1.0, worst=4.0))
    ours, theirs = np.array([1.0, 1.0, 9.0, np.nan]), np.array([[2.0], [3.0], [0.0], [0.0]])
    assert judge.disagree(ours, theirs).tolist() == [False, True, True, True]
    assert judge.right(ours, theirs).tolist() == [True, False, False, False]
    assert judge.loss(ours, theirs).tolist() == [0.25, 0.5, 1.0, 1.0]
    assert judge_for("regression", details=Details(tolerance=2.0)).loss(ours[:2], theirs[:2]).tolist() == [0.5, 1.0]
    several = np.array([[0.0, 5.0]])
    assert judge.disagree(several, np.array([[0.0, 0.0]])).tolist() == [True]
    with pytest.raises(DataError, match="predictions have 2 and 1 values"):
        judge.disagree(several, np.array([[0.0]]))


def test_embeddings_disagree_where_they_point_apart() -> None:
    judge = judge_for("embedding", details=Details(cosine=0.7))
    ours, theirs = np.array([[1.0, 0], [1, 0], [1, 0], [0, 0]]), np.array([[2.0, 0], [1, 1], [-1, 0], [1, 0]])
    assert judge.disagree(ours, theirs).tolist() == [False, False, True, True]
    assert judge.right(ours, theirs).tolist() == [True, True, False, False]
    assert judge.loss(ours, theirs) == pytest.approx([0.0, (1 - math.sqrt(0.5)) / 2, 1.0, 1.0])
    with pytest.raises(DataError, match="not of one space"):
        judge.disagree(ours, np.zeros((4, 3)))


def test_embeddings_with_prototypes_decide_by_the_nearest() -> None:
    told = Details(prototypes=np.array([[1.0, 0], [0, 1], [-1, 0]]), group=(0, 1, 0))
    judge = judge_for("embedding", ("x", "y"), {"y": 5.0}, told)
    ours = np.array([[3.0, 1], [-3, 1], [0, 2]])
    assert judge.right(ours, np.array([0, 0, 0])).tolist() == [True, True, False]
    assert judge.disagree(ours, np.array([[0.0, 1], [1, 0], [0, 1]])).tolist() == [True, False, False]
    assert judge.loss(ours, np.array([1, 1, 0])).tolist() == [1.0, 1.0, 0.2]
    with pytest.raises(DataError, match="embeddings have 3 values, prototypes 2"):
        judge.disagree(np.zeros((1, 3)), np.array([1]))
    with pytest.raises(InputError, match="with a group each"):
        judge_for("embedding", details=Details(prototypes=np.eye(3), group=(1, 2)))
    assert isinstance(judge, Nearest)


def steps(*winners: int) -> Array:
    return np.eye(4)[list(winners)][None]


def test_sequences_lose_by_what_has_to_be_changed() -> None:
    plain, ctc = judge_for("sequence"), judge_for("sequence", details=Details(skip=(0,), ctc=True))
    assert plain.disagree(steps(1, 2, 2), steps(1, 2)).tolist() == [True]
    assert plain.loss(steps(1, 2, 2), steps(1, 2)) == pytest.approx([1 / 3])
    # 1 1 _ 1 2 says 1 1 2.
    assert ctc.right(steps(1, 1, 0, 1, 2), np.array([[1, 1, 2, -1]])).tolist() == [True]
    assert ctc.loss(steps(1, 1, 0, 2, 2), np.array([[1, 1, 2, -1]])) == pytest.approx([1 / 3])
    assert ctc.loss(steps(0, 0), np.array([[-1]])).tolist() == [0.0]
    assert ctc.loss(steps(0, 0), np.array([[3]])).tolist() == [1.0]
    with pytest.raises(DataError, match="scores of sequences"):
        plain.disagree(np.zeros((1, 3)), np.zeros((1, 3)))


def slow_distance(one: list[int], other: list[int]) -> int:
    """Wagner and Fischer's table."""
    row = list(range(len(other) + 1))
    for at, item in enumerate(one):
        last, row = row, [at + 1]
        for place, held in enumerate(other):
            row.append(min(last[place] + (item != held), last[place + 1] + 1, row[place] + 1))
    return row[-1]


WORDS = st.lists(st.integers(0, 3), max_size=70)


@settings(max_examples=200, deadline=None)
@given(one=WORDS, other=WORDS)
def test_the_edit_distance_is_that_of_the_table(one: list[int], other: list[int]) -> None:
    assert edit_distance(one, other) == slow_distance(one, other) == edit_distance(other, one)


@pytest.mark.parametrize(
    ("task", "details", "missing"),
    [
        ("tensor", None, "its outputs could be anything"),
        ("anomaly", None, "the score from which a sample counts as an anomaly"),
        ("regression", None, "the difference that does not matter"),
        ("regression", Details(tolerance=0.0), "the difference that does not matter"),
        ("embedding", None, "the cosine below which two embeddings differ"),
        ("embedding", Details(cosine=math.nan), "the cosine below which two embeddings differ"),
    ],
)
def test_what_a_task_has_to_be_told_is_named(task: str, details: Details | None, missing: str) -> None:
    with pytest.raises(InputError, match=missing):
        judge_for(task, details=details)


def judges() -> dict[str, tuple[Judge, Array, Array]]:
    chance = np.random.default_rng(0)
    values, other = chance.random((30, 4)), chance.random((30, 4))
    boxes = [
        found(*[[box(float(chance.integers(0, 4)), float(chance.integers(0, 2)))] for _ in range(30)]) for _ in range(2)
    ]
    told = Details(cut=0.5, tolerance=0.3, worst=2.0, cosine=0.9)
    sequences = [np.stack([np.eye(4)[chance.integers(0, 4, 5)] for _ in range(30)]) for _ in range(2)]
    labels = ("a", "b", "c", "d")
    return {
        "classification": (judge_for("classification", labels, {"b": 3.0}), values, other),
        "multilabel": (judge_for("multilabel", labels, {"b": 3.0}), values, other),
        "detection": (judge_for("detection", labels, {"b": 3.0}), boxes[0], boxes[1]),
        "anomaly": (judge_for("anomaly", labels, {"b": 3.0}, told), values, other),
        "regression": (judge_for("regression", details=told), values, other),
        "embedding": (judge_for("embedding", details=told), values, other),
        "sequence": (judge_for("sequence"), sequences[0], sequences[1]),
    }


@pytest.mark.parametrize("task", judges())
def test_losses_lie_in_0_to_1_nobody_disagrees_with_himself_and_rows_may_come_in_any_order(task: str) -> None:
    judge, ours, theirs = judges()[task]
    loss, disagree = judge.loss(ours, theirs), judge.disagree(ours, theirs)
    assert loss.shape == disagree.shape == (30,)
    assert disagree.dtype == bool
    assert 0 <= loss.min() < loss.max() <= 1
    assert disagree.any()
    assert not judge.disagree(ours, ours).any()
    np.testing.assert_allclose(judge.loss(ours, ours), 0, atol=1e-12)
    order = np.random.default_rng(1).permutation(30)
    np.testing.assert_allclose(judge.loss(ours[order], theirs[order]), loss[order])
    np.testing.assert_array_equal(judge.disagree(ours[order], theirs[order]), disagree[order])
    if task not in ("regression", "embedding"):  # there the loss is a matter of degree
        np.testing.assert_array_equal(loss > 0, disagree)
    with pytest.raises(DataError, match="two answers for each sample"):
        judge.disagree(ours, theirs[:-1])

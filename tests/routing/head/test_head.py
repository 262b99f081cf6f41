"""What a head computes: features that do not depend on which class won, and a number that keeps telling sure from surer."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgewise.errors import DataError, InputError
from edgewise.routing.head.head import Head, Layer, class_scores, feature_count, features_of, simple_scores
from edgewise.routing.scores import energy, entropy, margin, max_probability

SCORES = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 9)), elements=st.floats(-20, 20))


@given(SCORES)
def test_the_rules_without_a_head_can_be_read_off_the_features(scores: np.ndarray) -> None:
    # The log odds of the winner are against the next four alone: up to five classes this is the largest probability.
    found = simple_scores(features_of(scores), scores.shape[1])
    if scores.shape[1] <= 5:
        np.testing.assert_allclose(1 / (1 + np.exp(-found["max-probability"])), max_probability(scores), atol=1e-9)
    for name, rule in (("margin", margin), ("entropy", entropy), ("energy", energy)):
        np.testing.assert_allclose(found[name], rule(scores), atol=1e-9)


@given(SCORES, st.randoms(use_true_random=False))
def test_features_do_not_change_with_the_order_of_classes(scores: np.ndarray, chance: object) -> None:
    order = list(range(scores.shape[1]))
    chance.shuffle(order)  # type: ignore[attr-defined]
    np.testing.assert_allclose(features_of(scores[:, order]), features_of(scores), atol=1e-9)


@given(SCORES, st.floats(-50, 50))
def test_only_the_largest_score_moves_with_a_constant_that_is_added_to_all(scores: np.ndarray, shift: float) -> None:
    moved = features_of(scores + shift) - features_of(scores)
    np.testing.assert_allclose(moved[:, 0], shift, atol=1e-9)
    np.testing.assert_allclose(moved[:, 1:], 0, atol=1e-6)


def test_one_score_is_two_classes_before_and_after_the_sigmoid() -> None:
    odds = np.array([[-3.0], [0.5], [8.0]])
    chances = 1 / (1 + np.exp(-odds))
    before, after = (
        features_of(class_scores(values, form)) for values, form in ((odds, "logit"), (chances, "probability"))
    )  # type: ignore[arg-type]
    np.testing.assert_allclose(before[:, 1:5], after[:, 1:5], atol=1e-6)
    assert before[1, 2] == pytest.approx(chances[1, 0])
    assert class_scores(chances[:, 0], "probability").shape == (3, 2)


def test_probabilities_stand_for_their_logarithms_down_to_what_float32_resolves() -> None:
    scores = class_scores(np.array([[1.0, 0.0], [0.25, 0.75]]), "probabilities")
    np.testing.assert_allclose(scores, [[0, math.log(1e-7)], [math.log(0.25), math.log(0.75)]])


def test_what_is_sure_can_be_told_from_what_is_surer() -> None:
    # The probability of both is 1 in float32.
    head = Head("y", "logits", 2, np.float32([0, -1, 0, 0, 0, 0, 0]), 0.0)
    first, second = head.scores(np.array([[40.0, 0], [41.0, 0]]))
    assert second > first


def test_a_layer_adds_to_the_line() -> None:
    line, width = np.zeros(9, np.float32), 9
    layer = Layer(np.eye(width, dtype=np.float32)[:, :2], np.float32([1, -1]), np.float32([2, 3]))
    head = Head("y", "logits", 2, line, 0.5, layer, 2)
    inputs = np.array([[4.0, 5, 0, 0, 0, 0, 0, 0, 0], [-9, 0.5, 0, 0, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(head.of(inputs), [0.5 + 2 * 5 + 3 * 4, 0.5])
    assert head.kind == "mlp on scores and hidden layer"


@pytest.mark.parametrize("line", [np.zeros(6, np.float32), np.full(7, np.nan, np.float32)])
def test_weights_that_do_not_fit_or_are_not_finite_are_no_head(line: np.ndarray) -> None:
    with pytest.raises(InputError, match="finite weights for 7 inputs"):
        Head("y", "logits", 2, line, 0.0)


def test_scores_of_another_form_are_an_error() -> None:
    with pytest.raises(DataError, match="one"):
        class_scores(np.zeros((3, 4)), "logit")
    with pytest.raises(DataError, match="finite"):
        class_scores(np.array([[np.inf, 0]]), "logits")


def test_a_head_on_many_classes_reads_the_best_five() -> None:
    assert [feature_count(classes) for classes in (2, 5, 6, 150)] == [7, 13, 13, 13]

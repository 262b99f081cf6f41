"""Scores: what every rule has to do, whatever its formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError
from edgewise.routing.scores import (
    RULES,
    energy,
    entropy,
    fit_temperature,
    fit_vector,
    margin,
    max_probability,
    multilabel,
    nothing_found,
)

Array = np.ndarray


def scores(seed: int, count: int = 50, classes: int = 5) -> Array:
    return np.random.default_rng(seed).normal(0, 3, (count, classes)).astype(np.float32)


@pytest.mark.parametrize("rule", ["max-probability", "margin", "entropy"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50), temperature=st.floats(0.2, 5))
def test_a_shift_of_all_scores_and_the_order_of_classes_say_nothing(
    rule: str, seed: int, shift: float, temperature: float
) -> None:
    given_, how = scores(seed).astype(np.float64), RULES[rule]
    wanted = how(given_, temperature)
    np.testing.assert_allclose(how(given_ + shift, temperature), wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(how(given_[:, ::-1], temperature), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_what_stands_out_is_surer_than_what_does_not(rule: str) -> None:
    peaked, flat = np.array([[9.0, 0, 0], [0, 9.0, 0]]), np.zeros((2, 3))
    assert (RULES[rule](peaked, 1.0) > RULES[rule](flat, 1.0)).all()


def test_the_formulas() -> None:
    given_ = np.log(np.array([[0.7, 0.2, 0.1]]))
    assert max_probability(given_)[0] == pytest.approx(0.7)
    assert margin(given_)[0] == pytest.approx(0.5)
    assert entropy(given_)[0] == pytest.approx(sum(p * np.log(p) for p in (0.7, 0.2, 0.1)))
    assert energy(given_)[0] == pytest.approx(0.0)
    assert energy(given_ + 3, 2.0)[0] == pytest.approx(3 + 2 * np.log(sum(p**0.5 for p in (0.7, 0.2, 0.1))))
    assert multilabel(np.array([[4.0, -0.5], [-6.0, 5.0]])) == pytest.approx(
        [1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-5.0))]
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), temperature=st.sampled_from([0.4, 1.0, 3.0]))
def test_the_temperature_that_made_the_classes_is_found(seed: int, temperature: float) -> None:
    chance = np.random.default_rng(seed)
    given_ = chance.normal(0, 2, (6000, 4))
    odds = np.exp(given_ / temperature)
    y = (odds.cumsum(axis=1) > chance.random((6000, 1)) * odds.sum(axis=1, keepdims=True)).argmax(axis=1)
    assert fit_temperature(given_, y) == pytest.approx(temperature, rel=0.12)


def test_an_image_without_a_box_is_the_least_sure() -> None:
    found = nothing_found(np.array([0.9, 0.4, 0.8]), np.array([0, 0, 2]), 4)
    assert found.tolist() == [0.4, 0.0, 0.8, 0.0]
    assert nothing_found(np.array([0.9]), np.array([1]), 2, empty=0.5).tolist() == [0.5, 0.9]


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((3, 1)), np.zeros((3, 2), int), np.array([[0.0, np.nan]])])
def test_what_are_no_class_scores_is_refused(wrong: Array) -> None:
    for rule in RULES.values():
        with pytest.raises(DataError, match="scores are finite floats"):
            rule(wrong, 1.0)
    with pytest.raises(DataError):
        fit_temperature(np.zeros((3, 2)), np.array([0, 1, 2]))
    with pytest.raises(DataError, match="temperature is above 0"):
        max_probability(np.zeros((3, 2)), 0.0)


def test_vector_scaling_finds_what_was_done_to_each_class() -> None:
    chance = np.random.default_rng(3)
    given_ = chance.normal(0, 2, (8000, 3))
    each, bias = np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.0, -1.0])
    odds = np.exp(given_ * each + bias)
    y = (odds.cumsum(axis=1) > chance.random((8000, 1)) * odds.sum(axis=1, keepdims=True)).argmax(axis=1)
    found, moved = fit_vector(given_, y, ridge=1.0)
    np.testing.assert_allclose(found, each, atol=0.08)
    np.testing.assert_allclose(moved - moved.mean(), bias - bias.mean(), atol=0.1)


def test_a_class_that_never_came_has_a_bias_all_the_same() -> None:
    given_ = np.random.default_rng(0).normal(0, 1, (40, 4))
    each, bias = fit_vector(given_, np.arange(40) % 3, ridge=1.0)
    assert np.isfinite(each).all()
    assert bias[3] < -1
    assert np.isfinite(fit_vector(given_, np.zeros(40, int))[1]).all()

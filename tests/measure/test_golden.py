"""The golden set covers every class, repeats, and prefers inputs whose decision does not flip by rounding."""

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.measure.golden import choose_golden

CHANCE = np.random.default_rng(5)
LOGITS = CHANCE.normal(size=(300, 6)) + 3 * np.eye(6)[CHANCE.integers(0, 6, 300)]
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def test_every_class_is_covered_evenly() -> None:
    counts = np.bincount(SHARES[choose_golden(SHARES, count=30)].argmax(1), minlength=6)
    assert counts.min() == counts.max() == 5


def test_the_choice_repeats_and_has_no_doubles() -> None:
    chosen = choose_golden(SHARES)
    assert chosen == choose_golden(SHARES) == sorted(set(chosen))
    assert len(chosen) == 32


def test_decisions_keep_a_margin_while_hard_inputs_are_among_them() -> None:
    top = np.sort(SHARES[choose_golden(SHARES)], axis=1)
    margin = top[:, -1] - top[:, -2]
    assert margin.min() >= 0.09
    assert margin.min() < 0.4


def test_values_that_decide_nothing_are_spread_extremes_included() -> None:
    values = CHANCE.normal(size=(100, 1, 1))
    chosen = choose_golden(values, count=5)
    assert int(values.argmin()) in chosen
    assert int(values.argmax()) in chosen


def test_few_samples_are_all_taken_and_none_is_refused() -> None:
    assert choose_golden(SHARES[:3], count=32) == [0, 1, 2]
    with pytest.raises(DataError):
        choose_golden(SHARES[:0])
    with pytest.raises(DataError, match="finite"):
        choose_golden(np.full((3, 2), np.nan))


def test_half_of_each_class_is_clearly_decided_and_half_is_near_the_boundary() -> None:
    chance = np.random.default_rng(2)
    sure = np.where(np.arange(200) < 100, 0.9, 0.15)  # two heaps of margins
    winner = np.arange(200) % 2
    scores = np.stack([np.where(winner == 0, sure, 0), np.where(winner == 1, sure, 0)], axis=1)
    chosen = choose_golden(scores[chance.permutation(200)], count=16)
    picked = scores[np.random.default_rng(2).permutation(200)][chosen]
    for label in (0, 1):
        assert sorted(picked[picked.argmax(1) == label].max(1)) == [0.15] * 4 + [0.9] * 4


def test_more_classes_than_picks_are_sampled_not_cut_off() -> None:
    scores = np.tile(np.eye(200), (3, 1))
    winners = scores[choose_golden(scores, count=20)].argmax(1)
    assert len(set(winners)) == 20
    assert winners.max() > 100
    assert set(winners) != set(scores[choose_golden(scores, count=20, seed=1)].argmax(1))


def test_inputs_that_rounding_flips_are_left_out_unless_there_is_nothing_else() -> None:
    margin = np.array([0.5, 0.001, 0.3, 0.05, 0.0, 1.0])
    scores = np.stack([margin, np.zeros(6)], axis=1)
    assert choose_golden(scores, count=3) == [0, 2, 5], "a margin comes first"
    assert choose_golden(scores, count=6) == [0, 2, 3, 5], "then what is above noise, never less"
    assert choose_golden(np.ones((4, 3)), count=2) == [0, 1], "an undecided model has a golden set all the same"


def test_a_class_without_any_safe_input_is_stood_for_by_its_best() -> None:
    scores = np.array([[1.0, 0.0]] * 30 + [[0.5, 0.53], [0.5, 0.56]])
    chosen = choose_golden(scores, count=10)
    assert 31 in chosen
    assert 30 not in chosen


def test_outputs_that_are_no_numbers_give_the_ends_and_others_at_random() -> None:
    texts = np.array([f"answer {at}" for at in range(50)])
    chosen = choose_golden(texts, count=6)
    assert chosen == choose_golden(texts, count=6) == sorted(set(chosen))
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 49, 6)
    assert chosen != choose_golden(texts, count=6, seed=1)
    assert [choose_golden(texts[:size], count=9) for size in (1, 2, 3)] == [[0], [0, 1], [0, 1, 2]]
    assert choose_golden(texts, count=1) == [0]

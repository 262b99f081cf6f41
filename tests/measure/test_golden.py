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

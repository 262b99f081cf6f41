"""What everybody chose lately is an offset, not something to learn."""

import numpy as np
import pytest

from edgewise.errors import InputError
from edgewise.networks.recommender import TwoTowerConfig
from edgewise.networks.registry import build
from edgewise.training.data.batches import ArrayBatches
from edgewise.training.data.popularity import BIAS, MOMENT, MomentBatches, bias_as_input, popularity, with_bias

DAY = 86_400


def test_nothing_of_the_future_is_counted() -> None:
    item, time = np.array([1, 2, 2]), np.array([0, 10 * DAY, 20 * DAY])
    found = popularity(item, time, np.array([5 * DAY, 15 * DAY]), items=2, half_life=1e9, least=0.5)
    early, late = (np.exp(found.table[slot]) for slot in found.slot)
    assert early[1:] == pytest.approx([1.5, 0.5])
    assert late[1:] == pytest.approx([1.5, 1.5])
    assert np.exp(found.last)[1:] == pytest.approx([1.5, 2.5], rel=1e-4)


def test_a_choice_is_learnt_against_all_that_came_before_it_and_not_against_itself() -> None:
    item, time = np.array([1, 2, 1]), np.array([0, DAY * 3 // 4, DAY])
    found = popularity(item, time, np.array([0, DAY]), items=2, half_life=1e9, least=0.5)
    first, last = (np.exp(found.table[slot]) for slot in found.slot)
    assert first[1:] == pytest.approx([0.5, 0.5])
    assert last[1:] == pytest.approx([1.5, 1.5])


def test_a_choice_counts_half_after_the_half_life() -> None:
    item, time = np.array([1, 2]), np.array([0, 4 * DAY])
    found = popularity(item, time, np.array([DAY]), items=2, half_life=2.0, least=1e-9)
    assert np.exp(found.last)[1:] == pytest.approx([0.25, 1.0], rel=1e-3)


def test_a_half_life_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="above 0"):
        popularity(np.array([1]), np.array([0]), np.array([0]), items=1, half_life=0)


def test_the_bias_comes_in_and_is_stored_again() -> None:
    model = build("two-tower", TwoTowerConfig(items=3, length=2))
    asked = bias_as_input(model)
    assert [value.name for value in asked.graph.input] == ["history", BIAS]
    stored = with_bias(asked, np.arange(4.0))
    assert [value.name for value in stored.graph.input] == ["history"]
    assert {tensor.name for tensor in stored.graph.initializer} == {tensor.name for tensor in model.graph.initializer}


def test_each_sample_gets_its_moment() -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    batches = MomentBatches(ArrayBatches({"history": np.arange(4), MOMENT: np.array([2, 0, 1, 2])}, 2), table)
    for batch in batches.epoch(0, 0):
        assert list(batch) == ["history", BIAS]
        assert (batch[BIAS] == table[np.array([2, 0, 1, 2])[batch["history"]]]).all()

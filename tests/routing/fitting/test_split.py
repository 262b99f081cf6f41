"""Who chooses does not promise; blocks stay whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError
from edgewise.routing.fitting.split import split


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(10, 2000), seed=st.integers(0, 100))
def test_every_sample_is_in_one_part(samples: int, seed: int) -> None:
    found = split(samples, choice=True, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([found.choosing, found.promising])), np.arange(samples))
    assert len(found.choosing) == max(round(0.2 * samples), min(60, samples // 3))
    again = split(samples, choice=True, seed=seed)
    np.testing.assert_array_equal(found.choosing, again.choosing)


def test_the_seed_decides_who_chooses() -> None:
    first, other = (split(500, choice=True, seed=seed).choosing for seed in (1, 2))
    assert not np.array_equal(first, other)


def test_where_nothing_is_chosen_all_promise() -> None:
    found = split(7, choice=False)
    assert (len(found.choosing), len(found.promising)) == (0, 7)


def test_blocks_are_not_torn() -> None:
    block = np.random.default_rng(0).integers(0, 50, 1000)
    found = split(1000, choice=True, block=block, seed=3)
    assert not set(block[found.choosing]) & set(block[found.promising])
    assert len(set(block[found.choosing])) == 16  # of fifty: a fifth would be too few to tell rules apart


@pytest.mark.parametrize(("samples", "block"), [(2, None), (100, np.zeros(100))])
def test_too_few_to_choose_with_are_refused(samples: int, block: np.ndarray | None) -> None:
    with pytest.raises(DataError, match="too few to choose with"):
        split(samples, choice=True, block=block)

"""The accuracy gate: when a drop counts."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.compress.search.gate import decide, one_sided
from edgewise.errors import DataError


def scores(hits: np.ndarray) -> np.ndarray:
    """Answers over two classes that are right where ``hits`` says; the truth is 0 everywhere."""
    return np.stack([hits, ~hits], axis=1).astype(np.float32)


def hits(total: int, wrong: int, at: int = 0) -> np.ndarray:
    found = np.ones(total, bool)
    found[at : at + wrong] = False
    return found


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_p_value_is_the_tail_of_fair_coins(lost: int, gained: int) -> None:
    original, candidate = np.ones(100, bool), np.ones(100, bool)
    candidate[:lost] = False
    original[50 : 50 + gained] = False
    n = lost + gained
    tail = sum(comb(n, k) for k in range(lost, n + 1)) / 2**n
    p = one_sided(original, candidate)
    if lost > gained:
        assert p == pytest.approx(tail)
    else:
        assert p >= 0.5


def test_a_model_beside_itself_passes() -> None:
    same = scores(hits(200, 10))
    verdict = decide("classification", same, same, np.zeros(200, np.int64), 0.0)
    assert verdict.passes
    assert (verdict.drop, verdict.p_value) == (0.0, 0.5)


def test_a_large_drop_fails_though_few_samples_make_it_insignificant() -> None:
    verdict = decide("classification", scores(hits(50, 0)), scores(hits(50, 2)), np.zeros(50, np.int64), 0.5)
    assert verdict.drop == pytest.approx(4.0)
    assert not verdict.significant
    assert not verdict.passes


def test_a_small_drop_fails_where_it_is_significant() -> None:
    verdict = decide(
        "classification", scores(hits(10_000, 0)), scores(hits(10_000, 20)), np.zeros(10_000, np.int64), 0.5
    )
    assert verdict.drop == pytest.approx(0.2)
    assert verdict.significant
    assert not verdict.passes
    assert verdict.p_value == pytest.approx(2**-20)


def test_a_better_model_passes_however_sure_that_is() -> None:
    verdict = decide("classification", scores(hits(400, 40)), scores(hits(400, 0)), np.zeros(400, np.int64), 0.0)
    assert verdict.passes
    assert verdict.drop == pytest.approx(-10.0)


def test_an_error_that_grows_is_a_drop_in_percent() -> None:
    chance = np.random.default_rng(0)
    y = chance.normal(size=400)
    near, far = (y + chance.normal(size=400) * spread for spread in (0.10, 0.20))
    worse = decide("regression", near[:, None], far[:, None], y, 0.5)
    assert worse.drop == pytest.approx(100, abs=15)
    assert worse.significant
    assert not worse.passes
    assert decide("regression", far[:, None], near[:, None], y, 0.5).passes


def test_groups_are_drawn_as_wholes_where_the_bootstrap_decides() -> None:
    chance = np.random.default_rng(0)
    y = chance.normal(size=300)
    first, second = y + 0.1, y + 0.1 + 0.3 * (np.arange(300) < 30)
    group = np.arange(300) // 30
    alone = decide("regression", first[:, None], second[:, None], y, 500.0)
    whole = decide("regression", first[:, None], second[:, None], y, 500.0, group)
    assert alone.significant
    assert not whole.significant  # it is one group of ten


def test_a_verdict_reads_back_as_it_was_written() -> None:
    verdict = decide("classification", scores(hits(50, 0)), scores(hits(50, 2)), np.zeros(50, np.int64), 0.5)
    assert type(verdict).from_json(verdict.to_json()) == verdict


def test_a_task_without_a_paired_test_is_refused() -> None:
    with pytest.raises(DataError, match="no paired test for anomaly"):
        decide("anomaly", np.zeros(4), np.zeros(4), np.zeros(4), 0.5)

"""Who goes on: laws of successive halving."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compress.search.test_pareto import points

from edgewise.compress.search.halving import Effort, climb, ladder
from edgewise.compress.search.pareto import Point, dominates
from edgewise.errors import InputError


@given(points(), st.integers(1, 9), st.floats(0, 1), st.floats(0, 0.2))
def test_nobody_goes_on_before_one_that_beats_him(found: list[Point], count: int, least: float, slack: float) -> None:
    on = climb(found, count, least=least, original=6000, slack=slack)
    assert len(on) == min(count, len(found))
    assert len(set(on)) == len(on)
    named = {point.name: point for point in found}
    ranked = climb(found, len(found), least=least, original=6000, slack=slack)
    assert ranked[: len(on)] == on
    for at, name in enumerate(ranked):
        assert not [later for later in ranked[at + 1 :] if dominates(named[later], named[name])]


@given(points(), st.randoms())
def test_the_order_in_which_they_come_does_not_matter(found: list[Point], chance: object) -> None:
    other = list(found)
    chance.shuffle(other)  # type: ignore[attr-defined]
    assert climb(other, 3, least=0.5, original=6000) == climb(found, 3, least=0.5, original=6000)


@given(points())
def test_what_has_lost_too_much_goes_last(found: list[Point]) -> None:
    on = climb(found, len(found), least=0.5, original=6000)
    near = [point.score >= 0.5 for name in on for point in found if point.name == name]
    assert near == sorted(near, reverse=True)


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 5000), st.integers(1, 10), st.integers(2, 5))
def test_effort_grows_and_candidates_shrink(count: int, epochs: int, samples: int, finalists: int, eta: int) -> None:
    rungs = ladder(count, Effort(epochs, samples), finalists=finalists, eta=eta)
    assert rungs[-1].effort == Effort(epochs, samples)
    assert rungs[-1].kept == 0
    for before, after in pairwise(rungs):
        assert before.effort.epochs <= after.effort.epochs
        assert before.effort.samples <= after.effort.samples
        assert before.slack > after.slack
    counts = [count, *(rung.kept for rung in rungs[:-1])]
    assert counts == sorted(set(counts), reverse=True)
    assert counts[-1] <= max(finalists, 1) or count <= finalists


def test_the_ladder_for_thirty_candidates() -> None:
    rungs = ladder(30, Effort(9, 900), finalists=4)
    assert [(rung.effort.epochs, rung.effort.samples, rung.kept) for rung in rungs] == [
        (1, 100, 10),
        (3, 300, 4),
        (9, 900, 0),
    ]


def test_nothing_to_try_is_refused() -> None:
    with pytest.raises(InputError, match="a search needs a candidate"):
        ladder(0, Effort(1, 1))

"""Who goes on: laws of successive halving."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compress.search.test_pareto import points

from edgewise.compress.search.halving import Effort, Wanted, climb, ladder
from edgewise.compress.search.pareto import Point, dominates
from edgewise.errors import InputError

wishes = st.builds(
    Wanted, st.floats(0, 1), st.none() | st.integers(500, 7000), st.none() | st.floats(0.05, 2)
)  # fmt: skip


@given(points(), st.integers(1, 9), wishes, st.floats(0, 0.2))
def test_nobody_goes_on_before_one_that_beats_him(found: list[Point], count: int, wanted: Wanted, slack: float) -> None:
    on = climb(found, count, wanted, original=6000, slack=slack)
    assert len(on) == min(count, len(found))
    assert len(set(on)) == len(on)
    named = {point.name: point for point in found}
    ranked = climb(found, len(found), wanted, original=6000, slack=slack)
    assert ranked[: len(on)] == on
    for at, name in enumerate(ranked):
        assert not [later for later in ranked[at + 1 :] if dominates(named[later], named[name])]


@given(points(), wishes, st.randoms())
def test_the_order_in_which_they_come_does_not_matter(found: list[Point], wanted: Wanted, chance: object) -> None:
    other = list(found)
    chance.shuffle(other)  # type: ignore[attr-defined]
    assert climb(other, 3, wanted, original=6000) == climb(found, 3, wanted, original=6000)


@given(points(), wishes)
def test_what_is_within_reach_goes_before_what_is_not(found: list[Point], wanted: Wanted) -> None:
    lacking = {point.name: wanted.lacks(point) for point in found}
    on = [lacking[name] for name in climb(found, len(found), wanted, original=6000)]
    assert on == sorted(on)


def test_what_is_out_of_reach_is_what_is_asked_for_and_not_there() -> None:
    wanted = Wanted(0.9, 1000, 1.0)
    assert wanted.lacks(Point("right", 1, 1000, 1.0, 0.9)) == 0
    assert wanted.lacks(Point("large", 1, 4000, 1.0, 0.9)) == 2
    assert wanted.lacks(Point("slow", 1, 1000, 2.0, 0.9)) == 1
    assert wanted.lacks(Point("wrong", 1, 1000, 1.0, 0.88)) == pytest.approx(2)
    assert wanted.lacks(Point("wrong", 1, 1000, 1.0, 0.88), slack=0.02) == pytest.approx(0)


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
    rungs = ladder(30, Effort(9, 900), finalists=4, least=Effort(2, 64))
    assert [(rung.effort.epochs, rung.effort.samples, rung.kept) for rung in rungs] == [
        (2, 100, 10),
        (3, 300, 4),
        (9, 900, 0),
    ]


def test_nothing_to_try_is_refused() -> None:
    with pytest.raises(InputError, match="a search needs a candidate"):
        ladder(0, Effort(1, 1))

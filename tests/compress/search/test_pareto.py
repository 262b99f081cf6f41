"""Which models are worth having: laws of the front."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.compress.search.pareto import Point, best, dominates, fronts, pareto_front
from edgewise.errors import InputError


@st.composite
def points(draw: st.DrawFn) -> list[Point]:
    count = draw(st.integers(1, 9))
    return [
        Point(
            f"p{at}", draw(st.integers(0, 4)), draw(st.integers(1, 6)) * 1000, draw(st.integers(1, 40)) / 20,
            draw(st.integers(0, 50)) / 50,
        )
        for at in range(count)
    ]  # fmt: skip


@given(points())
def test_a_front_is_never_empty_and_nobody_on_it_beats_another(found: list[Point]) -> None:
    front = pareto_front(found)
    assert front
    assert not [(a, b) for a in front for b in front if dominates(a, b)]


@given(points())
def test_a_candidate_that_is_slower_or_worse_than_a_simpler_one_never_wins(found: list[Point]) -> None:
    chosen = best(found, 6000)
    assert chosen is not None
    for simpler in (point for point in found if point.steps < chosen.steps):
        no_worse = simpler.size <= chosen.size and simpler.latency <= chosen.latency and simpler.score >= chosen.score
        assert not no_worse, (simpler, chosen)


@given(points(), st.randoms())
def test_the_order_in_which_they_come_does_not_matter(found: list[Point], chance: object) -> None:
    other = list(found)
    chance.shuffle(other)  # type: ignore[attr-defined]
    assert pareto_front(other) == pareto_front(found)


@given(points())
def test_what_nobody_beats_and_nobody_simpler_matches_is_on_the_front(found: list[Point]) -> None:
    front = pareto_front(found)
    for point in found:
        others = [other for other in found if other is not point]
        alone = all(
            other.size > 1.02 * point.size or other.latency > 1.04 * point.latency or other.score < point.score - 0.003
            for other in others
        )
        assert not alone or point in front


@given(points())
def test_layers_hold_every_point_once_and_no_layer_is_beaten_from_behind(found: list[Point]) -> None:
    layers = fronts(found)
    assert sorted(point.name for layer in layers for point in layer) == sorted(point.name for point in found)
    for at, layer in enumerate(layers):
        behind = [point for later in layers[at:] for point in later]
        assert not [(a, b) for a in behind for b in layer if dominates(a, b)]


def test_a_longer_chain_wins_only_by_more_than_the_noise_of_measuring() -> None:
    simple = Point("simple", 1, 1000, 0.50, 0.900)
    assert best([simple, Point("longer", 2, 999, 0.49, 0.901)], 4000) == simple
    better = Point("longer", 2, 900, 0.50, 0.900)
    assert best([simple, better], 4000) == better


def test_what_was_not_measured_is_no_point() -> None:
    with pytest.raises(InputError, match="not measured"):
        Point("nothing", 1, 0, 1.0, 0.5)
    assert best([], 1) is None

"""Each test rejects what is true with a chance of at most delta, exactly where its limits are counted."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError
from edgewise.measure.intervals import binomial_at_most
from edgewise.routing.rejection import TESTS, harm_limits, largest_mean, most_losses, rejecter

Array = np.ndarray


def chance_of_rejection(limits: Array, samples: int, lost: float, gained: float) -> float:
    """By adding up every outcome."""
    total = 0.0
    for gains in range(min(len(limits), samples + 1)):
        for losses in range(min(int(limits[gains]), samples - gains) + 1):
            ways = math.comb(samples, gains) * math.comb(samples - gains, losses)
            total += ways * gained**gains * lost**losses * (1 - lost - gained) ** (samples - gains - losses)
    return total


@pytest.mark.parametrize(
    ("samples", "epsilon", "delta"), [(40, 0.1, 0.05), (70, 0.05, 0.05), (55, 0.08, 0.2), (30, 0.3, 0.01)]
)
def test_the_trinomial_test_holds_whatever_the_share_of_gains(samples: int, epsilon: float, delta: float) -> None:
    limits = harm_limits(samples, epsilon, delta)
    shares = [*np.linspace(0, 0.15, 61), *np.linspace(0.16, (1 - epsilon) / 2, 12)]
    worst = max(chance_of_rejection(limits, samples, share + epsilon, share) for share in shares)
    assert worst <= delta
    assert worst > 0.15 * delta  # and is not idle: what is missing lies between two whole numbers of losses


@pytest.mark.parametrize(("samples", "epsilon"), [(40, 0.1), (70, 0.05)])
def test_more_lost_than_epsilon_is_rejected_still_less_often(samples: int, epsilon: float) -> None:
    limits = harm_limits(samples, epsilon, 0.05)
    for share in (0.0, 0.02, 0.1):
        at, above = (chance_of_rejection(limits, samples, share + lost, share) for lost in (epsilon, 1.3 * epsilon))
        assert above < at


@settings(max_examples=6, deadline=None)
@given(
    samples=st.integers(100, 1500),
    epsilon=st.sampled_from([0.005, 0.01, 0.05, 0.4]),
    delta=st.sampled_from([0.01, 0.05]),
)
def test_gains_pay_for_losses(samples: int, epsilon: float, delta: float) -> None:
    limits = harm_limits(samples, epsilon, delta)
    assert len(limits) == int(0.1 * samples) + 1
    assert (np.diff(limits) >= 0).all()
    assert (limits - np.arange(len(limits)) < samples * epsilon).all()
    # Without gains it is nearly the binomial test: what covers the unknown share costs some in a hundred.
    assert abs(int(limits[0]) - most_losses(samples, epsilon, delta)) <= 2 + samples * epsilon / 12


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 4000), epsilon=st.floats(0.001, 0.5), delta=st.floats(0.001, 0.3))
def test_the_limits_of_the_binomial_test_are_its_definition(samples: int, epsilon: float, delta: float) -> None:
    most = most_losses(samples, epsilon, delta)
    assert most < 0 or binomial_at_most(most, samples, epsilon) <= delta
    assert most + 1 >= samples or binomial_at_most(most + 1, samples, epsilon) > delta


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(10, 4000), epsilon=st.floats(0.001, 0.5))
def test_means_are_bounded_less_tightly_than_counts(samples: int, epsilon: float) -> None:
    largest, most = largest_mean(samples, epsilon, 0.05), most_losses(samples, epsilon, 0.05)
    assert -1 <= largest < epsilon
    assert largest * samples < max(most, 0) + 1


def test_each_test_refuses_losses_that_it_is_not_for() -> None:
    for test, losses in (
        ("binomial", [0, 0.5]), ("binomial", [0, -1]), ("trinomial", [0.5, -1]), ("hoeffding-bentkus", [0, -0.1]),
        ("hoeffding-bentkus", [0, 1.1]), ("betting", [0, -1.5]), ("betting", [2, 0]), ("betting", [np.nan, 0]),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"for the {test} test losses"):
            rejecter(test, 2, 0.1, 0.05)(np.array(losses, float))  # type: ignore[arg-type]


def losses_of(test: str, mean: float, count: int, chance: np.random.Generator) -> Array:
    """Such that their mean is truly ``mean``."""
    if test == "binomial":
        return (chance.random(count) < mean).astype(float)
    if test == "hoeffding-bentkus":
        return np.where(chance.random(count) < 2 * mean, chance.random(count), 0)
    return chance.choice([-1.0, 0.0, 1.0], count, p=[0.04, 0.92 - mean, 0.04 + mean])


@pytest.mark.parametrize("test", sorted(TESTS))
def test_what_is_just_true_is_rejected_no_more_often_than_it_says(test: str) -> None:
    chance, draws, samples, epsilon = np.random.default_rng(11), 3000, 400, 0.05
    rejected = rejecter(test, samples, epsilon, 0.05)  # type: ignore[arg-type]
    count = sum(rejected(losses_of(test, epsilon, samples, chance)) for _ in range(draws))
    # With a chance of 5 % each, more than 188 of 3,000 come in one of a thousand cases.
    assert 0 < count <= next(k for k in range(draws) if binomial_at_most(k, draws, 0.05) > 0.999)


@pytest.mark.parametrize("test", sorted(TESTS))
def test_what_is_far_from_true_is_rejected(test: str) -> None:
    chance = np.random.default_rng(12)
    rejected = rejecter(test, 2000, 0.1, 0.05)  # type: ignore[arg-type]
    assert all(rejected(losses_of(test, 0.04, 2000, chance)) for _ in range(20))


def test_the_order_of_bets_is_the_seeds_and_not_the_samples() -> None:
    chance = np.random.default_rng(13)
    losses = losses_of("betting", 0.03, 400, chance)
    verdicts = {rejecter("betting", 400, 0.08, 0.05, seed)(losses) for seed in range(20)}
    assert rejecter("betting", 400, 0.08, 0.05, 3)(losses) == rejecter("betting", 400, 0.08, 0.05, 3)(losses)
    assert verdicts <= {True, False}


def test_what_nobody_can_be_as_sure_of_is_never_rejected() -> None:
    assert (harm_limits(100, 0.05, 1e-12) == -1).all()

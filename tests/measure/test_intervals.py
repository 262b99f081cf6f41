"""Intervals agree with the literature and cover what they promise."""

import numpy as np
import pytest
from scipy.stats import binomtest

from edgewise.errors import DataError
from edgewise.measure.intervals import bootstrap, clopper_pearson, wilson


@pytest.mark.parametrize(("successes", "samples"), [(0, 10), (1, 10), (5, 10), (10, 10), (95, 100), (913, 1000)])
def test_both_intervals_agree_with_scipy(successes: int, samples: int) -> None:
    test = binomtest(successes, samples)
    assert wilson(successes, samples) == pytest.approx(tuple(test.proportion_ci(method="wilson")), abs=1e-9)
    assert clopper_pearson(successes, samples) == pytest.approx(tuple(test.proportion_ci(method="exact")), abs=1e-7)


def test_wilson_covers_what_it_says() -> None:
    chance = np.random.default_rng(0)
    draws = chance.binomial(200, 0.95, 2000)
    covered = np.mean([wilson(int(k), 200)[0] <= 0.95 <= wilson(int(k), 200)[1] for k in draws])
    assert 0.93 <= covered <= 0.975


def test_bootstrap_of_a_mean_covers_and_repeats() -> None:
    chance = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        values = chance.normal(size=80)
        low, high = bootstrap(lambda at, v=values: float(v[at].mean()), 80, count=300)
        hits += low <= 0 <= high
    assert 87 <= hits <= 100
    values = chance.normal(size=50)
    assert bootstrap(lambda at: float(values[at].mean()), 50) == bootstrap(lambda at: float(values[at].mean()), 50)


def test_a_proportion_of_nothing_is_refused() -> None:
    with pytest.raises(DataError):
        wilson(0, 0)
    with pytest.raises(DataError):
        clopper_pearson(3, 2)

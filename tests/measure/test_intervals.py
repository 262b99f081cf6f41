"""Intervals agree with the literature and cover what they promise."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from edgewise.errors import DataError
from edgewise.measure.intervals import clopper_pearson, mcnemar_exact, wilson

CASES = [(0, 1), (1, 1), (0, 10), (1, 10), (5, 10), (10, 10), (95, 100), (913, 1000), (99_990, 100_000), (3, 100_000)]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize(("successes", "samples"), CASES)
def test_both_intervals_agree_with_scipy(successes: int, samples: int, confidence: float) -> None:
    test = binomtest(successes, samples)
    theirs = test.proportion_ci(confidence, method="wilson")
    assert wilson(successes, samples, confidence) == pytest.approx(tuple(theirs), abs=1e-12)
    theirs = test.proportion_ci(confidence, method="exact")
    assert clopper_pearson(successes, samples, confidence) == pytest.approx(tuple(theirs), rel=1e-9, abs=1e-12)


def test_wilson_covers_what_it_says() -> None:
    draws = np.random.default_rng(0).binomial(200, 0.95, 2000)
    covered = np.mean([wilson(int(k), 200)[0] <= 0.95 <= wilson(int(k), 200)[1] for k in draws])
    assert 0.93 <= covered <= 0.975


def test_clopper_pearson_never_covers_less_than_it_says_even_for_few_samples() -> None:
    for share in (0.02, 0.3, 0.9):
        ends = [clopper_pearson(k, 12) for k in range(13)]
        chances = binom.pmf(np.arange(13), 12, share)  # all outcomes there are: no simulation needed
        assert sum(chances[k] for k in range(13) if ends[k][0] <= share <= ends[k][1]) >= 0.95


def test_mcnemar_agrees_with_the_binomial_test_on_the_samples_that_differ() -> None:
    chance = np.random.default_rng(2)
    for better in (0.5, 0.7, 0.95):
        first, second = chance.random(400) < 0.5, chance.random(400) < better
        gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
        assert mcnemar_exact(first, second) == pytest.approx(binomtest(gained, gained + lost).pvalue, rel=1e-9)
        assert mcnemar_exact(first, second) == mcnemar_exact(second, first)
    assert mcnemar_exact(first, first) == 1.0


def test_what_is_no_proportion_is_refused() -> None:
    for wrong in ((0, 0), (3, 2), (-1, 5)):
        for interval in (wilson, clopper_pearson):
            with pytest.raises(DataError, match="not a proportion"):
                interval(*wrong)
    with pytest.raises(DataError, match="confidence"):
        wilson(1, 2, 1.0)
    with pytest.raises(DataError, match="of bool"):
        mcnemar_exact(np.ones(3, bool), np.ones(4, bool))

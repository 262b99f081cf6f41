"""How many answers are learnt from: a number where the exact test has just become more lenient."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.measure.intervals import binomial_at_most
from edgewise.routing.watch.pairs import allowed, pairs_after

EPSILON = st.sampled_from([0.003, 0.01, 0.05, 0.3])
DELTA = st.sampled_from([0.2, 0.05, 0.001])


@settings(max_examples=100, deadline=None)
@given(samples=st.integers(1, 3000), epsilon=EPSILON, delta=DELTA)
def test_what_is_allowed_is_what_the_exact_test_allows(samples: int, epsilon: float, delta: float) -> None:
    most = allowed(samples, epsilon, delta)
    assert binomial_at_most(most, samples, epsilon) <= delta < binomial_at_most(most + 1, samples, epsilon)


@settings(max_examples=100, deadline=None)
@given(samples=st.integers(1, 3000), epsilon=EPSILON, delta=DELTA)
def test_the_number_is_the_first_that_allows_one_more(samples: int, epsilon: float, delta: float) -> None:
    found = pairs_after(samples, epsilon, delta)
    assert found >= samples
    assert allowed(found, epsilon, delta) > allowed(samples - 1, epsilon, delta)
    assert found == samples or allowed(found - 1, epsilon, delta) == allowed(samples - 1, epsilon, delta)


def test_in_numbers() -> None:
    assert [allowed(n, 0.01, 0.05) for n in (298, 299, 1000, 1049)] == [-1, 0, 4, 5]
    assert pairs_after(1, 0.01, 0.05) == 299
    assert pairs_after(1000, 0.01, 0.05) == 1049

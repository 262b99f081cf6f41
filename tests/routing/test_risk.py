"""The promise is kept as often as it says, by each test; and what it rests on is exact."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError, InputError
from edgewise.measure.intervals import binomial_at_most
from edgewise.routing.risk import (
    Fitted,
    Promise,
    fit_agreement,
    fit_gap,
    fit_groups,
    fit_loss,
    fit_sequence,
    fit_threshold,
    least_samples,
    offloads_at,
    oracle_offload,
)

Array = np.ndarray
DRAWS = 400


def stream(count: int, chance: np.random.Generator) -> tuple[Array, Array, Array]:
    """Score, whether the device is right, whether upstream is: the surer, the more often right; they err alike now and then."""
    score = chance.beta(4, 1, count)
    right = chance.random(count) < 0.55 + 0.44 * score
    upstream = np.where(right, chance.random(count) < 0.985, chance.random(count) < 0.8)
    return score, right, upstream


def most_often(share: float, draws: int = DRAWS) -> int:
    """So many of ``draws`` are more in one of a thousand cases where each has the chance ``share``."""
    return next(k for k in range(draws) if binomial_at_most(k, draws, share) > 0.999)


def fitted(fit: str, score: Array, right: Array, upstream: Array, promise: Promise) -> Fitted:
    if fit == "gap":
        return fit_gap(score, right, upstream, promise)
    loss = right != upstream
    return (
        fit_agreement(score, loss, promise) if fit == "agreement" else fit_loss(score, loss.astype(np.float64), promise)
    )


def broken(fit: str, epsilon: float, samples: int, draws: int = DRAWS) -> tuple[int, float]:
    """How often the promise was broken, by a large sample of what comes later; and the mean offload."""
    chance = np.random.default_rng(7)
    score, right, upstream = stream(400_000, np.random.default_rng(8))
    order = np.argsort(-score)
    losses = {"agreement": right != upstream, "gap": upstream.astype(float) - right}[
        fit if fit == "gap" else "agreement"
    ]
    risk, ranked = np.cumsum(losses[order]) / len(score), -score[order]
    count, passed = 0, 0.0
    for _ in range(draws):
        own, was, above = stream(samples, chance)
        found = fitted(fit, own, was, above, Promise(epsilon))
        kept = int(np.searchsorted(ranked, -found.threshold, side="right"))
        count += bool(kept) and risk[kept - 1] > epsilon
        passed += found.offload / draws
    return count, passed


@pytest.mark.parametrize(("fit", "epsilon"), [("agreement", 0.01), ("agreement", 0.02), ("loss", 0.02), ("gap", 0.02)])
def test_a_promise_is_broken_no_more_often_than_it_says(fit: str, epsilon: float) -> None:
    draws = 100 if fit == "gap" else DRAWS
    count, passed = broken(fit, epsilon, 800, draws)
    assert count <= most_often(0.05, draws)
    assert passed < 1  # something is kept


def test_a_threshold_tuned_on_the_samples_breaks_it_half_the_time() -> None:
    chance = np.random.default_rng(7)
    score, right, upstream = stream(400_000, np.random.default_rng(8))
    order = np.argsort(-score)
    risk, ranked = np.cumsum((right != upstream)[order]) / len(score), -score[order]
    count = 0
    for _ in range(DRAWS):
        own, was, above = stream(800, chance)
        kept = round((1 - oracle_offload(own, was != above, 0.02)) * 800)
        threshold = np.sort(own)[::-1][kept - 1] if kept else math.inf
        place = int(np.searchsorted(ranked, -threshold, side="right"))
        count += bool(place) and risk[place - 1] > 0.02
    assert count > 0.3 * DRAWS


def fitted_by_hand(score: Array, loss: Array, promise: Promise) -> float:
    """The definition, threshold by threshold."""
    best = math.inf
    for threshold in sorted(set(score.tolist()), reverse=True):
        lost = int(loss[score >= threshold].sum())
        tail = sum(
            math.comb(len(score), k) * promise.epsilon**k * (1 - promise.epsilon) ** (len(score) - k)
            for k in range(lost + 1)
        )
        if tail > promise.delta:
            return best
        best = threshold
    return best


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(2, 60), epsilon=st.sampled_from([0.05, 0.1, 0.3]))
def test_the_binomial_test_is_its_definition(seed: int, levels: int, epsilon: float) -> None:
    chance = np.random.default_rng(seed)
    score = chance.integers(0, levels, 120) / levels
    loss = chance.random(120) < (1 - score) * 0.4
    found = fit_agreement(score, loss, Promise(epsilon))
    assert found.threshold == fitted_by_hand(score, loss, Promise(epsilon))
    assert found.offload == pytest.approx(1 - (score >= found.threshold).mean())
    assert found.lost == pytest.approx((loss & (score >= found.threshold)).mean())
    assert found.oracle <= found.offload + 1e-12
    np.testing.assert_array_equal(found.keeps(score), score >= found.threshold)


@given(seed=st.integers(0, 1000), shift=st.floats(-3, 3), scale=st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_only_the_order_of_scores_counts_and_not_that_of_samples(seed: int, shift: float, scale: float) -> None:
    chance = np.random.default_rng(seed)
    score, right, upstream = stream(400, chance)
    first = fit_agreement(score, right != upstream, Promise(0.05))
    turned = chance.permutation(400)
    other = fit_agreement((shift + scale * score)[turned], (right != upstream)[turned], Promise(0.05))
    assert other.offload == pytest.approx(first.offload, abs=0.01)


def test_binary_losses_cost_more_by_the_general_test_than_by_the_exact_one() -> None:
    score, right, upstream = stream(3000, np.random.default_rng(1))
    loss = right != upstream
    exact, general = fit_agreement(score, loss, Promise(0.02)), fit_loss(score, loss.astype(np.float64), Promise(0.02))
    assert exact.oracle < exact.offload < general.offload


def test_a_device_that_errs_as_upstream_does_is_trusted_more_by_the_gap() -> None:
    chance = np.random.default_rng(2)
    score, right, _ = stream(3000, chance)
    upstream = right ^ (chance.random(3000) < 0.05)  # as good, wrong on other samples
    by_gap, by_agreement = (
        fit_gap(score, right, upstream, Promise(0.02)),
        fit_agreement(score, right != upstream, Promise(0.02)),
    )
    assert by_gap.offload < by_agreement.offload


def test_too_few_samples_are_refused_with_how_many_more() -> None:
    assert [least_samples(Promise(epsilon)) for epsilon in (0.005, 0.01, 0.02)] == [598, 299, 149]
    score = np.linspace(0, 1, 200)
    with pytest.raises(DataError, match="200 samples are too few") as raised:
        fit_agreement(score, np.zeros(200, bool), Promise(0.01))
    assert "About 99 more" in raised.value.remedy
    whole = fit_agreement(np.linspace(0, 1, 299), np.zeros(299, bool), Promise(0.01))
    assert (whole.offload, whole.threshold) == (0, 0)


def test_where_nothing_is_sure_enough_everything_is_passed_on() -> None:
    found = fit_agreement(np.linspace(0, 1, 300), np.ones(300, bool), Promise(0.02))
    assert isinstance(found, Fitted)
    # Three losses are all that 300 samples allow at two points, and the surest are losses already.
    assert found.offload >= 1 - 3 / 300
    none = fit_agreement(np.zeros(300), np.ones(300, bool), Promise(0.02))
    assert (none.threshold, none.offload, none.lost) == (math.inf, 1, 0)


def test_each_group_has_a_promise_of_its_own() -> None:
    chance = np.random.default_rng(3)
    score, right, upstream = stream(4000, chance)
    rare = chance.random(4000) < 0.2
    loss = (right != upstream) | (rare & (chance.random(4000) < 0.1))
    found = fit_groups(score, loss, np.where(rare, "rare", "usual"), Promise(0.03))
    assert set(found) == {"rare", "usual"}
    assert found["rare"].threshold > found["usual"].threshold
    assert found["rare"].promise.delta == pytest.approx(0.025)
    with pytest.raises(DataError, match=r"group tiny: 50 samples are too few"):
        fit_groups(score, loss, np.where(np.arange(4000) < 50, "tiny", "usual"), Promise(0.03))


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -0.1])
def test_what_cannot_be_promised_is_refused(epsilon: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        Promise(epsilon)


def test_arrays_that_do_not_fit_are_refused() -> None:
    score, loss = np.linspace(0, 1, 300), np.zeros(300, bool)
    for wrong in (
        (score[:-1], loss),
        (score.astype(int), loss),
        (np.where(score > 0.5, np.nan, score), loss),
        (score, loss.astype(float)),
    ):
        with pytest.raises(DataError):
            fit_agreement(*wrong, Promise(0.02))
    with pytest.raises(DataError, match=r"losses lie in 0\.\.1"):
        fit_loss(score, loss + 2.0, Promise(0.02))


def test_who_bets_against_what_is_just_true_gets_rich_no_more_often_than_it_says() -> None:
    chance, draws, count = np.random.default_rng(4), 1500, 0
    for _ in range(draws):
        gap = chance.choice([-1, 0, 1], 300, p=[0.05, 0.8, 0.15])  # exactly epsilon on the mean
        found = fit_gap(np.zeros(300), gap < 1, gap > -1, Promise(0.1))
        count += found.threshold == 0
    assert 0 < count <= most_often(0.05, draws)


def test_a_sample_of_which_nothing_is_known_is_never_kept() -> None:
    score, right = np.where(np.arange(400) < 100, -np.inf, 1.0), np.zeros(400, bool)
    found = fit_agreement(score, right, Promise(0.02))
    assert (found.threshold, found.offload) == (1.0, 0.25)
    assert fit_loss(score, right.astype(float), Promise(0.02)).offload == 0.25
    assert fit_agreement(np.full(400, -np.inf), right, Promise(0.02)).threshold == math.inf
    with pytest.raises(DataError):
        fit_agreement(np.full(400, np.inf), right, Promise(0.02))


def test_any_configurations_are_tested_in_their_order_until_one_is_not_safe() -> None:
    chance = np.random.default_rng(5)
    configurations = [(chance.random(1000) < risk).astype(float) for risk in (0.0, 0.01, 0.02, 0.3, 0.0)]
    assert fit_sequence(configurations, Promise(0.05), "binomial") == 3
    assert fit_sequence(configurations[3:], Promise(0.05), "binomial") == 0
    assert fit_sequence([], Promise(0.05), "binomial") == 0


@pytest.mark.parametrize("test", ["binomial", "hoeffding-bentkus", "betting", "trinomial"])
def test_thresholds_of_one_score_are_a_sequence_like_any_other(test: str) -> None:
    score, right, upstream = stream(350, np.random.default_rng(6))
    loss = (right != upstream).astype(float)
    order = np.argsort(-score)
    rows = []
    for kept in range(1, 351):
        rows.append(np.zeros(350))
        rows[-1][order[:kept]] = loss[order[:kept]]
    count = fit_sequence(rows, Promise(0.1), test)  # type: ignore[arg-type]
    found = fit_threshold(score, loss, Promise(0.1), test)  # type: ignore[arg-type]
    assert 0 < count < 350
    assert found.offload == pytest.approx(1 - count / 350)
    assert found.threshold == score[order[count - 1]]


def test_correlated_samples_break_a_promise_that_blocks_keep() -> None:
    chance, broken = np.random.default_rng(9), {"samples": 0, "blocks": 0}
    score, right, upstream = stream(200_000, np.random.default_rng(8))
    order = np.argsort(-score)
    risk, ranked = np.cumsum((right != upstream)[order]) / len(score), -score[order]
    block = np.repeat(np.arange(150), 8)
    for _ in range(100):
        own, was, above = (np.repeat(part, 8) for part in stream(150, chance))
        loss = (was != above).astype(float)
        for name, test, blocks in (("samples", "binomial", None), ("blocks", "hoeffding-bentkus", block)):
            found = fit_threshold(own, loss, Promise(0.03), test, block=blocks)  # type: ignore[arg-type]
            kept = int(np.searchsorted(ranked, -found.threshold, side="right"))
            broken[name] += bool(kept) and risk[kept - 1] > 0.03
    assert broken["blocks"] <= most_often(0.05, 100)
    assert broken["samples"] > 2 * most_often(0.05, 100)


def test_a_block_counts_once_whatever_its_size() -> None:
    score, right, upstream = stream(300, np.random.default_rng(10))
    loss = (right != upstream).astype(float)
    sizes = np.random.default_rng(11).integers(1, 6, 300)
    copies = np.repeat(np.arange(300), sizes)
    alone = fit_threshold(score, loss, Promise(0.1), "hoeffding-bentkus")
    blocks = fit_threshold(score[copies], loss[copies], Promise(0.1), "hoeffding-bentkus", block=copies)
    assert (blocks.threshold, blocks.lost, blocks.blocks, alone.blocks) == (
        alone.threshold,
        pytest.approx(alone.lost),
        300,
        0,
    )
    assert blocks.samples == sizes.sum()
    with pytest.raises(DataError, match="each of 300 samples is of one block"):
        fit_threshold(score, loss, Promise(0.1), "betting", block=np.zeros(3))


def test_what_is_lost_may_lie_exactly_at_epsilon_for_one_who_knows() -> None:
    score, loss = np.linspace(1, 0, 1000), np.zeros(1000)
    loss[[100, 200, 300]] = 1.0
    assert oracle_offload(score, loss, 0.002) == pytest.approx(0.7)
    np.testing.assert_allclose(offloads_at(score, loss, np.array([0.0, 0.001, 0.003])), [0.9, 0.8, 0.0])


def test_one_sample_less_than_the_least_is_too_few() -> None:
    with pytest.raises(DataError, match="298 samples are too few") as raised:
        fit_agreement(np.linspace(0, 1, 298), np.zeros(298, bool), Promise(0.01))
    assert "About 1 more" in raised.value.remedy

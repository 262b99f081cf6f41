"""What `calibrate` chooses keeps its promise on a population that is known, at a price that is bounded."""

from collections import Counter

import numpy as np
import pytest
from tests.routing.fitting.streams import LABELS, Stream, Truth, drawn

from edgewise.measure.intervals import binomial_at_most
from edgewise.routing.fitting import Calibrated, Wanted, calibrate
from edgewise.routing.risk import Promise

POPULATION = 60_000
SAMPLES = 3000


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(drawn(POPULATION, 8))


def fitted(stream: Stream, wanted: Wanted, seed: int, variants: tuple[str, ...], labels: bool) -> Calibrated:
    recorded = [each for each in stream.recorded if each.variant in variants]
    return calibrate(
        recorded, stream.upstream, wanted, task="classification", decision="y", labels=LABELS, y=stream.y if labels else None,
        seed=seed,
    )  # fmt: skip


def drawn_often(
    truth: Truth, wanted: Wanted, draws: int, variants: tuple[str, ...], *, labels: bool = False
) -> tuple[int, float, float, Counter[str]]:
    """How often the promise was broken; mean offload, and the oracle's by the same score; who was chosen."""
    chance, broken, offload, oracle, chosen = np.random.default_rng(5), 0, [], [], Counter[str]()
    for seed in range(draws):
        fit = fitted(truth.stream.some(chance.integers(0, POPULATION, SAMPLES)), wanted, seed, variants, labels).chosen
        passed, lost = truth.of(fit)
        broken += lost > wanted.promise.epsilon
        offload.append(passed)
        chosen[fit.name] += 1
        if len(fit.stages) == 1 and seed < 10:
            oracle.append(truth.oracle(fit, wanted.promise.epsilon))
    return broken, float(np.mean(offload)), float(np.mean(oracle or [0])), chosen


def most_often(draws: int) -> int:
    """More of them are broken in one of a thousand runs, if each is with a chance of 5 %."""
    return next(k for k in range(draws) if binomial_at_most(k, draws, 0.05) > 0.999)


@pytest.mark.parametrize(("epsilon", "price"), [(0.005, 1.4), (0.01, 1.3), (0.02, 1.3)])
def test_one_rule_keeps_its_promise_at_a_bounded_price(truth: Truth, epsilon: float, price: float) -> None:
    wanted = Wanted(Promise(epsilon), against="agreement", rules=("max-probability",))
    broken, offload, oracle, _ = drawn_often(truth, wanted, 40, ("big",))
    assert broken <= most_often(40)
    assert oracle < offload <= price * oracle


def test_choosing_variant_and_rule_costs_the_promise_nothing(truth: Truth) -> None:
    wanted = Wanted(Promise(0.02), against="agreement", rules=("max-probability", "margin"))
    broken, offload, oracle, chosen = drawn_often(truth, wanted, 12, ("small", "big"))
    assert broken <= most_often(12)
    assert offload <= 1.3 * oracle
    assert chosen["big"] == 12  # twice as many of the small one's answers differ, and its time is not what counts


def test_two_variants_in_turn_keep_one_promise(truth: Truth) -> None:
    wanted = Wanted(Promise(0.02), against="agreement", rules=("max-probability",), cascade=True)
    broken, offload, _, chosen = drawn_often(truth, wanted, 8, ("small", "big"))
    assert broken <= most_often(8)
    assert offload < 0.25
    assert chosen["small -> big"] > 5


@pytest.mark.long
@pytest.mark.parametrize("epsilon", [0.005, 0.01, 0.02])
@pytest.mark.parametrize(
    ("against", "rules", "variants", "cascade", "draws"),
    [
        ("agreement", ("max-probability",), ("big",), False, 1000),
        ("gap", ("max-probability",), ("small",), False, 1000),
        ("gap", ("max-probability",), ("big",), False, 1000),
        ("auto", ("max-probability", "margin", "entropy"), ("small", "big"), False, 300),
        ("agreement", ("max-probability", "margin"), ("small", "big"), True, 300),
    ],
)
def test_the_promise_is_broken_in_no_more_draws_than_it_says(
    truth: Truth, against: str, rules: tuple[str, ...], variants: tuple[str, ...], cascade: bool, draws: int, epsilon: float
) -> None:  # fmt: skip
    wanted = Wanted(Promise(epsilon), against=against, rules=rules, cascade=cascade)  # type: ignore[arg-type]
    broken, _, _, _ = drawn_often(truth, wanted, draws, variants, labels=against != "agreement")
    assert broken <= most_often(draws)

"""An audit claims a break no more often than it says while the promise holds, and finds one soon where it does not."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.watch.streams import alarms, audited, most_often

from edgewise.errors import DocumentError, InputError
from edgewise.routing.watch.audit import Audit, begin_audit, read_audit

RISKS = st.sampled_from([0.0, 0.002, 0.01, 0.019, 0.02])


def somewhere(seed: int, way: str, inputs: int, risk: float = 0.03) -> Audit:
    """A state that a stream of this risk leads to: fortunes large and small, either share, anywhere in a block."""
    audit = begin_audit(0.02, share=0.1, way=way, closer=0.4, alpha=1e-9)  # type: ignore[arg-type]
    return audited(audit, risk, inputs, np.random.default_rng(seed))[0]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 1000), inputs=st.integers(0, 2000), way=st.sampled_from(["never", "spending"]), risk=RISKS,
    kept=st.sampled_from([1.0, 0.6]),
)  # fmt: skip
def test_no_input_gains_anything_on_the_mean_while_the_promise_holds(
    seed: int, inputs: int, way: str, risk: float, kept: float
) -> None:
    """The one law that everything rests on, exactly: over coin and answer, the fortune does not grow."""
    audit = somewhere(seed, way, inputs)
    found = kept * audit.share  # chance of an audit
    wrong = audit.observe(kept=True, audited=True, disagree=True).e_value
    right = audit.observe(kept=True, audited=True, disagree=False).e_value
    unseen = audit.observe(kept=True, audited=False).e_value
    passed = audit.observe(kept=False, audited=False).e_value
    error = risk / kept  # among the kept ones: over all inputs it is ``risk``
    mean = found * error * wrong + found * (1 - error) * right + kept * (1 - audit.share) * unseen + (1 - kept) * passed
    assert mean <= audit.e_value * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), inputs=st.integers(0, 2000))
def test_at_the_promised_risk_nothing_is_lost_either(seed: int, inputs: int) -> None:
    """Else the audit would be blinder than it need be: bets are fair, at both shares."""
    audit = somewhere(seed, "never", inputs)
    hit = audit.share * 0.02
    wrong, right = (audit.observe(kept=True, audited=True, disagree=other).e_value for other in (True, False))
    assert hit * wrong + (1 - hit) * right == pytest.approx(audit.e_value, rel=1e-9)


@pytest.mark.parametrize("way", ["spending", "never"])
@pytest.mark.parametrize("risk", [0.01, 0.007])
def test_a_break_is_claimed_falsely_no_more_often_than_it_says(way: str, risk: float) -> None:
    count = alarms(partial(begin_audit, 0.01, way=way), risk, 15_000, 300)
    assert count <= most_often(0.05, 300)
    if risk == 0.01:
        assert count > 0  # the bound is not idle


@pytest.mark.long
@pytest.mark.parametrize(("epsilon", "share"), [(0.01, 0.02), (0.02, 0.02), (0.005, 0.05), (0.05, 0.01)])
@pytest.mark.parametrize("part", [1.0, 0.9, 0.7, 0.4])
def test_over_two_thousand_long_runs_too(epsilon: float, share: float, part: float) -> None:
    inputs = round(20 / (share * epsilon))
    assert alarms(partial(begin_audit, epsilon, share=share), part * epsilon, inputs, 2000) <= most_often(0.05, 2000)


def test_running_alarms_are_as_far_apart_as_it_says() -> None:
    make = partial(begin_audit, 0.01, 0.1, way="running")
    waits = [audited(make(), 0.01, 1_000_000, np.random.default_rng(run))[1] for run in range(150)]
    assert make().plan.restarts.run_length == pytest.approx(1250 * 9)
    assert np.mean(waits) - 3 * np.std(waits) / math.sqrt(150) > make().plan.restarts.run_length


def delay(make: Callable[[], Audit], good: int, risk: float, runs: int = 30) -> float:
    """Median of the inputs until a break is found that comes after so many good ones."""
    waits = []
    for run in range(runs):
        chance = np.random.default_rng(run)
        audit, _ = audited(make(), 0.005, good, chance)
        if not audit.broken:
            waits.append(audited(audit, risk, 1_000_000, chance)[1])
    assert len(waits) > 0.9 * runs
    return float(np.median(waits))


def test_a_break_is_found_soon_and_sooner_the_worse_it_is() -> None:
    at_once = [delay(partial(begin_audit, 0.01), 0, risk) for risk in (0.02, 0.06, 0.3)]
    assert at_once[0] < 20_000
    assert at_once[1] < 2_000
    assert at_once[2] < 400


def test_a_break_after_a_long_good_time_is_found_soon_by_who_begins_anew() -> None:
    anew, never = (delay(partial(begin_audit, 0.01, way=way), 100_000, 0.06) for way in ("spending", "never"))
    assert anew < 3_000
    assert never > 1.5 * anew


def test_looking_closer_finds_a_break_sooner_and_costs_little_in_good_times() -> None:
    closer, steady = (delay(partial(begin_audit, 0.01, closer=share), 100_000, 0.06) for share in (0.2, 0.02))
    assert closer < steady / 2
    asked = inputs = 0
    for run in range(50):
        audit, seen = begin_audit(0.01), 0
        chance = np.random.default_rng(run)
        for _ in range(100):
            asked += audit.room * audit.share
            audit, seen = audited(audit, 0.005, audit.room, chance)
            inputs += seen
    assert asked / inputs < 0.03


def test_what_is_guessed_of_the_risk_is_right_whatever_is_kept() -> None:
    """Disagreement is where little is kept, the share changes with the evidence: the weights make up for it."""
    guesses = []
    for run in range(200):
        chance = np.random.default_rng(run)
        audit = begin_audit(0.05, share=0.1, closer=0.5, wary=1.5)
        for surprise, coin, other in chance.random((300, 3)).tolist():
            kept = surprise < 0.8
            seen = kept and coin < audit.share
            audit = audit.observe(kept, seen, (other < (0.3 if surprise < 0.2 else 0.01)) if seen else None)
        guesses.append(audit.risk)
    error = np.std(guesses) / math.sqrt(len(guesses))
    assert abs(np.mean(guesses) - (0.2 * 0.3 + 0.6 * 0.01)) < 3 * error
    assert error < 0.004
    assert math.isnan(begin_audit(0.05).risk)


def test_answers_that_come_late_or_never_raise_no_alarm_that_they_would_not_have_raised_in_time() -> None:
    for run in range(15):
        chance = np.random.default_rng(run)
        prompt = late = begin_audit(0.02, share=0.3, closer=0.3)
        waiting: list[tuple[int, bool, Any]] = []
        for at in range(600):
            seen, other = chance.random() < 0.3, bool(chance.random() < 0.1)
            waiting += [(at + int(chance.integers(0, 80)), other, late.ticket)] if seen else []
            prompt, late = prompt.observe(True, seen, other if seen else None), late.observe(True, seen)
            for due, answer, ticket in [item for item in waiting if item[0] == at]:
                late = late.heard(answer, ticket)
                waiting.remove((due, answer, ticket))
            assert late.e_value <= prompt.e_value * (1 + 1e-9)
        for _, answer, ticket in waiting:
            late = late.heard(answer, ticket)
        assert late.e_value <= prompt.e_value * (1 + 1e-9)
        assert late.audited == prompt.audited


@pytest.mark.parametrize("closer", [False, True])
def test_a_disagreement_that_is_a_block_late_pays_only_what_was_betting_then(closer: bool) -> None:
    audit = replace(begin_audit(0.02, share=0.1, closer=0.3), close_now=closer)
    ticket = audit.ticket
    audit = audit.observe(True, True)
    later = audit.unaudited(audit.room)
    assert later.block == 1
    in_time = replace(audit.heard(True, ticket), close_now=closer).unaudited(audit.room)
    assert later.heard(True, ticket).e_value == pytest.approx(in_time.e_value)
    too_late = later.unaudited(later.room)
    assert too_late.heard(True, ticket).e_value == too_late.e_value
    assert too_late.heard(True, ticket).disagreed == 1


def test_many_inputs_at_once_are_as_one_after_the_other() -> None:
    one = many = begin_audit(0.05, share=0.2)
    for _ in range(137):
        one = one.observe(True, False)
    assert many.unaudited(137) == one
    assert one.inputs == 137
    assert one.block > 1


def test_an_alarm_stays() -> None:
    audit = begin_audit(0.01)
    while not audit.broken:
        audit = audit.observe(True, True, True)
    assert audit.disagreed <= 5
    assert audit.e_value >= 20
    assert audit.likely > 0.1
    after = audit.unaudited(200_000)
    assert after.broken
    assert after.e_value < 20
    assert after.observe(True, True, True).broken
    for _ in range(2000):  # and no number runs over
        after = after.observe(True, True, True)
    assert math.isfinite(after.e_value)


def test_only_what_was_kept_is_audited() -> None:
    for wrong in ((False, True, None), (True, False, True), (False, False, False)):
        with pytest.raises(InputError, match="only a kept input is audited"):
            begin_audit(0.01).observe(*wrong)


@pytest.mark.parametrize(
    "wrong", [{"epsilon": 0.0}, {"share": 0.0}, {"share": 0.5}, {"closer": 1.0}, {"wary": 1.0}, {"alpha": 0.0}]
)
def test_what_cannot_be_audited_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        begin_audit(**{"epsilon": 0.01, **wrong})  # type: ignore[arg-type]


def test_a_restart_forgets_nothing() -> None:
    audit = somewhere(3, "spending", 1234)
    assert audit.disagreed > 0
    again = read_audit(json.loads(json.dumps(audit.to_json())))
    assert again == audit
    assert audited(again, 0.1, 500, np.random.default_rng(0)) == audited(audit, 0.1, 500, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", 0), ("epsilon", "0.1"), ("share", 2), ("closer", 0.01), ("wary", 1), ("restarts", None),
        ("restarts", {"way": "never", "length": 0, "alpha": 0.1}), ("fortunes", [1] * 7), ("fortunes", [-1] + [1] * 7),
        ("fortunes", [1e300] * 8), ("doubts", [True] * 8), ("doubts", ["a"] * 8), ("block", -1), ("block", 2**60),
        ("usual", 10**6), ("hits", [10**6, 0]), ("hits", [0]),
        ("hits", [-1, 0]), ("disagreed", 10**9), ("lost", -1), ("lost", None), ("closeNow", 0),
        ("broken", None),
    ],
)  # fmt: skip
def test_a_state_from_a_disk_is_not_believed(field: str, value: Any) -> None:
    good = somewhere(3, "spending", 1234).to_json()
    with pytest.raises(DocumentError):
        read_audit({**good, field: value})
    with pytest.raises(DocumentError):
        read_audit({name: item for name, item in good.items() if name != field})


def test_what_is_no_object_is_refused() -> None:
    for wrong in (None, [], 3, "audit", {}):
        with pytest.raises(DocumentError):
            read_audit(wrong)


def test_nothing_is_changed_in_place() -> None:
    audit = begin_audit(0.01)
    before = replace(audit)
    audit.observe(True, True, True)
    audit.unaudited(5000)
    assert audit == before

"""What a watch decides, in each mode and on each event; what it reports; and that it forgets what it must."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.watch.streams import drive

from edgewise.errors import DocumentError, InputError
from edgewise.routing.watch.drift import sketch
from edgewise.routing.watch.events import (
    AUDIT,
    DEFER,
    KEEP,
    Broken,
    Event,
    Fitted,
    Learnt,
    Refit,
    Resumed,
    Seen,
    Trusted,
)
from edgewise.routing.watch.pairs import allowed
from edgewise.routing.watch.stored import read_watch, watch_to_json
from edgewise.routing.watch.widen import TABLE, Pairs, Terms, Watch, begin_watch, fit_exactly, step

TERMS = Terms(0.05, samples=100)
DRAWN = sketch(np.random.default_rng(0).random(500), np.random.default_rng(1))


def learnt(watch: Watch, count: int, score: float = 0.9, disagree: bool = False) -> tuple[Watch, list[Any]]:
    todo: list[Any] = []
    for _ in range(count):
        watch, more = watch.learnt(score, disagree, watch.ticket)
        todo += more
    return watch, todo


def broken(terms: Terms = TERMS) -> tuple[Watch, Broken]:
    """Audits that all disagree."""
    watch = begin_watch(terms, 0.5, DRAWN)
    while True:
        watch, verdict, ticket, _ = watch.decide(0.9, 0.0)
        assert verdict == AUDIT
        watch, todo = watch.learnt(0.9, True, ticket)
        if todo:
            (report,) = todo
            return watch, report


def test_who_starts_from_nothing_defers_all_and_learns_from_what_upstream_says() -> None:
    watch = begin_watch(TERMS)
    assert (watch.mode, watch.threshold) == ("learning", math.inf)
    assert watch.decide(1e9, 0.0)[1] == DEFER
    watch, todo = learnt(watch, 99)
    assert todo == []
    watch, (refit,) = learnt(watch, 1)
    assert isinstance(refit, Refit)
    assert (refit.scores.shape, refit.disagreed.sum(), refit.epsilon) == ((100,), 0, 0.05)
    assert learnt(watch, 50) == (watch, [])  # while that is fitted, nothing is added
    watch, (report,) = watch.fitted(fit_exactly(refit))
    assert watch.mode == "keeping"
    assert isinstance(report, Trusted)
    assert (report.threshold, report.samples, report.offload) == (0.9, 100, 0)
    assert "learnt from 100 answers" in report.text
    assert [watch.decide(score, 0.5)[1] for score in (0.9, 0.89)] == [KEEP, DEFER]


def test_a_threshold_of_a_calibration_is_kept_from_the_first_input_on() -> None:
    watch = begin_watch(TERMS, 0.5, DRAWN)
    verdicts = [watch.decide(*given)[1] for given in ((0.5, 0.5), (0.5, 0.019), (0.49, 0.5), (0.49, 0.0))]
    assert verdicts == [KEEP, AUDIT, DEFER, DEFER]
    assert begin_watch(TERMS, math.inf).mode == "learning"
    with pytest.raises(InputError, match="a threshold is a number"):
        begin_watch(TERMS, math.nan)


def test_a_rule_with_several_thresholds_says_itself_what_it_keeps_while_they_are_those_of_the_calibration() -> None:
    watch = begin_watch(TERMS, 0.5, DRAWN)
    assert [watch.decide(0.9, 0.5, kept)[1] for kept in (True, False, None)] == [KEEP, DEFER, KEEP]
    own, _ = learnt(begin_watch(TERMS), 100)
    own, _ = own.fitted(Fitted(0.5))
    assert [own.decide(0.9, 0.5, kept)[1] for kept in (True, False, None)] == [KEEP, KEEP, KEEP]


def test_a_break_defers_the_very_next_input_and_is_reported_with_its_numbers() -> None:
    watch, report = broken()
    assert watch.mode == "broken"
    assert [watch.decide(1e9, coin, True)[1] for coin in (0.0, 0.5)] == [DEFER, DEFER]
    assert report.cause == "audit"
    assert report.e_value >= report.bar == pytest.approx(20)
    assert report.audited == report.disagreed == report.inputs
    assert report.likely > 0.05
    assert "are not upstream's" in report.text
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["eValue"] == report.e_value


def test_after_a_break_nothing_that_was_known_before_is_used() -> None:
    before = begin_watch(TERMS, 0.5, DRAWN)
    old = before.decide(0.9, 0.0)[2]
    watch, _ = broken()
    assert watch.learnt(0.9, False, old) == (watch, ())  # decided under the old threshold, heard now
    watch, todo = learnt(watch, 1)
    assert (watch.mode, len(watch.pairs.scores), todo) == ("learning", 1, [])
    watch, (refit,) = learnt(watch, 99)
    assert len(refit.scores) == 100
    watch, (report,) = watch.fitted(Fitted(0.8, 0.1, 0.0))
    assert isinstance(report, Trusted)
    assert watch.audit is not None
    assert (watch.audit.inputs, watch.audit.e_value) == (0, pytest.approx(1))
    assert watch.drift is not None
    assert watch.drift.inputs == 0
    assert not watch.given


def test_scores_that_changed_widen_as_well_or_are_reported_alone() -> None:
    for on_drift, mode in (("widen", "broken"), ("report", "keeping")):
        watch = begin_watch(replace(TERMS, on_drift=on_drift), 0.5, DRAWN)
        reports: list[Any] = []
        for at in range(1000):
            watch, _, _, todo = watch.decide(0.01 * (at % 50), 0.5)
            reports += todo
        assert watch.mode == mode
        (report,) = reports
        assert (report.cause, report.widened) == ("drift", on_drift == "widen")
        assert report.rank < 0.4
        assert "less sure" in report.text
        assert report.to_json()["likely"] is None


def test_without_a_sketch_only_audits_watch() -> None:
    watch = begin_watch(TERMS, 0.5)
    for _ in range(1000):
        watch, _, _, todo = watch.decide(0.6, 0.5)
        assert todo == ()
    assert watch.drift is None


def test_a_broken_promise_waits_for_a_person_where_the_terms_say_so() -> None:
    watch, _ = broken(replace(TERMS, returns=False))
    assert learnt(watch, 10) == (watch, [])
    watch, todo = watch.resumed()
    assert (watch.mode, todo) == ("learning", ())
    assert watch.resumed() == (watch, ())


def test_where_nothing_can_be_kept_more_is_learnt_from_and_the_chance_is_divided() -> None:
    watch, sizes = begin_watch(TERMS), []
    for _ in range(4):
        todo: list[Any] = []
        while not todo:
            watch, todo = learnt(watch, 1, disagree=True)
        sizes.append(len(todo[0].scores))
        found = fit_exactly(todo[0])
        assert found.threshold == math.inf
        watch, todo = watch.fitted(found)
        assert todo == ()
        assert watch.mode == "learning"
    assert sizes == [100, 200, 400, 800]
    assert sum(TERMS.chance(tries) for tries in range(100_000)) == pytest.approx(0.05, rel=1e-4)
    assert sum(TERMS.chance(tries) for tries in range(100_000)) < 0.05


def test_there_is_an_end_to_what_is_held() -> None:
    terms = Terms(0.01, samples=50_000)
    watch = replace(begin_watch(terms), pairs=Pairs((0.5,) * 60_000, (True,) * 60_000, tries=3, fitting=True))
    watch, _ = watch.fitted(Fitted(math.inf))
    assert len(watch.pairs.scores) == len(watch.pairs.disagreed) == 30_000
    assert terms.pairs(40) == 60_000


@pytest.mark.parametrize("epsilon", [0.005, 0.01, 0.02, 0.1, 0.5])
def test_the_number_to_learn_from_can_always_keep_something(epsilon: float) -> None:
    terms = Terms(epsilon)
    assert all(allowed(terms.pairs(tries), epsilon, terms.chance(tries)) >= 0 for tries in (0, 1, 2, 5, 12, 30))
    few = Terms(epsilon, samples=32)
    assert all(allowed(few.pairs(tries), epsilon, few.chance(tries)) >= 0 for tries in (0, 1, 2, 5, 12, 30))


def test_too_few_samples_for_any_threshold_keep_nothing() -> None:
    refit = Refit(np.linspace(0, 1, 50), np.zeros(50, bool), 0.01, 0.05)
    assert fit_exactly(refit) == Fitted(math.inf)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_never_kept(score: float) -> None:
    watch = begin_watch(TERMS, -1e9, DRAWN)
    for kept in (None, True):
        after, verdict, _, _ = watch.decide(score, 0.0, kept)
        assert verdict == DEFER
        assert all(math.isfinite(item) for item, _ in after.put_by)
    watch, _ = learnt(begin_watch(TERMS), 1, score)
    assert all(map(math.isfinite, watch.pairs.scores))


def test_scores_that_never_come_as_numbers_are_a_change() -> None:
    watch, reports = begin_watch(TERMS, 0.0, DRAWN), []
    for _ in range(200):
        watch, _, _, todo = watch.decide(math.nan, 0.5)
        reports += todo
    assert [report.cause for report in reports] == ["drift"]


def test_what_upstream_says_of_deferred_inputs_is_no_evidence_on_kept_ones() -> None:
    watch = begin_watch(TERMS, 0.5, DRAWN)
    watch, verdict, ticket, _ = watch.decide(0.1, 0.0)
    assert verdict == DEFER
    assert watch.learnt(0.1, True, ticket) == (watch, ())


def test_an_event_that_does_not_belong_to_a_mode_changes_nothing() -> None:
    for watch in (begin_watch(TERMS), begin_watch(TERMS, 0.5), broken()[0]):
        assert watch.fitted(Fitted(0.1)) == (watch, ())
    assert begin_watch(TERMS).resumed() == (begin_watch(TERMS), ())
    assert set(TABLE.values()) == {"learning", "keeping", "broken"}


def events(seed: int) -> list[Event]:
    """A log as a device has it: some change, upstream away at times, answers late."""
    chance = np.random.default_rng(seed)
    watch, log, waiting = begin_watch(replace(TERMS, share=0.2)), [], []
    for at in range(1500):
        score = float(chance.beta(4 if at < 800 else 2, 1))
        event: Event = Seen(score, float(chance.random()))
        log.append(event)
        after, verdict, ticket, _ = watch.decide(event.score, event.coin)
        watch = after
        if verdict != KEEP and chance.random() < 0.9:
            waiting.append(
                (at + int(chance.integers(0, 20)), Learnt(score, bool(chance.random() > score**0.3), ticket))
            )
        for _, answer in [item for item in waiting if item[0] <= at]:
            log.append(answer)
            watch, todo = watch.learnt(answer.score, answer.disagree, answer.ticket)
            for refit in (item for item in todo if isinstance(item, Refit)):
                log.append(fit_exactly(refit))
                watch, _ = watch.fitted(log[-1])
        waiting = [item for item in waiting if item[0] > at]
    return [*log, Resumed()]


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 100), cut=st.integers(0, 2500))
def test_replay_of_the_log_gives_the_state_and_a_restart_at_any_point_changes_nothing(seed: int, cut: int) -> None:
    log, one = events(seed), begin_watch(replace(TERMS, share=0.2))
    other, said, again = one, [], []
    for at, event in enumerate(log):
        one, first = step(one, event)
        if at == cut and not other.pairs.fitting:
            other = read_watch(json.loads(json.dumps(watch_to_json(other), allow_nan=False)))
        other, second = step(other, event)
        said += [item for item in first if not isinstance(item, Refit)]
        again += [item for item in second if not isinstance(item, Refit)]
    assert said == again
    assert one == other
    assert any(isinstance(item, Trusted) for item in said)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_putting_scores_by_changes_no_evidence(seed: int) -> None:
    """The audit of a watch is what it would be if each input were observed at once, at the share its coin was held against."""
    chance = np.random.default_rng(seed)
    watch = begin_watch(Terms(0.02, share=0.3, closer=0.6), 0.3)
    assert watch.audit is not None
    audit = watch.audit
    for score, coin, other in chance.random((400, 3)).tolist():
        share = audit.share
        assert watch.share == share
        watch, verdict, ticket, _ = watch.decide(score, coin)
        assert verdict == (DEFER if score < 0.3 else AUDIT if coin < share else KEEP)
        disagree = other < 0.01
        audit = audit.observe(verdict != DEFER, verdict == AUDIT, disagree if verdict == AUDIT else None)
        if verdict == AUDIT:
            watch, _ = watch.learnt(score, disagree, ticket)
        if audit.broken:
            assert watch.mode == "broken"
            return
    assert watch.audit is not None
    assert watch.audit.unaudited(len(watch.put_by)) == audit


def test_a_refit_that_was_out_at_a_restart_is_asked_for_again() -> None:
    watch, (refit,) = learnt(begin_watch(TERMS), 100)
    again = read_watch(json.loads(json.dumps(watch_to_json(watch))))
    assert again.fitted(Fitted(0.5)) == (again, ())
    again, (second,) = learnt(again, 1)
    assert isinstance(second, Refit)
    assert len(second.scores) == len(refit.scores) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": 0.0}, {"delta": 1.0}, {"alpha": 0.0}, {"share": 0.3}, {"drift_alpha": 2.0}, {"samples": 10},
        {"samples": 10**6}, {"on_drift": "panic"},
    ],
)  # fmt: skip
def test_terms_that_cannot_be_kept_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="terms of a watch"):
        Terms(**{"epsilon": 0.01, **wrong})
    good, written = watch_to_json(begin_watch(Terms(0.01))), {"drift_alpha": "driftAlpha", "on_drift": "onDrift"}
    with pytest.raises(DocumentError):
        read_watch(
            {**good, "terms": {**good["terms"], **{written.get(name, name): item for name, item in wrong.items()}}}
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("form", 2), ("terms", None), ("mode", "asleep"), ("mode", "learning"), ("threshold", None), ("threshold", "high"),
        ("given", 1), ("stretch", -1), ("audit", None), ("audit", {}), ("drift", 7), ("pairs", None),
        ("pairs", {"scores": [1.0], "disagreed": [], "tries": 0}), ("pairs", {"scores": [1.0], "disagreed": [2], "tries": 0}),
        ("pairs", {"scores": [1.0], "disagreed": [1], "tries": 0}), ("putBy", [[1.0]]), ("putBy", [[1.0, 2.0]]),
        ("putBy", [[1.0, 0.5]] * 17),
    ],
)  # fmt: skip
def test_a_state_from_a_disk_is_not_believed(field: str, value: Any) -> None:
    watch = begin_watch(TERMS, 0.5, DRAWN).decide(0.7, 0.5)[0]
    good = watch_to_json(watch)
    assert read_watch(good) == watch
    with pytest.raises(DocumentError):
        read_watch({**good, field: value})
    with pytest.raises(DocumentError):
        read_watch({name: item for name, item in good.items() if name != field})


def test_a_state_whose_parts_do_not_belong_together_is_refused() -> None:
    keeping, learning = watch_to_json(begin_watch(TERMS, 0.5, DRAWN)), watch_to_json(begin_watch(TERMS))
    other = watch_to_json(begin_watch(replace(TERMS, epsilon=0.1), 0.5, DRAWN))
    for wrong in (
        {**keeping, "audit": other["audit"]}, {**learning, "audit": keeping["audit"]}, {**learning, "drift": keeping["drift"]},
        {**learning, "putBy": [[0.5, 0.5]]}, {**learning, "threshold": 0.5}, None, [], {},
    ):  # fmt: skip
        with pytest.raises(DocumentError):
            read_watch(wrong)


def test_a_device_that_answers_loads_nothing_that_measures() -> None:
    code = (
        "import sys, edgewise.routing.watch.stored; "
        "print([name for name in sys.modules if name.startswith(('edgewise.measure', 'edgewise.training', 'onnx', 'urllib3'))])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_stream_that_never_agrees_is_kept_no_more_than_is_promised() -> None:
    chance = np.random.default_rng(0)
    _, kept, _ = drive(begin_watch(TERMS), chance.random(5000), np.ones(5000, bool), chance)
    assert kept.mean() < 0.05
    watch, kept, reports = drive(begin_watch(TERMS), np.full(5000, 0.5), np.ones(5000, bool), chance)
    assert (watch.mode, kept.any(), reports) == ("learning", False, [])

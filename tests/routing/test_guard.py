"""The watch over a promise, driven by a node: audits by the way, breaks that widen deferral, thresholds learnt from upstream."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.clock import SystemClock
from edgewise.compose.demo import digits_data
from edgewise.compose.loading import load
from edgewise.errors import NetworkError
from edgewise.routing.breaker import Breaker
from edgewise.routing.egress import NamedAlone
from edgewise.routing.guard import Guard, Report
from edgewise.routing.link import Link
from edgewise.routing.losses import Classes
from edgewise.routing.node import Node
from edgewise.routing.rules import read_rule
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Question, Reply
from edgewise.routing.upstreams.node import SessionUpstream
from edgewise.routing.watch.events import Broken, Trusted
from edgewise.routing.watch.stored import read_watch, watch_to_json
from edgewise.routing.watch.widen import Terms, Watch, begin_watch
from edgewise.runtime.route import Answered
from edgewise.runtime.session import Session

CLOCK = SystemClock()


class Contrary:
    """Upstream that says what the device says, but for a share of inputs."""

    name, leaves = "contrary", True

    def __init__(self, session: Session, share: float) -> None:
        self.inner, self.share, self.chance = SessionUpstream(session, "cloud"), share, random.Random(1)
        self.asked, self.fault = 0, False

    def describe(self, until: float, cancel: Any) -> Any:
        return self.inner.describe(until, cancel)

    def ask(self, question: Question, cancel: Any) -> Reply:
        if self.fault:
            raise NetworkError("gone")
        self.asked += question.rows
        reply = self.inner.ask(question, cancel)
        scores = np.array(reply.outputs[question.decision])
        for row in range(question.rows):
            if self.chance.random() < self.share:
                scores[row] = np.roll(scores[row], 1)
        return Reply({question.decision: scores}, (Answered("cloud", "large"),) * question.rows)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def session(digits_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with load(digits_bundle, unsafe_no_verification=True, home=tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def images() -> Any:
    return digits_data("eval").x


def node_of(
    session: Session,
    upstream: Contrary,
    watch: Watch,
    threshold: float,
    reports: list[Report],
    keep: Callable[[Watch], None],
) -> Node:
    rule = read_rule({"name": "max-probability", "of": {"output": session.origin.decision, "form": "probabilities"}})
    link = Link(upstream, NamedAlone(upstream.name), CLOCK, node="device", breaker=Breaker(failures=1000))
    guard = Guard(watch, Classes().disagree, random.Random(0).random, report=reports.append, keep=keep)
    return Node([Stage(session, rule, threshold)], link, ident="device", guard=guard, deadline=5.0)


def run(node: Node, images: Any, count: int) -> list[Any]:
    return [node.predict(images[at % len(images)]) for at in range(count)]


def settle(until: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.perf_counter() + seconds
    while not until() and time.perf_counter() < end:
        time.sleep(0.01)
    assert until()


def test_while_the_promise_holds_some_of_what_is_kept_is_compared_and_nothing_changes(
    session: Session, images: Any
) -> None:
    upstream, reports = Contrary(session, 0.0), []
    watch = begin_watch(Terms(0.05, share=0.2), threshold=-1.0)
    node = node_of(session, upstream, watch, -1.0, reports, lambda state: None)
    answers = run(node, images, 300)
    assert not any(answer.deferred or answer.degraded for answer in answers)
    settle(lambda: upstream.asked > 20)
    assert not reports


def test_a_promise_that_breaks_widens_deferral_at_once_and_is_reported(session: Session, images: Any) -> None:
    upstream, reports, kept = Contrary(session, 0.5), [], []
    watch = begin_watch(Terms(0.02, share=0.2), threshold=-1.0)
    node = node_of(session, upstream, watch, -1.0, reports, kept.append)
    for _ in range(100):
        run(node, images, 20)
        if reports:
            break
    (report, *_) = reports
    assert isinstance(report, Broken)
    assert report.widened
    answer = node.predict(images[0])
    assert answer.deferred
    assert "cannot be reached" in answer.why
    assert kept
    assert node.guard is not None
    assert read_watch(watch_to_json(node.guard.watch)).mode in ("broken", "learning")


def test_from_nothing_a_threshold_is_learnt_from_what_upstream_answers(session: Session, images: Any) -> None:
    upstream, reports = Contrary(session, 0.0), []
    node = node_of(session, upstream, begin_watch(Terms(0.05, samples=100)), 9.0, reports, lambda state: None)
    assert node.guard is not None
    first = run(node, images, node.guard.watch.terms.pairs(0))
    assert all(answer.deferred for answer in first)
    settle(lambda: bool(reports))
    (report,) = reports
    assert isinstance(report, Trusted)
    asked = upstream.asked
    later = run(node, images, 100)
    assert sum(answer.deferred for answer in later) <= 20
    assert upstream.asked - asked <= 30


def test_a_batch_is_decided_row_by_row(session: Session, images: Any) -> None:
    upstream, reports = Contrary(session, 0.0), []
    node = node_of(session, upstream, begin_watch(Terms(0.05, samples=100)), 9.0, reports, lambda state: None)
    assert node.guard is not None
    count = node.guard.watch.terms.pairs(0)
    assert node.predict(images[:count]).deferred == [True] * count
    settle(lambda: bool(reports))
    assert sum(node.predict(images[count:]).deferred) <= 0.2 * (len(images) - count)


def test_while_upstream_is_away_nothing_is_learnt_and_answers_are_marked(session: Session, images: Any) -> None:
    upstream, reports = Contrary(session, 0.0), []
    upstream.fault = True
    node = node_of(session, upstream, begin_watch(Terms(0.05, samples=100)), 9.0, reports, lambda state: None)
    answers = run(node, images, 120)
    assert all(answer.degraded for answer in answers)
    assert not reports
    assert node.guard is not None
    assert node.guard.watch.pairs.scores == ()


def test_calm_answers_are_put_by_and_lead_to_the_same_state_as_one_by_one(session: Session) -> None:
    chance = np.random.default_rng(0)
    scores, coins = chance.random(500).tolist(), chance.random(500).tolist()
    drawn = iter(coins)
    state = begin_watch(Terms(0.05), threshold=0.3)
    guard = Guard(state, Classes().disagree, lambda: next(drawn))
    for at, (score, coin) in enumerate(zip(scores, coins, strict=True)):
        verdict, ticket = guard.decide(score, score >= 0.3)
        state, expected, stub, _ = state.decide(score, coin, score >= 0.3)
        assert (verdict, ticket) == (expected, stub)
        if at % 23 == 0:
            assert guard.watch == state
    assert guard.watch == state

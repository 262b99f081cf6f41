"""A chain of nodes over the wire: who answered, in what time, and that giving up reaches the far end."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewise.clock import SystemClock
from edgewise.compose.demo import digits_data
from edgewise.compose.loading import load
from edgewise.errors import NetworkError
from edgewise.net.cancel import Cancel
from edgewise.routing.egress import NamedAlone
from edgewise.routing.link import Link
from edgewise.routing.node import Node
from edgewise.routing.rules import read_rule
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Described, Question, Reply, Trail, Upstream
from edgewise.routing.upstreams.oip import OipUpstream
from edgewise.runtime.session import Session
from edgewise.testing.node_server import NodeServer

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def session(digits_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with load(digits_bundle, unsafe_no_verification=True, home=tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def images() -> Any:
    return digits_data("eval").x[:20]


def node_of(session: Session, upstream: Upstream | None, ident: str, threshold: float) -> Node:
    rule = read_rule({"name": "max-probability", "of": {"output": session.origin.decision, "form": "probabilities"}})
    labels = session.document.labels
    link = upstream and Link(upstream, NamedAlone(upstream.name), CLOCK, node=ident, labels=labels)
    return Node([Stage(session, rule, threshold)], link, ident=ident, tier=ident)


class Hanging:
    """Never answers, and notes what it was asked and that it was given up."""

    name, leaves = "hanging", False

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.given_up = threading.Event()

    def describe(self, _until: float, _cancel: Cancel) -> Described:
        return Described()

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        self.questions.append(question)
        cancel.on_set(self.given_up.set)
        self.given_up.wait(20)
        raise NetworkError("given up")

    def close(self) -> None:
        pass


def test_a_chain_over_the_wire_answers_from_its_end_and_says_who_did(session: Session, images: Any) -> None:
    cloud = node_of(session, None, "cloud", -1.0)
    with NodeServer(cloud) as far:
        gateway = node_of(session, OipUpstream(far.model_url), "gateway", 2.0)
        with NodeServer(gateway) as near:
            device = node_of(session, OipUpstream(near.model_url), "device", 2.0)
            answer = device.predict(images[0])
            assert (answer.label, answer.tier, answer.deferred, answer.degraded) == (
                session.predict(images[0]).label, "cloud", True, False,
            )  # fmt: skip
            assert {"device", "gateway", "cloud", "network"} <= set(answer.spent)
            batch = device.predict(images)
            assert batch.label == session.predict(images).label
            assert set(batch.tier) == {"cloud"}
            for node in (device, gateway):
                assert node.link is not None
                node.link.close()


def test_a_gateway_that_is_alone_marks_its_answers_all_the_way_down(session: Session, images: Any) -> None:
    with NodeServer(node_of(session, None, "gateway", 2.0)) as near:
        device = node_of(session, OipUpstream(near.model_url), "device", 2.0)
        answer = device.predict(images[0])
        assert (answer.deferred, answer.degraded, answer.tier) == (True, True, "gateway")
        assert "no upstream is named" in answer.why
        assert device.link is not None
        device.link.close()


def test_deadline_trail_and_giving_up_reach_the_far_end(session: Session, images: Any) -> None:
    end = Hanging()
    gateway = node_of(session, end, "gateway", 2.0)
    with NodeServer(gateway) as near:
        device = node_of(session, OipUpstream(near.model_url), "device", 2.0)
        start = time.perf_counter()
        answer = device.predict(images[0], deadline=1.0)
        assert answer.degraded or "in time" in answer.why
        assert time.perf_counter() - start < 2.0
        (question,) = end.questions
        assert question.trail == Trail(("device", "gateway"), 2)
        assert question.until - start < 1.1
        end.questions.clear()
        end.given_up.clear()
        cancel = Cancel()
        threading.Timer(0.2, cancel.set).start()
        assert device.predict(images[0], deadline=15.0, cancel=cancel).degraded
        assert end.given_up.wait(5), "the gateway's own question is given up when the device hangs up"
        assert device.link is not None
        device.link.close()


def test_two_nodes_that_ask_each_other_end_with_an_answer(session: Session, images: Any) -> None:
    class Later:
        name, leaves = "later", True
        to: OipUpstream

        def describe(self, until: float, cancel: Cancel) -> Described:
            return self.to.describe(until, cancel)

        def ask(self, question: Question, cancel: Cancel) -> Reply:
            return self.to.ask(question, cancel)

        def close(self) -> None:
            self.to.close()

    later = Later()
    first = node_of(session, later, "a", 2.0)
    with NodeServer(first) as one, NodeServer(node_of(session, OipUpstream(one.model_url), "b", 2.0)) as two:
        later.to = OipUpstream(two.model_url)
        answer = first.predict(images[0], deadline=5.0)
        assert answer.degraded
        assert "loop" in answer.why
        later.close()

"""The way upstream: in time, given up, left alone, refused; and chains of nodes."""

import threading
import time
from typing import Any

from tests.routing.nodes import Moved, Oracle, node_of

from edgewise.errors import NetworkError, RefusedError
from edgewise.net.cancel import Cancel
from edgewise.routing.breaker import Breaker
from edgewise.routing.upstream import Question, Reply, Trail
from edgewise.routing.upstreams.node import NodeUpstream
from edgewise.runtime.session import Session


def test_an_upstream_that_hangs_costs_no_more_than_the_deadline(session: Session, images: Any) -> None:
    given_up = threading.Event()

    def hang(_question: Question, cancel: Cancel) -> None:
        cancel.on_set(given_up.set)
        given_up.wait(20)
        raise NetworkError("closed")

    node = node_of(session, Oracle(fault=hang), threshold=2.0)
    start = time.perf_counter()
    answer = node.predict(images[0], deadline=0.2)
    taken = time.perf_counter() - start
    assert answer.degraded
    assert "in time" in answer.why
    assert 0.2 <= taken < 1.0
    assert given_up.wait(5), "whoever asks is told to stop"


def test_a_call_that_is_given_up_goes_on_at_once_with_what_it_has(session: Session, images: Any) -> None:
    cancel, started = Cancel(), threading.Event()

    def hang(_question: Question, inner: Cancel) -> None:
        started.set()
        stop = threading.Event()
        inner.on_set(stop.set)
        stop.wait(20)
        raise NetworkError("closed")

    node = node_of(session, Oracle(fault=hang), threshold=2.0)
    threading.Thread(target=lambda: (started.wait(5), cancel.set())).start()
    start = time.perf_counter()
    answer = node.predict(images[0], deadline=15, cancel=cancel)
    assert answer.degraded
    assert time.perf_counter() - start < 5
    assert node.predict(images[0], cancel=cancel).degraded, "given up before it began"


def test_an_upstream_that_keeps_failing_is_left_alone_and_tried_again(session: Session, images: Any) -> None:
    oracle = Oracle(says=3, fault=lambda q, c: (_ for _ in ()).throw(NetworkError("gone")))
    clock = Moved()
    node = node_of(session, oracle, threshold=2.0, breaker=Breaker(failures=3, pause=50.0), clock=clock)
    for _ in range(6):
        assert node.predict(images[0]).degraded
    assert len(oracle.asked) == 3
    assert "left alone" in node.predict(images[0]).why
    assert node.link is not None
    assert node.link.state == "open"
    oracle.fault = None
    clock.forward = 51.0
    assert node.predict(images[0]).deferred
    assert node.link.state == "closed"


def test_one_that_hangs_is_left_alone_though_its_threads_never_come_back(session: Session, images: Any) -> None:
    release = threading.Event()
    oracle = Oracle(fault=lambda q, c: release.wait(20) and None)
    node = node_of(session, oracle, threshold=2.0, breaker=Breaker(failures=3, pause=50.0))
    for _ in range(5):
        assert node.predict(images[0], deadline=0.08).degraded
    assert len(oracle.asked) == 3
    release.set()


def test_too_little_time_is_nobodys_fault(session: Session, images: Any) -> None:
    oracle = Oracle(fault=lambda q, c: time.sleep(0.02))
    node = node_of(session, oracle, threshold=2.0, breaker=Breaker(failures=1))
    for _ in range(4):
        assert node.predict(images[0], deadline=0.001).degraded
    assert node.link is not None
    assert node.link.state == "closed"


def test_an_upstream_with_other_labels_is_not_asked(session: Session, images: Any) -> None:
    labels = tuple("0123456789")
    for theirs, said in ((tuple("9876543210"), "another order"), (tuple("abcdefghij"), "other labels")):
        oracle = Oracle(labels=theirs)
        node = node_of(session, oracle, threshold=2.0, labels=labels)
        for _ in range(3):
            answer = node.predict(images[0])
            assert answer.degraded
            assert said in answer.why
        assert not oracle.asked
        assert oracle.described == 1
    assert node_of(session, Oracle(labels=labels), threshold=2.0, labels=labels).predict(images[0]).deferred
    assert node_of(session, Oracle(), threshold=2.0, labels=labels).predict(images[0]).deferred, "it does not say"


def test_a_question_that_was_here_before_is_not_passed_on(session: Session, images: Any) -> None:
    oracle = Oracle()
    node = node_of(session, oracle, threshold=2.0)
    answer = node.predict(images[0], trail=Trail(("device-1", "gateway-1")))
    assert answer.degraded
    assert "loop" in answer.why
    there = node_of(session, Oracle(node="gateway-9"), threshold=2.0)
    assert "loop" in there.predict(images[0], trail=Trail(("gateway-9",))).why
    assert "often" in node.predict(images[0], trail=Trail((), hops=0)).why
    assert not oracle.asked


def test_a_loop_of_nodes_ends_with_an_answer(session: Session, images: Any) -> None:
    late: list[NodeUpstream] = []

    def ask(question: Question, cancel: Cancel) -> Reply:
        return late[0].ask(question, cancel)

    first = node_of(session, Oracle(fault=ask, name="second"), threshold=2.0, ident="a")
    second = node_of(session, NodeUpstream(first), threshold=2.0, ident="b")
    late.append(NodeUpstream(second))
    answer = first.predict(images[0])
    assert answer.degraded
    assert "loop" in answer.why


def test_a_chain_of_four_answers_from_its_end(session: Session, images: Any) -> None:
    oracle = Oracle(says=4)
    node = node_of(session, oracle, threshold=2.0, ident="pop", tier="pop")
    for ident in ("gateway", "device"):
        node = node_of(session, NodeUpstream(node), threshold=2.0, ident=ident, tier=ident)
    answer = node.predict(images[0])
    assert (answer.label, answer.tier, answer.deferred, answer.degraded) == ("4", "cloud", True, False)
    assert {"device", "gateway", "pop", "cloud"} <= set(answer.spent)
    assert oracle.asked[0].trail.nodes == ("device", "gateway", "pop")


def test_the_deadline_goes_through_the_chain(session: Session, images: Any) -> None:
    hang = threading.Event()
    end = Oracle(fault=lambda q, c: hang.wait(20) and None)
    node = node_of(session, end, threshold=2.0, ident="gateway", deadline=30.0)
    node = node_of(session, NodeUpstream(node), threshold=2.0, ident="device")
    start = time.perf_counter()
    assert node.predict(images[0], deadline=0.3).degraded
    assert time.perf_counter() - start < 1.5
    assert end.asked[0].until - start <= 0.31
    hang.set()


def test_a_degraded_answer_stays_marked_on_its_way_down(session: Session, images: Any) -> None:
    middle = node_of(session, None, threshold=2.0, ident="gateway", tier="gateway")
    answer = node_of(session, NodeUpstream(middle), threshold=2.0).predict(images[0])
    assert (answer.deferred, answer.degraded, answer.tier) == (True, True, "gateway")
    assert "no upstream is named" in answer.why


def test_closing_a_node_closes_its_upstream_and_ends_its_threads(session: Session, images: Any) -> None:
    oracle, others = Oracle(), set(threading.enumerate())
    node = node_of(session, oracle, threshold=2.0)
    node.predict(images[0])
    assert set(threading.enumerate()) - others
    assert node.link is not None
    node.link.close()
    assert oracle.closed
    until = time.perf_counter() + 5
    while set(threading.enumerate()) - others:
        assert time.perf_counter() < until
        time.sleep(0.01)
    assert node.predict(images[0]).degraded


def test_a_refusal_is_no_failure(session: Session, images: Any) -> None:
    def refuse(_question: Question, _cancel: Cancel) -> Reply:
        raise RefusedError("not for you")

    node = node_of(session, Oracle(fault=refuse), threshold=2.0, breaker=Breaker(failures=1))
    assert "not for you" in node.predict(images[0]).why
    assert node.link is not None
    assert node.link.state == "closed"

"""A node answers what it is sure of, asks for the rest, and goes on alone where nobody answers."""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.clock import SystemClock
from edgewise.compose.demo import digits_data
from edgewise.compose.loading import load
from edgewise.errors import NetworkError, PeerError, RefusedError, TensorError
from edgewise.net.cancel import Cancel
from edgewise.routing.breaker import Breaker
from edgewise.routing.egress import Entry, NamedAlone, Outbound, Verdict
from edgewise.routing.link import Link
from edgewise.routing.node import Node
from edgewise.routing.scores import max_probability
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Described, Question, Reply, Trail
from edgewise.routing.upstreams.node import NodeUpstream, SessionUpstream
from edgewise.runtime.route import Answered
from edgewise.runtime.session import Session

CLOCK = SystemClock()


class Moved:
    """The machine's clock, which can be put forward."""

    def __init__(self) -> None:
        self.forward = 0.0

    def timestamp(self) -> str:
        return CLOCK.timestamp()

    def seconds(self) -> float:
        return CLOCK.seconds() + self.forward


@dataclass(frozen=True, slots=True)
class Sureness:
    """The largest probability of the digits."""

    output: str
    name: str = "max-probability"

    def scores(self, outputs: Any) -> Any:
        return max_probability(outputs[self.output])

    def score(self, outputs: Any) -> float:
        return float(max_probability(outputs[self.output])[0])

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name}


@dataclass(slots=True)
class Oracle:
    """An upstream that says class ``says`` of everything, or does what ``fault`` does."""

    says: int = 7
    name: str = "oracle"
    leaves: bool = True
    labels: tuple[str, ...] = ()
    node: str = ""
    fault: Any = None
    asked: list[Question] = field(default_factory=list)
    described: int = 0
    closed: bool = False

    def describe(self, _until: float, _cancel: Cancel) -> Described:
        self.described += 1
        return Described("oracle", "1", "cloud", self.node, self.labels)

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        self.asked.append(question)
        if self.fault is not None and (reply := self.fault(question, cancel)) is not None:
            return reply
        return reply_of(question, self.says)

    def close(self) -> None:
        self.closed = True


def reply_of(question: Question, says: int, **outputs: Any) -> Reply:
    scores = np.tile(np.eye(10, dtype=np.float32)[says], (question.rows, 1))
    return Reply(
        {question.decision: scores, **outputs}, (Answered("cloud", "large"),) * question.rows, (("cloud", 0.001),)
    )


@pytest.fixture(scope="module")
def session(digits_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with load(digits_bundle, unsafe_no_verification=True, home=tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def images() -> Any:
    return digits_data("eval").x[:40]


def node_of(session: Session, upstream: Any, threshold: float = 0.9, **options: Any) -> Node:
    labels = options.pop("labels", ())
    breaker = options.pop("breaker", None)
    gate = options.pop("gate", None)
    stages = options.pop("stages", None) or [Stage(session, Sureness(session.origin.decision), threshold)]
    ident = options.pop("ident", "device-1")
    link = upstream and Link(
        upstream,
        gate or NamedAlone(upstream.name),
        options.get("clock", CLOCK),
        node=ident,
        labels=labels,
        breaker=breaker,
    )
    return Node(stages, link, ident=ident, **options)


def test_what_is_sure_is_kept_and_nobody_is_asked(session: Session, images: Any) -> None:
    oracle = Oracle()
    node = node_of(session, oracle, threshold=0.0)
    answer, bare = node.predict(images[0]), session.predict(images[0])
    assert (answer.label, answer.deferred, answer.degraded, answer.tier) == (bare.label, False, False, "device")
    assert answer.confidence == pytest.approx(float(max_probability(bare.outputs[session.origin.decision])[0]))
    assert answer.why.startswith("sure enough")
    assert list(answer.spent) == ["device"]
    assert not oracle.asked


def test_what_is_unsure_is_answered_upstream(session: Session, images: Any) -> None:
    oracle = Oracle(says=3)
    answer = node_of(session, oracle, threshold=2.0).predict(images[0])
    assert (answer.label, answer.deferred, answer.degraded, answer.tier, answer.variant) == (
        "3",
        True,
        False,
        "cloud",
        "large",
    )
    assert "below 2" in answer.why
    assert set(answer.spent) == {"device", "cloud", "network"}
    (question,) = oracle.asked
    assert question.trail == Trail(("device-1",), 3)
    assert np.array_equal(question.inputs["image"], images[:1])


def test_a_batch_is_routed_item_by_item(session: Session, images: Any) -> None:
    oracle = Oracle(says=3)
    bare = session.predict(images)
    score = max_probability(bare.outputs[session.origin.decision])
    limit = float(np.median(score))
    answer = node_of(session, oracle, threshold=limit).predict(images)
    assert answer.deferred == (score < limit).tolist()
    assert answer.label == [own if kept else "3" for own, kept in zip(bare.label, score >= limit, strict=True)]
    assert answer.tier == ["device" if kept else "cloud" for kept in score >= limit]
    (question,) = oracle.asked
    assert np.array_equal(question.inputs["image"], images[score < limit])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda q, c: (_ for _ in ()).throw(NetworkError("the line is dead")), "the line is dead"),
        (lambda q, c: (_ for _ in ()).throw(RuntimeError("a bug")), "RuntimeError"),
        (lambda q, c: Reply({}, (Answered(),) * q.rows), "lacks the output"),
        (lambda q, c: Reply({q.decision: np.zeros((q.rows + 1, 10), np.float32)}, (Answered(),) * q.rows), "rows"),
        (lambda q, c: Reply({q.decision: np.zeros((q.rows, 10), np.float32)}, ()), "answers 0 rows"),
        (lambda q, c: Reply({q.decision: np.full((q.rows, 1), 700)}, (Answered(),) * q.rows), "class 700"),
    ],
)
def test_whatever_fails_upstream_the_local_answer_comes_back_marked(
    session: Session, images: Any, fault: Any, said: str
) -> None:
    node = node_of(session, Oracle(fault=fault), threshold=2.0)
    for given in (images[0], images[:5]):
        answer, bare = node.predict(given), session.predict(given)
        assert answer.label == bare.label
        assert np.array_equal(answer.output, bare.output)
        one = answer.rows == 1
        assert (answer.degraded, answer.deferred) == ((True, False) if one else ([True] * 5, [False] * 5))
        assert said in (answer.why if one else answer.why[0])


def test_a_row_without_an_answer_costs_no_other_row_its_own(session: Session, images: Any) -> None:
    def some(question: Question, _cancel: Cancel) -> Reply:
        reply = reply_of(question, 3)
        by = [
            Answered("cloud", "large", why="no label", answered=False) if at % 2 else who
            for at, who in enumerate(reply.by)
        ]
        return Reply(reply.outputs, tuple(by))

    answer, bare = node_of(session, Oracle(fault=some), threshold=2.0).predict(images[:4]), session.predict(images[:4])
    assert answer.deferred == [True, False, True, False]
    assert answer.degraded == [False, True, False, True]
    assert answer.label == ["3", bare.label[1], "3", bare.label[3]]
    assert "no label" in answer.why[1]


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


def test_the_next_variant_answers_before_upstream_is_asked(session: Session, images: Any) -> None:
    oracle = Oracle(says=3)
    rule = Sureness(session.origin.decision)
    score = max_probability(session.predict(images).outputs[session.origin.decision])
    limit = float(np.median(score))
    stages = [Stage(session, rule, 2.0), Stage(session, rule, limit)]
    answer = node_of(session, oracle, stages=stages).predict(images)
    assert answer.deferred == (score < limit).tolist()
    assert oracle.asked[0].rows == int((score < limit).sum())
    kept = node_of(session, oracle, stages=[Stage(session, rule, 2.0), Stage(session, rule, 0.0)]).predict(images[0])
    assert (kept.deferred, kept.degraded) == (False, False)


def test_a_label_has_a_threshold_of_its_own(session: Session, images: Any) -> None:
    labels = session.predict(images).label
    never = labels[0]
    by_group: dict[str, float | None] = dict.fromkeys("0123456789", 0.0) | {never: None}
    node = node_of(session, None, stages=[Stage(session, Sureness(session.origin.decision), 9.0, by_group)])
    assert node.predict(images).degraded == [label == never for label in labels]
    assert node.predict(images[0]).degraded
    unnamed = node_of(session, None, stages=[Stage(session, Sureness(session.origin.decision), 0.0, {never: 0.0})])
    assert unnamed.predict(images).degraded == [label != never for label in labels]


def test_without_an_upstream_nothing_leaves_and_what_is_unsure_says_so(session: Session, images: Any) -> None:
    answer = node_of(session, None, threshold=2.0).predict(images[0])
    assert answer.degraded
    assert "no upstream is named" in answer.why


def test_what_the_gate_refuses_does_not_leave(session: Session, images: Any) -> None:
    seen: list[Outbound] = []

    class Shut:
        def decide(self, outbound: Outbound) -> Verdict:
            seen.append(outbound)
            return Verdict(False, "consent was withdrawn")

    oracle = Oracle()
    answer = node_of(session, oracle, threshold=2.0, gate=Shut()).predict(images[:3])
    assert answer.degraded == [True] * 3
    assert "consent was withdrawn" in answer.why[0]
    assert not oracle.asked
    assert seen == [Outbound("deferral", "oracle", "raw", 3, images[:3].nbytes)]
    assert not NamedAlone("another").decide(seen[0]).allowed


def test_the_ledger_gets_one_record_for_each_call(session: Session, images: Any) -> None:
    class Book:
        def __init__(self) -> None:
            self.entries: list[Entry] = []

        def record(self, entry: Entry) -> None:
            self.entries.append(entry)

    book, oracle = Book(), Oracle()
    node = node_of(session, oracle, threshold=0.0, ledger=book)
    node.predict(images[0])
    sends = node_of(session, oracle, threshold=2.0, ledger=book)
    sends.predict(images[:3])
    oracle.fault = lambda q, c: (_ for _ in ()).throw(PeerError("nonsense"))
    sends.predict(images[:2])
    found = [(e.rows, e.kept, e.deferred, e.degraded, e.asked, e.left) for e in book.entries]
    assert found == [(1, 1, 0, 0, "", 0), (3, 0, 3, 0, "oracle", images[:3].nbytes), (2, 0, 0, 2, "", 0)]


def test_an_input_that_does_not_fit_is_the_callers(session: Session) -> None:
    with pytest.raises(TensorError):
        node_of(session, Oracle(), threshold=2.0).predict(np.zeros((2, 2), np.float32))


def test_a_session_can_be_upstream(session: Session, images: Any) -> None:
    node = node_of(session, SessionUpstream(session, "gateway"), threshold=2.0)
    answer = node.predict(images)
    assert answer.label == session.predict(images).label
    assert set(answer.tier) == {"gateway"}


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


def test_a_score_that_is_no_number_is_unsure(session: Session, images: Any) -> None:
    @dataclass(frozen=True, slots=True)
    class Broken:
        name: str = "broken"

        def scores(self, outputs: Any) -> Any:
            return np.full(len(next(iter(outputs.values()))), math.nan)

        def score(self, _outputs: Any) -> float:
            return math.nan

        def to_json(self) -> dict[str, Any]:
            return {}

    node = node_of(session, Oracle(), stages=[Stage(session, Broken(), -1.0)])
    assert node.predict(images[0]).deferred
    assert node.predict(images[:2]).deferred == [True, True]

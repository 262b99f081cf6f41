"""A node answers what it is sure of, asks for the rest, and marks what nobody answered."""

from typing import Any

import numpy as np
import pytest
from tests.routing.nodes import NoNumber, Oracle, Sureness, node_of, reply_of

from edgewise.errors import NetworkError, PeerError, TensorError
from edgewise.net.cancel import Cancel
from edgewise.routing.egress import Entry, NamedAlone, Outbound, Verdict
from edgewise.routing.scores import max_probability
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Question, Reply, Trail
from edgewise.routing.upstreams.node import SessionUpstream
from edgewise.runtime.route import Answered
from edgewise.runtime.session import Session


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


def test_a_score_that_is_no_number_is_unsure(session: Session, images: Any) -> None:
    node = node_of(session, Oracle(), stages=[Stage(session, NoNumber(), -1.0)])
    assert node.predict(images[0]).deferred
    assert node.predict(images[:2]).deferred == [True, True]

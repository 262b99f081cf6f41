"""What a call does where several things meet: stages, a guard, a ledger, replies that are of no use."""

import math
import random
import time
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.routing.nodes import CLOCK, NoNumber, Oracle, Sureness, node_of, reply_of

from edgewise.bundle.document import Document, Variant
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import NetworkError
from edgewise.net.cancel import Cancel
from edgewise.routing.breaker import Breaker
from edgewise.routing.egress import Entry, NamedAlone
from edgewise.routing.guard import Guard
from edgewise.routing.link import Link
from edgewise.routing.losses import Classes
from edgewise.routing.node import Node
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Question, Reply
from edgewise.routing.watch.widen import Terms, Watch, begin_watch
from edgewise.runtime.engine import OpenOptions, find_engine
from edgewise.runtime.opening import Candidate, origin_of
from edgewise.runtime.route import Answered
from edgewise.runtime.session import Session
from edgewise.testing.sample_bundles import sample_file


class Book:
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def record(self, entry: Entry) -> None:
        self.entries.append(entry)


def guard_of(watch: Watch, kept: list[Watch] | None = None) -> Guard:
    keep = (lambda state: None) if kept is None else kept.append
    return Guard(watch, Classes().disagree, random.Random(0).random, keep=keep)


def test_a_learnt_threshold_is_the_first_variants_alone(session: Session, images: Any) -> None:
    rule, oracle = Sureness(session.origin.decision), Oracle(says=3)
    stages = [Stage(session, rule, 9.0), Stage(session, rule, 0.0)]
    node = node_of(session, oracle, stages=stages, guard=guard_of(begin_watch(Terms(0.05))))
    answer = node.predict(images[:5])
    assert answer.deferred == [True] * 5, (
        "nothing was learnt yet, and the second variant's threshold is of another promise"
    )


def test_replies_that_are_of_no_use_open_the_breaker(session: Session, images: Any) -> None:
    oracle = Oracle(fault=lambda q, c: Reply({}, (Answered(),) * q.rows))
    node = node_of(session, oracle, threshold=2.0, breaker=Breaker(failures=2, pause=50.0))
    for _ in range(2):
        assert node.predict(images[0]).degraded
    assert node.link is not None
    assert node.link.state == "open"


@pytest.mark.parametrize("who", [Answered(degraded=True), Answered(answered=False)])
def test_an_upstream_that_is_itself_unsure_teaches_nothing(session: Session, images: Any, who: Answered) -> None:
    def ask(question: Question, _cancel: Cancel) -> Reply:
        return Reply(reply_of(question, 3).outputs, (who,) * question.rows)

    node = node_of(session, Oracle(fault=ask), threshold=9.0, guard=guard_of(begin_watch(Terms(0.05, samples=100))))
    node.predict(images[:10])
    assert node.guard is not None
    assert not node.guard.watch.pairs.scores


def test_the_ledger_counts_what_was_passed_on_and_what_was_compared(session: Session, images: Any) -> None:
    book, oracle = Book(), Oracle()
    limit = float(np.median(Sureness(session.origin.decision).scores(session.predict(images).outputs)))
    guard = guard_of(begin_watch(Terms(0.05, share=0.2), threshold=limit))
    node = node_of(session, oracle, threshold=limit, guard=guard, ledger=book)
    for _ in range(5):
        node.predict(images)
    end = time.perf_counter() + 5
    while len(oracle.asked) < 10 and time.perf_counter() < end:
        time.sleep(0.01)
    sent = sum(question.rows for question in oracle.asked)
    assert sent > sum(entry.deferred for entry in book.entries) > 0
    assert sum(entry.left for entry in book.entries) == sent * images[0].nbytes


def test_what_stays_in_this_process_has_not_left(session: Session, images: Any) -> None:
    book, oracle = Book(), Oracle(leaves=False)
    node_of(session, oracle, threshold=2.0, ledger=book).predict(images[:3])
    assert [(entry.deferred, entry.left) for entry in book.entries] == [(3, 0)]


def test_an_upstream_is_not_blamed_for_what_could_not_be_done_in_time(session: Session, images: Any) -> None:
    def late(_question: Question, _cancel: Cancel) -> Reply:
        raise NetworkError("did not answer in time")

    node = node_of(session, Oracle(fault=late), threshold=2.0, breaker=Breaker(failures=1))
    assert node.predict(images[0], deadline=0.02).degraded
    assert node.link is not None
    assert node.link.state == "closed"
    assert node.predict(images[0], deadline=5.0).degraded
    assert node.link.state == "open"


def test_without_time_nobody_is_asked(session: Session, images: Any) -> None:
    oracle = Oracle()
    answer = node_of(session, oracle, threshold=2.0).predict(images[0], deadline=1e-9)
    assert "no time left" in answer.why
    time.sleep(0.05)
    assert not oracle.described
    assert not oracle.asked


def test_an_upstream_that_cannot_go_on_from_our_cut_is_not_asked(session: Session, images: Any) -> None:
    oracle = Oracle()
    link = Link(oracle, NamedAlone("oracle"), CLOCK, node="device", cuts=("pooled",))
    node = Node([Stage(session, Sureness(session.origin.decision), 2.0)], link, ident="device")
    assert "cannot go on from pooled" in node.predict(images[0]).why
    assert not oracle.asked


def test_a_score_that_is_no_number_is_never_kept_by_whoever_decides(session: Session, images: Any) -> None:
    stage = Stage(session, NoNumber(), -1.0)
    assert stage.scores(session.predict(images[:2]).outputs, 2)[0].tolist() == [-math.inf] * 2
    node = node_of(session, Oracle(), stages=[stage], guard=guard_of(begin_watch(Terms(0.05), threshold=-1.0)))
    assert node.predict(images[0]).deferred
    assert guard_of(begin_watch(Terms(0.05), threshold=-1.0)).decide(math.nan, True)[0] == "defer"


def test_a_guard_keeps_its_state_as_it_hears(session: Session, images: Any) -> None:
    kept: list[Watch] = []
    guard = guard_of(begin_watch(Terms(0.01)), kept)
    node = node_of(session, Oracle(), threshold=9.0, guard=guard)
    for _ in range(5):
        node.predict(images)
    assert len(kept) == 1, "200 answers were heard"


def test_a_model_without_a_batch_axis_is_routed_too() -> None:
    weights = np.eye(4, 3, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])], [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    variant = Variant("fp32", "onnx", "fp32", (sample_file("model.onnx", data),))
    document = Document(
        "one",
        "1",
        "classification",
        (TensorSpec("x", "float32", (4,)),),
        (TensorSpec("y", "float32", (3,)),),
        (variant,),
    )
    candidate = Candidate("fp32", "onnxruntime", "CPUExecutionProvider")
    opened = find_engine("onnxruntime").open({"model.onnx": data}, OpenOptions(threads=1))
    session = Session(document, variant, opened, origin_of(document, candidate, ""))
    x = np.array([5, 0, 0, 0], np.float32)
    kept = Node([Stage(session, Sureness("y"), 0.9)], None, ident="device").predict(x)
    assert (kept.index, kept.deferred, kept.degraded) == (0, False, False)
    assert kept.output.shape == (3,)

    def two(question: Question, _cancel: Cancel) -> Reply:
        assert question.inputs["x"].shape == (4,)
        return Reply({"y": np.eye(3, dtype=np.float32)[[2]]}, (Answered(),))

    link = Link(Oracle(fault=two), NamedAlone("oracle"), CLOCK, node="device")
    passed = Node([Stage(session, Sureness("y"), 2.0)], link, ident="device").predict(x)
    assert (passed.index, passed.deferred) == (2, True)
    assert passed.output.shape == (3,)
    opened.close()

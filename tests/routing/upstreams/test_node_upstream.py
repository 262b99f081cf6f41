"""A node, and a session, of this process as upstream."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.compose.demo import digits_data
from edgewise.compose.loading import load
from edgewise.errors import NetworkError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.node import Node
from edgewise.routing.rules import read_rule
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Described, Question
from edgewise.routing.upstreams.node import NodeUpstream, SessionUpstream
from edgewise.runtime.session import Session
from edgewise.testing.upstream_conformance import Subject, UpstreamConformance

LABELS = tuple("0123456789")


@pytest.fixture(scope="module")
def session(digits_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with load(digits_bundle, unsafe_no_verification=True, home=tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def node(session: Session) -> Node:
    rule = read_rule({"name": "max-probability", "of": {"output": session.origin.decision, "form": "probabilities"}})
    return Node([Stage(session, rule, 0.0)], None, ident="gateway-1", tier="gateway")


def pictures(rows: int, seed: int) -> dict[str, Any]:
    x = digits_data("eval").x
    return {"image": x[np.random.default_rng(seed).integers(0, len(x), rows)].copy()}


class Borrowed:
    """A session that stays open when who asks it is closed."""

    def __init__(self, session: Session) -> None:
        self.document, self.origin, self.predict = session.document, session.origin, session.predict

    def close(self) -> None:
        pass


class TestNodeConformance(UpstreamConformance):
    @pytest.fixture
    def subject(self, node: Node, session: Session) -> Subject:
        described = Described("digits", "1.0.0", "gateway", "gateway-1", LABELS)
        decision = session.origin.decision
        return Subject(
            lambda: NodeUpstream(node),
            pictures,
            lambda inputs: session.predict(inputs).outputs,
            decision,
            described=described,
        )


class TestSessionConformance(UpstreamConformance):
    @pytest.fixture
    def subject(self, session: Session) -> Subject:
        described = Described("digits", "1.0.0", "cloud", "", LABELS)
        return Subject(
            lambda: SessionUpstream(Borrowed(session), "cloud"),  # type: ignore[arg-type]
            pictures, lambda inputs: session.predict(inputs).outputs, session.origin.decision, described=described,
        )  # fmt: skip


def test_inputs_that_do_not_fit_are_told_as_an_error_of_the_other_side(session: Session, node: Node) -> None:
    question = Question({"image": np.zeros((1, 2), np.float32)}, float("inf"), session.origin.decision)
    for upstream in (NodeUpstream(node), SessionUpstream(session)):
        with pytest.raises(PeerError, match="refuses the question"):
            upstream.ask(question, Cancel())


def test_giving_up_reaches_the_node_and_what_it_waits_for(session: Session) -> None:
    cancel, seen = Cancel(), threading.Event()
    cancel.on_set(seen.set)
    cancel.set()
    upstream = SessionUpstream(session)
    with pytest.raises(NetworkError):
        upstream.ask(Question(pictures(1, 0), float("inf"), session.origin.decision), cancel)
    assert seen.is_set()

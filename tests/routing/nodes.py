"""Nodes, and an upstream that says and does what a test wants."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgewise.clock import SystemClock
from edgewise.net.cancel import Cancel
from edgewise.routing.egress import NamedAlone
from edgewise.routing.link import Link
from edgewise.routing.node import Node
from edgewise.routing.scores import max_probability
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Described, Question, Reply
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


@dataclass(frozen=True, slots=True)
class NoNumber:
    """A rule whose scores are none."""

    name: str = "none"

    def scores(self, outputs: Any) -> Any:
        return np.full(len(next(iter(outputs.values()))), math.nan)

    def score(self, _outputs: Any) -> float:
        return math.nan

    def to_json(self) -> dict[str, Any]:
        return {}


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

"""A node or a session of this very process as upstream: chains are built by pointing one node at the next."""

from collections.abc import Callable, Mapping
from typing import final

from edgewise.clock import Clock, SystemClock
from edgewise.errors import EdgewiseError, NetworkError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.node import Node
from edgewise.routing.upstream import Described, Question, Reply
from edgewise.runtime.answer import Answer
from edgewise.runtime.engine import Array
from edgewise.runtime.route import Answered
from edgewise.runtime.session import Session

__all__ = ["NodeUpstream", "SessionUpstream", "answers"]


class _Ended:
    """What a question of this process is refused by: its time is over, somebody gave up, the upstream was closed."""

    __slots__ = ("_seconds", "closed", "name")

    def __init__(self, name: str, clock: Clock | None) -> None:
        self.name, self.closed = name, False
        self._seconds = (clock or SystemClock()).seconds

    def left(self, until: float, cancel: Cancel) -> float:
        """Seconds. Raises NetworkError where there are none."""
        left = until - self._seconds()
        if self.closed:
            raise NetworkError(f"{self.name} is not asked any more: it was closed")
        if cancel:
            raise NetworkError(f"the answer of {self.name} was not waited for")
        if left <= 0:
            raise NetworkError(f"there is no time left to ask {self.name}")
        return left


@final
class NodeUpstream:
    """Deadline, cancellation and trail go on to ``node``, which may ask its own upstream. Not closed with this."""

    leaves = False

    def __init__(self, node: Node, clock: Clock | None = None) -> None:
        self._node = node
        self.name = f"{node.document.name}:{node.document.version} ({node.tier})"
        self._ended = _Ended(self.name, clock)

    def describe(self, until: float, cancel: Cancel) -> Described:
        self._ended.left(until, cancel)
        document = self._node.document
        return Described(document.name, document.version, self._node.tier, self._node.ident, document.labels)

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        left = self._ended.left(question.until, cancel)
        answer = _asked(lambda: self._node.predict(question.inputs, deadline=left, cancel=cancel, trail=question.trail))
        return answers(answer, self._node.tier)

    def close(self) -> None:
        """The node belongs to whoever made it."""
        self._ended.closed = True


@final
class SessionUpstream:
    """A model that is opened in this process and answers everything. Closed with this."""

    leaves = False

    def __init__(self, session: Session, tier: str = "device", clock: Clock | None = None) -> None:
        self._session = session
        self._tier = tier
        document = session.document
        self.name = f"{document.name}:{document.version} ({session.origin.variant}, in this process)"
        self._ended = _Ended(self.name, clock)

    def describe(self, until: float, cancel: Cancel) -> Described:
        self._ended.left(until, cancel)
        document = self._session.document
        return Described(document.name, document.version, self._tier, "", document.labels)

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        self._ended.left(question.until, cancel)
        return answers(_asked(lambda: self._session.predict(question.inputs)), self._tier)

    def close(self) -> None:
        self._ended.closed = True
        self._session.close()


def answers(answer: Answer, tier: str) -> Reply:
    """An answer as the reply to whoever asked: with the batch axis, and who answered each row."""
    outputs: Mapping[str, Array] = answer.outputs
    if not answer.origin.batched:
        outputs = {name: array[None] for name, array in outputs.items()}
    rows = len(outputs[answer.origin.decision])
    route = answer.route
    if route is None:
        return Reply(outputs, (Answered(tier, answer.origin.variant),) * rows)
    by = route.by or [Answered(tier, answer.origin.variant, deferred=False)] * rows
    told = tuple(Answered(row.tier, row.variant, row.degraded, row.why if row.degraded else "") for row in by)
    return Reply(outputs, told, ((tier, route.local), *(route.elsewhere or {}).items()))


def _asked(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except EdgewiseError as error:
        raise PeerError(f"upstream refuses the question: {error.what}", remedy=error.remedy) from error

"""A node: it answers what it is sure of, passes on what it is not, and goes on alone where nobody answers.

    answer = node.predict(x)                 # outputs, and: deferred, degraded, why, confidence, tier, variant, spent

The path of one call: the first variant answers; its rule scores each row; what is sure enough is kept. The other rows go to the
next variant, if there is one, and then upstream, all in one question. Whatever happens there (late, wrong, gone, refused) the
device's own answer comes back for those rows, marked ``degraded`` and with the reason: asking never raises, and never takes
longer than the deadline. An input that does not fit the model still raises TensorError: it is the caller's, not upstream's.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, final

import numpy as np

from edgewise.bundle.document import Document
from edgewise.clock import Clock, SystemClock
from edgewise.errors import EdgewiseError, InputError, PeerError, UnsupportedError
from edgewise.net.cancel import Cancel
from edgewise.routing.egress import Entry, Ledger, Outbound
from edgewise.routing.link import Link
from edgewise.routing.merging import fill
from edgewise.routing.stage import Stage, batched
from edgewise.routing.upstream import Question, Reply, Trail
from edgewise.runtime.answer import Answer
from edgewise.runtime.engine import Array
from edgewise.runtime.route import Answered, Route, shown

__all__ = ["Node"]

_NEVER_AGAIN = "no upstream is named"


@final
class Node:
    """Made by ``edgewise.load(ref, upstream=...)``; takes the place of a session. Safe to call from several threads.

    stages: the variants that answer here, the cheapest first. link: the way upstream; None where nobody can be asked.
    deadline: seconds that a call may take where it does not say itself. ident: by which this node is known in trails.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        link: Link | None,
        *,
        ident: str,
        tier: str = "device",
        deadline: float = 1.0,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not stages or not deadline > 0:
            raise InputError("a node has at least one variant, and a deadline above 0 seconds")
        if stages[0].session.document.states:
            raise UnsupportedError(
                "a model with states cannot pass single inputs on: upstream would not know what came before",
                remedy="Load it without upstream.",
            )
        self.stages = tuple(stages)
        self.link = link
        self.ident = ident
        self.tier = tier
        self.deadline = deadline
        self._ledger = ledger
        self._first = stages[0]
        self._predict = stages[0].session.predict
        self._score = stages[0].score
        self._seconds = (clock or SystemClock()).seconds
        self._has_axis = stages[0].session.origin.batched

    @property
    def document(self) -> Document:
        return self._first.session.document

    def predict(
        self,
        inputs: Any = None,
        /,
        *,
        deadline: float | None = None,
        cancel: Cancel | None = None,
        trail: Trail | None = None,
        **named: Any,
    ) -> Answer:
        """Answer one example or a batch, each row by whoever is sure of it.

        deadline: seconds from now by which the answer is there; what the device computes itself is not cut short. cancel: set
        from another thread, the call goes on with what it has. trail: who passed this question on to this node.
        Raises TensorError for an input that does not fit; nothing else.
        """
        start = self._seconds()
        answer = self._predict(inputs, **named)
        if answer.rows != 1 or not self._has_axis:
            return self._each_row(inputs, named, answer, start, deadline, cancel, trail)
        score, limit = self._score(answer.outputs)
        if score >= limit:
            answer.route = Route((score,), (limit,), self._seconds() - start)
            if self._ledger is not None:
                self._record(answer, start, None, 0)
            return answer
        return self._each_row(inputs, named, answer, start, deadline, cancel, trail)

    def close(self) -> None:
        """Stop asking and release the engines' memory."""
        if self.link is not None:
            self.link.close()
        for stage in self.stages:
            stage.session.close()

    def __enter__(self) -> "Node":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        asks = f", asks {self.link.upstream.name}" if self.link is not None else ""
        names = " > ".join(stage.variant for stage in self.stages)
        return f"Node({self.document.name}:{self.document.version}, {names} on this {self.tier}{asks})"

    def _each_row(
        self, inputs: Any, named: dict[str, Any], answer: Answer, start: float, deadline: float | None,
        cancel: Cancel | None, trail: Trail | None,
    ) -> Answer:  # fmt: skip
        """What the fast path did not settle: several rows, or one that the first variant is not sure of."""
        origin = answer.origin
        outputs = dict(batched(answer.outputs, self._has_axis))
        rows = len(outputs[origin.decision])
        score, limit = self._first.scores(outputs, rows)
        by = [Answered(self.tier, self._first.variant, deferred=False)] * rows
        unsure = np.flatnonzero(~(score >= limit))
        feeds: dict[str, Array] = {}
        if unsure.size:
            feeds = self._first.session.read(inputs, **named)
        for stage in self.stages[1:]:
            if unsure.size:
                unsure = self._next(stage, feeds, unsure, outputs, score, limit, by)
        local = self._seconds() - start
        reply, left, asked = None, 0, ""
        if unsure.size:
            until = start + (self.deadline if deadline is None else deadline)
            picked = {name: array[unsure] for name, array in feeds.items()} if self._has_axis else feeds
            left = sum(array.nbytes for array in picked.values())
            question = Question(picked, until, origin.decision, (trail or Trail()).after(self.ident))
            try:
                reply = self._ask(question, left, cancel)
                outputs = fill(outputs, unsure, reply.outputs, origin.decision, origin.task)
                asked = self.link.upstream.name if self.link is not None else ""
                self._answered(by, unsure, reply, score, limit)
            except EdgewiseError as error:
                if reply is not None and self.link is not None:
                    self.link.failed()
                reply, left = None, 0
                self._alone(by, unsure, score, limit, error.what)
        if not self._has_axis:
            outputs = {name: array[0] for name, array in outputs.items()}
        elsewhere = dict(_spent(reply, self._seconds() - start - local)) if reply is not None else None
        single = answer._single  # noqa: SLF001  (an answer in the form that the session gave it)
        route = Route(score.tolist(), limit.tolist(), local, by, elsewhere)
        merged = Answer(outputs, origin, single, route)
        if self._ledger is not None:
            self._record(merged, start, asked, left)
        return merged

    def _next(
        self, stage: Stage, feeds: dict[str, Array], unsure: Array, outputs: dict[str, Array], score: Array,
        limit: Array, by: list[Answered],
    ) -> Array:  # fmt: skip
        """Let the next variant answer the rows that are open; what it is not sure of either comes back, answered by it for now."""
        picked = {name: array[unsure] for name, array in feeds.items()} if self._has_axis else feeds
        theirs = stage.session.predict(picked)
        found = dict(batched(theirs.outputs, self._has_axis))
        decision = stage.session.origin.decision
        outputs.update(fill(outputs, unsure, found, decision, stage.session.origin.task))
        score[unsure], limit[unsure] = stage.scores(found, len(unsure))
        for row in unsure:
            why = "" if score[row] >= limit[row] else by[row].why
            by[row] = Answered(self.tier, stage.variant, why=why, deferred=False)
        return unsure[~(score[unsure] >= limit[unsure])]

    def _ask(self, question: Question, size: int, cancel: Cancel | None) -> Reply:
        if self.link is None:
            raise InputError(_NEVER_AGAIN)
        if cancel:
            raise InputError("the call was given up")
        upstream = self.link.upstream
        outbound = Outbound("deferral", upstream.name, "raw", question.rows, size if upstream.leaves else 0)
        return self.link.ask(question, outbound, cancel)

    def _answered(self, by: list[Answered], rows: Array, reply: Reply, score: Array, limit: Array) -> None:
        if len(reply.by) != len(rows):
            raise PeerError(f"upstream answers {len(reply.by)} rows to {len(rows)}")
        for row, said in zip(rows, reply.by, strict=True):
            why = said.why or f"not sure enough: {shown(score[row])} is below {shown(limit[row])}"
            by[row] = Answered(said.tier, said.variant, said.degraded, why)

    def _alone(self, by: list[Answered], rows: Array, score: Array, limit: Array, why: str) -> None:
        for row in rows:
            said = f"not sure enough ({shown(score[row])} is below {shown(limit[row])}), and {why}"
            by[row] = Answered(self.tier, by[row].variant, True, said, deferred=False)

    def _record(self, answer: Answer, start: float, asked: str | None, left: int) -> None:
        route = answer.route
        if self._ledger is None or route is None:
            return
        by = route.by or ()
        deferred, degraded = sum(row.deferred for row in by), sum(row.degraded and not row.deferred for row in by)
        rows = len(route.confidence)
        sent = left if self.link is not None and self.link.upstream.leaves else 0
        why = next((row.why for row in by if row.degraded), "")
        self._ledger.record(
            Entry(rows, rows - deferred - degraded, deferred, degraded, asked or "", sent, self._seconds() - start, why)
        )


def _spent(reply: Reply, whole: float) -> dict[str, float]:
    """tier -> seconds: as upstream says, and the rest of the time that it took to be there and back."""
    found: dict[str, float] = {}
    for tier, seconds in reply.spent:
        found[tier] = found.get(tier, 0.0) + seconds
    return found | {"network": max(0.0, whole - sum(found.values()))}

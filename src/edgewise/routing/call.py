"""One call of a node that its first variant does not settle by itself: several rows, or one that it is not sure of."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np

from edgewise.errors import EdgewiseError, InputError
from edgewise.net.cancel import Cancel
from edgewise.routing.egress import Entry, Outbound
from edgewise.routing.link import Link
from edgewise.routing.merging import fill
from edgewise.routing.stage import Stage, batched
from edgewise.routing.upstream import Question, Reply, Trail
from edgewise.routing.watch.events import AUDIT, DEFER, KEEP, Ticket, Verdict
from edgewise.runtime.answer import Answer
from edgewise.runtime.engine import Array
from edgewise.runtime.route import Answered, Route, shown

if TYPE_CHECKING:
    from edgewise.routing.node import Node

__all__ = ["Call"]


@final
class Call:
    """Used once. given: the inputs as they came. until: when the answer has to be there."""

    def __init__(
        self, node: "Node", answer: Answer, given: tuple[Any, dict[str, Any]], until: float, trail: Trail,
        cancel: Cancel | None,
    ) -> None:  # fmt: skip
        self._node, self._answer, self._given = node, answer, given
        self._until, self._trail, self._cancel = until, trail.after(node.ident), cancel
        first = node.stages[0]
        self._origin = first.session.origin
        self._outputs = dict(batched(answer.outputs, self._origin.batched))
        self._rows = len(self._outputs[self._origin.decision])
        self._score, self._limit = first.scores(self._outputs, self._rows)
        self._first_score = self._score.copy()
        self._by = [Answered(node.tier, first.variant, deferred=False)] * self._rows
        self._tickets: list[Ticket] = []
        self._feeds: dict[str, Array] = {}
        self._asked, self._left = "", 0

    def settle(
        self, start: float, seconds: Callable[[], float], decided: tuple[Verdict, Ticket] | None = None
    ) -> Answer:
        """The answer. decided: what the guard said already, of a single row."""
        node = self._node
        learnt = node.guard.threshold if node.guard is not None else None
        if learnt is not None:
            self._limit[:] = learnt
        unsure = np.flatnonzero(~(self._score >= self._limit))
        later = node.stages[1:] if learnt is None else ()  # what was learnt here is the first variant's alone
        for stage in later:
            if unsure.size:
                unsure = self._answer_by(stage, unsure)
        unsure, audited = self._judged(unsure, decided)
        local = seconds() - start
        elsewhere = None
        if audited.size:
            self._audit(audited)
        if unsure.size:
            reply = self._ask(unsure)
            elsewhere = dict(_spent(reply, seconds() - start - local)) if reply is not None else None
        outputs = self._outputs
        if not self._origin.batched:
            outputs = {name: array[0] for name, array in outputs.items()}
        single = self._answer._single  # noqa: SLF001  (in the form that the session gave it)
        return Answer(
            outputs,
            self._origin,
            single,
            Route(self._score.tolist(), self._limit.tolist(), local, self._by, elsewhere),
        )

    def entry(self, seconds: float) -> Entry:
        """What the ledger gets."""
        deferred = sum(row.deferred for row in self._by)
        degraded = sum(row.degraded and not row.deferred for row in self._by)
        why = next((row.why for row in self._by if row.degraded), "")
        kept = self._rows - deferred - degraded
        return Entry(self._rows, kept, deferred, degraded, self._asked, self._left, seconds, why)

    def _answer_by(self, stage: Stage, unsure: Array) -> Array:
        """Let the next variant answer the open rows; those that it is not sure of either come back, its answers in place."""
        theirs = stage.session.predict(self._picked(unsure))
        found = dict(batched(theirs.outputs, stage.session.origin.batched))
        self._outputs = fill(self._outputs, unsure, found, self._origin.decision, self._origin.task)
        self._score[unsure], self._limit[unsure] = stage.scores(found, len(unsure))
        for row in unsure:
            self._by[row] = Answered(self._node.tier, stage.variant, deferred=False)
        return unsure[~(self._score[unsure] >= self._limit[unsure])]

    def _judged(self, unsure: Array, decided: tuple[Verdict, Ticket] | None) -> tuple[Array, Array]:
        """Rows to pass on, and kept rows to compare: as the rules say, or as the guard does."""
        guard = self._node.guard
        if guard is None:
            return unsure, unsure[:0]
        open_rows = set(unsure.tolist())
        verdicts: list[Verdict] = []
        for row in range(self._rows):
            verdict, ticket = decided or guard.decide(float(self._first_score[row]), row not in open_rows)
            verdicts.append(verdict)
            self._tickets.append(ticket)
        found = np.array(verdicts)
        assert all(verdict in (KEEP, AUDIT, DEFER) for verdict in verdicts)
        return np.flatnonzero(found == DEFER), np.flatnonzero(found == AUDIT)

    def _ask(self, rows: Array) -> Reply | None:
        """Fill these rows by what upstream says, or mark them where it says nothing that can be used."""
        link = self._node.link
        before, reply = self._outputs[self._origin.decision], None
        try:
            if link is None:
                raise InputError("no upstream is named")
            if self._cancel:
                raise InputError("the call was given up")
            question, outbound = self._question(rows, "deferral")
            reply = link.ask(question, outbound, self._cancel)
            given = [at for at, who in enumerate(reply.by) if who.answered]
            theirs = _of_rows(reply.outputs, given, len(rows))
            self._outputs = fill(self._outputs, rows[given], theirs, self._origin.decision, self._origin.task)
            link.succeeded()
        except EdgewiseError as error:
            if reply is not None and link is not None:
                link.failed()
            for row in rows:
                self._alone(row, error.what)
            return None
        self._sent(outbound)
        for row, who in zip(rows, reply.by, strict=True):
            if not who.answered:
                self._alone(row, who.why or "upstream has no answer to it")
                continue
            why = who.why or f"not sure enough: {self._short(row)}"
            self._by[row] = Answered(who.tier, who.variant, who.degraded, why)
        self._tell(rows, before, reply)
        return reply

    def _alone(self, row: int, why: str) -> None:
        """Mark a row that stays this node's own for want of others."""
        said = f"not sure enough ({self._short(row)}), and {why}"
        self._by[row] = Answered(self._node.tier, self._by[row].variant, True, said, deferred=False)

    def _audit(self, rows: Array) -> None:
        """Have rows that are kept answered upstream as well; nobody waits for it, and where it fails nothing was learnt."""
        link, ours = self._node.link, self._outputs[self._origin.decision]
        if link is None:
            return
        try:
            question, outbound = self._question(rows, "audit")
            link.post(question, outbound, lambda reply: self._compared(link, rows, ours, reply))
        except EdgewiseError:
            return
        self._sent(outbound)

    def _sent(self, outbound: Outbound) -> None:
        self._asked = outbound.to
        self._left += outbound.size

    def _compared(self, link: Link, rows: Array, ours: Array, reply: Reply) -> None:
        """By a courier, of an audit."""
        link.succeeded()
        self._tell(rows, ours, reply)

    def _tell(self, rows: Array, ours: Array, reply: Reply) -> None:
        guard = self._node.guard
        theirs = reply.outputs.get(self._origin.decision)
        # One that was itself unsure is no measure of what this node keeps.
        sure = [at for at, who in enumerate(reply.by) if who.answered and not who.degraded]
        if guard is not None and theirs is not None and sure:
            told = rows[sure]
            guard.learnt(
                self._first_score[told].tolist(), ours[told], theirs[sure], [self._tickets[row] for row in told]
            )

    def _question(self, rows: Array, purpose: Any) -> tuple[Question, Outbound]:
        link = self._node.link
        assert link is not None
        picked = self._picked(rows)
        size = sum(array.nbytes for array in picked.values()) if link.upstream.leaves else 0
        outbound = Outbound(purpose, link.upstream.name, "raw", len(rows), size)
        return Question(picked, self._until, self._origin.decision, self._trail, not self._origin.batched), outbound

    def _picked(self, rows: Array) -> dict[str, Array]:
        if not self._feeds:
            inputs, named = self._given
            self._feeds = self._node.stages[0].session.read(inputs, **named)
        return {name: array[rows] for name, array in self._feeds.items()} if self._origin.batched else self._feeds

    def _short(self, row: int) -> str:
        if self._score[row] >= self._limit[row]:
            return "the promise is being learnt, or was broken"
        return f"{shown(self._score[row])} is below {shown(self._limit[row])}"


def _of_rows(outputs: Mapping[str, Array], given: list[int], rows: int) -> Mapping[str, Array]:
    """The rows that were answered; an output of another length is left as it is, for ``fill`` to refuse."""
    if len(given) == rows:
        return outputs
    return {name: array[given] if len(array) == rows else array for name, array in outputs.items()}


def _spent(reply: Reply, whole: float) -> dict[str, float]:
    """tier -> seconds: as upstream says, and the rest of the time that it took to be there and back."""
    found: dict[str, float] = {}
    for tier, seconds in reply.spent:
        found[tier] = found.get(tier, 0.0) + seconds
    return found | {"network": max(0.0, whole - sum(found.values()))}

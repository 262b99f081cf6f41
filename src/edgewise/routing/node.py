"""A node: it answers what it is sure of, passes on what it is not, and goes on alone where nobody answers.

    answer = node.predict(x)                 # outputs, and: deferred, degraded, why, confidence, tier, variant, spent

The path of one call: the first variant answers; its rule scores each row; what is sure enough is kept. The other rows go to the
next variant, if there is one, and then upstream, all in one question (``call``). Whatever happens there (late, wrong, gone,
refused), the device's own answer comes back for those rows, marked ``degraded`` and with the reason: asking never raises, and
never takes longer than the deadline. An input that does not fit the model still raises TensorError: it is the caller's fault.

Where a ``Guard`` watches over the promise, it has the last word on each row: it may pass on what the rules would keep, and have
some of what is kept answered upstream as well, later and by the way, to compare.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, final

from edgewise.bundle.document import Document
from edgewise.clock import Clock, SystemClock
from edgewise.errors import InputError, UnsupportedError
from edgewise.net.cancel import Cancel
from edgewise.routing.call import Call
from edgewise.routing.egress import Entry, Ledger
from edgewise.routing.guard import Guard
from edgewise.routing.link import Link
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Trail
from edgewise.routing.watch.events import KEEP, Ticket, Verdict
from edgewise.runtime.answer import Answer
from edgewise.runtime.route import Route
from edgewise.runtime.session import Origin

__all__ = ["Node"]


@final
class Node:
    """Made by ``edgewise.load(ref, upstream=...)``; takes the place of a session. Safe to call from several threads.

    stages: the variants that answer here, the cheapest first. link: the way upstream; None where nobody can be asked.
    deadline: seconds that a call may take where it does not say itself. ident: by which this node is known in trails.
    guard: watches over the promise; where it learnt a threshold by itself, that one counts and not the stage's.
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
        guard: Guard | None = None,
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
        self.guard = guard
        self._ledger = ledger
        self._predict = stages[0].session.predict
        # A promise for each class is looked up by the stage; without one, nothing stands between the rule and its threshold.
        self._score = None if stages[0].by_group else stages[0].rule.score
        self._limit = stages[0].threshold
        self._seconds = (clock or SystemClock()).seconds
        self._has_axis = stages[0].session.origin.batched

    @property
    def document(self) -> Document:
        return self.stages[0].session.document

    @property
    def origin(self) -> Origin:
        """Of the variant that answers first."""
        return self.stages[0].session.origin

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
        from another thread, the call goes on with what it has. trail: who passed this question on to this node. An input of one of
        these names goes into a mapping.
        Raises TensorError for an input that does not fit; nothing else.
        """
        start = self._seconds()
        answer = self._predict(inputs, **named)
        decided = None
        if answer.rows == 1 and self._has_axis:
            if self._score is not None:
                score, limit = self._score(answer.outputs), self._limit
            else:
                score, limit = self.stages[0].score(answer.outputs)
            if self.guard is not None:
                kept, decided, limit = self._watched(score, limit)
            else:
                kept = score >= limit
            if kept:
                answer.route = Route((score,), (limit,), self._seconds() - start)
                if self._ledger is not None:
                    self._ledger.record(Entry(1, 1, 0, 0, "", 0, self._seconds() - start))
                return answer
        until = start + (self.deadline if deadline is None else deadline)
        call = Call(self, answer, (inputs, named), until, trail or Trail(), cancel)
        answer = call.settle(start, self._seconds, decided)
        if self._ledger is not None:
            self._ledger.record(call.entry(self._seconds() - start))
        return answer

    def close(self) -> None:
        """Stop asking and release the engines' memory."""
        if self.link is not None:
            self.link.close()
        if self.guard is not None:
            self.guard.save()
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

    def _watched(self, score: float, limit: float) -> tuple[bool, tuple[Verdict, Ticket] | None, float]:
        """Whether one row is kept and no more is to be done for it; what was decided of it; what it has to reach."""
        assert self.guard is not None
        learnt = self.guard.threshold
        limit = limit if learnt is None else learnt
        if not score >= limit:
            return False, None, limit  # the next variant may keep it: it is decided when all have answered
        decided = self.guard.decide(score, True)
        return decided[0] == KEEP, decided, limit

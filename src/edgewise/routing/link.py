"""The way to one upstream: whether it may be asked now, asking it in time, and what follows from how that went."""

import math
from collections.abc import Callable
from threading import Lock
from typing import final

from edgewise.clock import Clock
from edgewise.errors import NetworkError, PeerError, RefusedError
from edgewise.net.cancel import Cancel
from edgewise.routing.breaker import Breaker, State
from edgewise.routing.couriers import Couriers, Errand
from edgewise.routing.egress import Gate, Outbound
from edgewise.routing.upstream import Described, Question, Reply, Upstream

__all__ = ["Link"]

_FAIR = 0.05  # seconds: an upstream that had less than this to answer in is not blamed for being late
_KNOWN_FOR = 60.0  # seconds that what an upstream says of itself is believed
_UNFIT_FOR = 5.0  # seconds after which one that did not fit is looked at again: it may have been updated


@final
class Link:
    """labels: the classes that upstream must have, in order, where it says any; () for any. cuts: tensors it must go on from."""

    def __init__(
        self,
        upstream: Upstream,
        gate: Gate,
        clock: Clock,
        *,
        node: str,
        labels: tuple[str, ...] = (),
        cuts: tuple[str, ...] = (),
        breaker: Breaker | None = None,
        most: int = 16,
    ) -> None:
        self.upstream = upstream
        self._gate = gate
        self._clock = clock
        self._node = node
        self._labels = labels
        self._cuts = cuts
        self._couriers = Couriers(clock, most)
        self._lock = Lock()
        self._breaker = breaker or Breaker()
        self._known: Described | None = None
        self._unfit = ""
        self._known_until = -math.inf

    @property
    def state(self) -> State:
        """Of the circuit breaker."""
        return self._breaker.state

    def ask(self, question: Question, outbound: Outbound, cancel: Cancel | None) -> Reply:
        """In the time that the question has. Raises EdgewiseError with the reason in words; nothing else."""
        errand = self._sent(question, outbound)
        forget = cancel.on_set(errand.give_up) if cancel is not None else None
        fair = question.until - self._clock.seconds() >= _FAIR
        try:
            return errand.wait(question.until - self._clock.seconds())
        finally:
            if errand.late and fair:  # by whoever waits: a courier that hangs reports nothing
                self.failed()
            if forget is not None:
                forget()

    def post(self, question: Question, outbound: Outbound, then: Callable[[Reply], None]) -> None:
        """Ask without waiting; ``then`` gets the reply, if one comes, in another thread. Raises as ``ask`` where it is not sent."""
        self._sent(question, outbound, then)

    def close(self) -> None:
        self._couriers.close()
        self.upstream.close()

    def _sent(
        self, question: Question, outbound: Outbound, then: Callable[[Reply], None] = lambda reply: None
    ) -> Errand[Reply]:
        if question.trail.hops < 0:
            raise RefusedError("the question has been passed on as often as it may be")
        if self._node in question.trail.nodes[:-1]:
            raise RefusedError("the question has been here before: the chain of nodes is a loop")
        verdict = self._gate.decide(outbound)
        if not verdict.allowed:
            raise RefusedError(verdict.why or "the policy does not allow it")
        now = self._clock.seconds()
        if question.until <= now:
            raise NetworkError("there is no time left to ask upstream")
        with self._lock:
            if self._unfit and now < self._known_until:
                raise PeerError(self._unfit)
            if not self._breaker.may_ask(now):
                raise NetworkError("upstream has failed repeatedly and is left alone for a while")
            self._breaker = self._breaker.asked(now)

        def work(cancel: Cancel) -> Reply:
            reply = self._exchange(question, cancel)
            then(reply)
            return reply

        errand = Errand(work)
        if not self._couriers.send(errand):
            raise NetworkError("too many questions wait for upstream already")
        return errand

    def _exchange(self, question: Question, cancel: Cancel) -> Reply:
        """By a courier."""
        fair = question.until - self._clock.seconds() >= _FAIR
        try:
            self._fitting(question, cancel)
            reply = self.upstream.ask(question, cancel)
            if len(reply.by) != question.rows:
                raise PeerError(f"upstream answers {len(reply.by)} rows to {question.rows}")
        except RefusedError:
            raise
        except BaseException as error:
            # Given up: by a caller that went away, which says nothing of upstream, or by one that counts it itself.
            if not cancel and (fair or not isinstance(error, NetworkError)):
                self.failed()
            raise
        return reply

    def succeeded(self) -> None:
        """What upstream said was of use: whoever asked says so, for a reply that has the right form may still fit nothing."""
        with self._lock:
            self._breaker = self._breaker.succeeded()

    def failed(self) -> None:
        """What upstream said could not be used, or did not come."""
        with self._lock:
            self._breaker = self._breaker.failed(self._clock.seconds())

    def _fitting(self, question: Question, cancel: Cancel) -> None:
        """Ask once what upstream is. Raises PeerError where its classes or cut points are not those that we have."""
        with self._lock:
            known, unfit = self._known, self._unfit
            fresh = self._clock.seconds() < self._known_until
        if not fresh:
            known = self.upstream.describe(question.until, cancel)
            unfit = self._misfit(known)
            with self._lock:
                self._known, self._unfit = known, unfit
                self._known_until = self._clock.seconds() + (_UNFIT_FOR if unfit else _KNOWN_FOR)
        if unfit:
            raise PeerError(unfit)
        if known is not None and known.node and known.node in question.trail.nodes:
            raise RefusedError("the question has been there before: the chain of nodes is a loop")

    def _misfit(self, described: Described) -> str:
        if self._labels and described.labels and described.labels != self._labels:
            ours, theirs = set(self._labels), set(described.labels)
            differ = sorted(ours ^ theirs)[:3]
            said = f"for instance {', '.join(differ)}" if differ else "in another order"
            return f"upstream has other labels than this model: {''.join(c if c.isprintable() else '?' for c in said)[:200]}"
        missing = [cut for cut in self._cuts if cut not in described.cuts]
        return f"upstream cannot go on from {', '.join(missing)[:200]}" if missing else ""

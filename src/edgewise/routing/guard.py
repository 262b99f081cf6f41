"""What drives the watch over a promise in a node: a lock, a coin for each input, upstream's answers, and somebody to report to.

``watch`` decides; nothing here does. A refit takes long beside an answer, so a thread of its own makes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from threading import Lock, Thread
from typing import final

import numpy as np

from edgewise.errors import EdgewiseError
from edgewise.routing.watch.events import (
    DEFER,
    KEEP,
    Broken,
    Fitted,
    Instruction,
    Refit,
    Ticket,
    Trusted,
    Verdict,
)
from edgewise.routing.watch.widen import Watch, fit_exactly
from edgewise.runtime.engine import Array

__all__ = ["Guard", "Report"]

_SAVED = 200  # answers of upstream after which the state is kept: no more evidence than that is lost with the power

#: What a person should hear of: a promise that broke, or a threshold that was learnt.
Report = Broken | Trusted


@final
class Guard:
    """disagree: two deciding outputs of the same rows -> (n,) of bool. coin: a draw from 0..1 for each input.

    report: called with what happened; it must not block. keep: called with the state where it should survive a restart.
    """

    def __init__(
        self,
        watch: Watch,
        disagree: Callable[[Array, Array], Array],
        coin: Callable[[], float],
        *,
        fit: Callable[[Refit], Fitted] = fit_exactly,
        report: Callable[[Report], None] = lambda what: None,
        keep: Callable[[Watch], None] = lambda watch: None,
    ) -> None:
        self._watch = watch
        self._disagree = disagree
        self._coin = coin
        self._fit = fit
        self._report = report
        self._keep = keep
        self._lock = Lock()
        self._calm: list[tuple[float, float]] = []
        self._heard = 0

    @property
    def watch(self) -> Watch:
        """The state as it is now."""
        with self._lock:
            return self._taken_up()

    @property
    def threshold(self) -> float | None:
        """What a score has to reach, where that was learnt here or nothing is kept; None where a calibration says it."""
        watch = self._watch
        return None if watch.given else watch.threshold

    def decide(self, score: float, kept: bool) -> tuple[Verdict, Ticket]:
        """Who answers an input of this score; kept: whether the rules keep it. The ticket comes back with ``learnt``."""
        with self._lock:
            watch, coin = self._watch, self._coin()
            # Nothing to decide, and nothing to look at yet: as ``Watch.decide`` does it, without a new state for each answer.
            if watch.mode == "keeping" and (not kept or coin >= watch.share) and isfinite(score):
                calm = self._calm
                calm.append((score, coin))
                if len(watch.put_by) + len(calm) < watch.room:
                    return (KEEP if kept else DEFER), watch.ticket
                calm.pop()
            self._watch, verdict, ticket, todo = self._taken_up().decide(score, coin, kept)
        if todo:
            self._do(todo)
        return verdict, ticket

    def learnt(self, scores: Sequence[float], ours: Array, theirs: Array, tickets: Sequence[Ticket]) -> None:
        """Upstream answered rows that were deferred or audited; outputs that cannot be compared teach nothing."""
        try:
            differ = self._disagree(ours, theirs)
        except EdgewiseError:
            return
        for score, other, ticket in zip(scores, differ.tolist(), tickets, strict=True):
            with self._lock:
                self._watch, todo = self._taken_up().learnt(score, other, ticket)
                self._heard += 1
                due = self._heard % _SAVED == 0
            if todo:
                self._do(todo)
            if due:
                self.save()

    def resume(self) -> None:
        """Let a promise that broke be learnt again, where the terms leave that to a person."""
        with self._lock:
            self._watch, todo = self._taken_up().resumed()
        self._do(todo)

    def save(self) -> None:
        """Hand the state to ``keep``: now and then, and before the end."""
        self._keep(self.watch)

    def _taken_up(self) -> Watch:
        """The state with the calm answers since; under the lock."""
        if self._calm:
            self._watch = replace(self._watch, put_by=(*self._watch.put_by, *self._calm))
            self._calm.clear()
        return self._watch

    def _do(self, todo: Sequence[Instruction]) -> None:
        for instruction in todo:
            if isinstance(instruction, Refit):
                Thread(target=self._refit, args=(instruction,), name="edgewise-refit", daemon=True).start()
            else:
                self.save()
                self._report(instruction)

    def _refit(self, refit: Refit) -> None:
        try:
            found = self._fit(refit)
        except EdgewiseError:
            found = Fitted(float(np.inf))
        with self._lock:
            self._watch, todo = self._taken_up().fitted(found)
        self._do(todo)

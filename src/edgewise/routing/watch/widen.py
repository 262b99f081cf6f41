"""The promise in use, as one state machine: learning a threshold, keeping to it, and what is done when it breaks. Pure.

    learning --fitted-->  keeping --broken or drifted-->  broken --answered (or resumed)-->  learning
       ^ nothing to keep |

- *learning*: everything is deferred. Upstream's answers say where the device would have disagreed; from a number of such pairs
  that is fixed beforehand one threshold is fitted by the exact test of ``routing.risk``. Where nothing can be kept, twice as many
  are collected. The first try has nine tenths of delta, later ones delta / 10 / (k (k + 1)): together no more than delta.
- *keeping*: scores of at least the threshold are answered here; ``audit`` and ``drift`` watch over it.
- *broken*: everything is deferred from the very next input on, so that nothing more is lost, and the break is reported. What was
  learnt before the break is forgotten: it says nothing of the inputs that come now. A stricter threshold is *not* guessed:
  the few audits at hand cannot show that it holds. As soon as upstream answers, the device learns again.

**What is promised, for each threshold**: a risk above epsilon with probability at most delta, when it is fitted, if inputs are
drawn alike; if that ends, it is found. While it holds, a false alarm of the audit with probability at most alpha, and one of the
drift watch with at most ``drift_alpha``, however long it is used.

A node holds the state, calls ``step`` under a lock, and does what it says. In the calm case a step puts the score by; audit and
drift take them up sixteen at a time, which is what makes a step cheap, and delays an alarm by as many inputs at most.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from edgewise.errors import InputError
from edgewise.routing.watch.audit import Audit, begin_audit
from edgewise.routing.watch.drift import Drift, Sketch, begin_drift, sketch
from edgewise.routing.watch.events import (
    AUDIT,
    DEFER,
    KEEP,
    Broken,
    Event,
    Fitted,
    Instruction,
    Learnt,
    Refit,
    Seen,
    Ticket,
    Trusted,
    Verdict,
)
from edgewise.routing.watch.pairs import allowed, pairs_after

__all__ = ["Mode", "Terms", "Watch", "begin_watch", "fit_exactly", "step"]

Mode = Literal["learning", "keeping", "broken"]

#: (mode, what happened) -> mode. Whatever is not named here leaves the mode as it is.
TABLE: Mapping[tuple[Mode, str], Mode] = MappingProxyType({
    ("learning", "fitted"): "keeping",
    ("keeping", "broken"): "broken",
    ("keeping", "drifted"): "broken",
    ("broken", "answered"): "learning",
    ("broken", "resumed"): "learning",
})  # fmt: skip

_SAMPLES = 19.0  # pairs times epsilon: at one point some 2,000, which keep nearly as much as any number would
_FEWEST = 32  # that a sketch of the scores can be drawn from
_MOST = 60_000  # pairs that are held: below an epsilon of 0.00006 nothing can be learnt from them, and all is deferred
_FIRST = 0.9  # of delta
_AT_ONCE = 16  # scores that are put by
_LOWEST = -1e308  # stands for a score that is no number: the least sure of all


@dataclass(frozen=True, slots=True)
class Terms:
    """What a watch is to keep, and how.

    epsilon, delta: the promise. alpha, share, closer: see ``begin_audit``; drift_alpha: see ``begin_drift``. samples: pairs that a
    threshold is learnt from; 0: 19 / epsilon, or some more (see ``pairs``). on_drift: whether changed scores widen deferral, or
    are reported alone. returns: whether a broken promise is learnt anew as soon as upstream answers; else after ``resumed``.
    seed: puts equal scores in order.
    """

    epsilon: float
    delta: float = 0.05
    alpha: float = 0.05
    share: float = 0.02
    closer: float = 0.2
    drift_alpha: float = 0.01
    samples: int = 0
    on_drift: Literal["widen", "report"] = "widen"
    returns: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        inside = all(
            0 < value < 1 for value in (self.epsilon, self.delta, self.alpha, self.share, self.closer, self.drift_alpha)
        )
        if (
            not inside
            or self.share > self.closer
            or self.on_drift not in ("widen", "report")
            or not (self.samples == 0 or _FEWEST <= self.samples <= _MOST)
        ):
            raise InputError(
                f"terms of a watch have shares between 0 and 1, closer at least share, samples 0 or {_FEWEST}..{_MOST}; "
                f"not {self}",
                remedy="Terms(epsilon=0.01) is one point at 95 %, with 2 % of the kept inputs audited.",
            )

    def pairs(self, tries: int) -> int:
        """How many pairs a threshold is learnt from, after so many tries that kept nothing."""
        chance, times = self.chance(tries), min(tries, 16)
        if self.samples:
            least = pairs_after(1, self.epsilon, chance)  # without which nothing can be kept
            return min(max(self.samples << times, least), _MOST)
        first = max(math.ceil(_SAMPLES / self.epsilon), _FEWEST)
        return min(pairs_after(min(first << times, _MOST), self.epsilon, chance), _MOST)

    def chance(self, tries: int) -> float:
        """The part of delta that the try after so many others may use."""
        return self.delta * (_FIRST if not tries else (1 - _FIRST) / (tries * (tries + 1)))


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is being learnt from: scores and whether the device disagreed, in the order in which upstream answered.

    tries: that kept nothing. fitting: a Refit is out.
    """

    scores: tuple[float, ...] = ()
    disagreed: tuple[bool, ...] = ()
    tries: int = 0
    fitting: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """A state of the machine. threshold: infinity unless keeping. given: it is that of a calibration. stretch: counts the changes
    of mode from and to keeping. audit: while keeping. drift: while keeping, if there is a sketch, until it was reported.
    put_by: scores and coins that neither has taken up yet; room: for so many.
    """

    terms: Terms
    mode: Mode
    threshold: float
    given: bool
    stretch: int
    audit: Audit | None
    drift: Drift | None
    pairs: Pairs
    share: float = 0.0
    room: int = _AT_ONCE
    put_by: tuple[tuple[float, float], ...] = ()

    @property
    def ticket(self) -> Ticket:
        """Of an input that was just deferred; of an audited one, ``decide`` gives it."""
        return self.stretch, -1, False

    def decide(
        self, score: float, coin: float, kept: bool | None = None
    ) -> "tuple[Watch, Verdict, Ticket, tuple[Instruction, ...]]":
        """Who answers an input, see ``Seen``: the next state, the verdict, the ticket for ``learnt``, and what is to be done."""
        if self.mode != "keeping":
            return self, DEFER, (self.stretch, -1, False), ()
        sure = score >= self.threshold if kept is None or not self.given else kept
        verdict = DEFER if not sure else AUDIT if coin < self.share else KEEP
        if not math.isfinite(score):
            score, verdict = _LOWEST, DEFER
        put_by = (*self.put_by, (score, coin))
        if verdict != AUDIT and len(put_by) < self.room:
            state = Watch(
                self.terms, self.mode, self.threshold, self.given, self.stretch, self.audit, self.drift, self.pairs, self.share,
                self.room, put_by,
            )  # fmt: skip
            return state, verdict, (self.stretch, -1, False), ()
        return _taken_up(replace(self, put_by=put_by), verdict)

    def learnt(self, score: float, disagree: bool, ticket: Ticket) -> "tuple[Watch, tuple[Instruction, ...]]":
        """Upstream answered, see ``Learnt``: the next state, and what is to be done."""
        if ticket[0] != self.stretch:
            return self, ()  # of another threshold's time
        if self.mode == "keeping":
            return _audited(self, disagree, ticket)
        state = self
        if self.mode == "broken":
            if not self.terms.returns:
                return self, ()
            state = _moved(self, "answered")
        return _paired(state, score if math.isfinite(score) else _LOWEST, disagree)

    def fitted(self, found: Fitted) -> "tuple[Watch, tuple[Instruction, ...]]":
        """A Refit came back, see ``Fitted``."""
        pairs = self.pairs
        if self.mode != "learning" or not pairs.fitting:
            return self, ()
        if not math.isfinite(found.threshold):
            tries = pairs.tries + 1
            # Where no more are collected, the older half makes room.
            drop = len(pairs.scores) // 2 if self.terms.pairs(tries) <= len(pairs.scores) * 1.5 else 0
            return replace(self, pairs=Pairs(pairs.scores[drop:], pairs.disagreed[drop:], tries)), ()
        drawn = sketch(np.array(pairs.scores), np.random.default_rng((self.terms.seed, self.stretch)))
        report = Trusted(found.threshold, self.terms.epsilon, len(pairs.scores), found.offload, found.lost)
        return _keeping(_moved(self, "fitted"), found.threshold, drawn, given=False), (report,)

    def resumed(self) -> "tuple[Watch, tuple[Instruction, ...]]":
        """Somebody lets a broken promise be learnt again; nothing happens in another mode."""
        return (_moved(self, "resumed") if self.mode == "broken" else self), ()


def begin_watch(terms: Terms, threshold: float | None = None, drawn: Sketch | None = None) -> Watch:
    """threshold: of a calibration on this variant against this upstream; None: learn one. drawn: of the calibration's scores."""
    learning = Watch(terms, "learning", math.inf, False, 0, None, None, Pairs())
    if threshold is None or threshold == math.inf:
        return learning
    if not math.isfinite(threshold):
        raise InputError(f"a threshold is a number, not {threshold}", remedy="Fit it again with `edgewise calibrate`.")
    return _keeping(replace(learning, mode="keeping"), threshold, drawn, given=True)


def step(state: Watch, event: Event) -> tuple[Watch, tuple[Verdict | Instruction, ...]]:
    """One event, for a log that is replayed; for Seen, the verdict comes first."""
    if isinstance(event, Seen):
        after, verdict, _, todo = state.decide(event.score, event.coin, event.kept)
        return after, (verdict, *todo)
    if isinstance(event, Learnt):
        return state.learnt(event.score, event.disagree, event.ticket)
    return state.fitted(event) if isinstance(event, Fitted) else state.resumed()


def fit_exactly(refit: Refit) -> Fitted:
    """What Refit asks for, by the exact binomial test on disagreement."""
    if allowed(len(refit.scores), refit.epsilon, refit.delta) < 0:
        return Fitted(math.inf)
    # A device that answers does not load what measures before it has something to fit.
    from edgewise.routing.risk import Promise, fit_agreement  # noqa: PLC0415

    found = fit_agreement(refit.scores, refit.disagreed, Promise(refit.epsilon, refit.delta))
    return Fitted(found.threshold, found.offload, found.lost)


def _moved(state: Watch, occasion: str) -> Watch:
    return replace(state, mode=TABLE[state.mode, occasion])


def _keeping(state: Watch, threshold: float, drawn: Sketch | None, *, given: bool) -> Watch:
    terms = state.terms
    audit = begin_audit(terms.epsilon, terms.alpha, terms.share, closer=terms.closer)
    drift = None if drawn is None else begin_drift(drawn, terms.drift_alpha)
    state = replace(
        state, threshold=threshold, given=given, stretch=state.stretch + 1, audit=audit, drift=drift, pairs=Pairs()
    )
    return settled(state)


def settled(state: Watch) -> Watch:
    """How many scores may be put by: no block of the audit ends among them, so that one share holds for all."""
    audit = state.audit
    if audit is None:
        return replace(state, share=0.0, room=_AT_ONCE, put_by=())
    return replace(state, share=audit.share, room=min(_AT_ONCE, audit.room), put_by=())


def taken_up(state: Watch) -> tuple[Watch, tuple[Instruction, ...]]:
    """The state with nothing put by."""
    after, _, _, todo = _taken_up(state, KEEP)
    return after, todo


def _taken_up(state: Watch, verdict: Verdict) -> tuple[Watch, Verdict, Ticket, tuple[Instruction, ...]]:
    audit, drift = state.audit, state.drift
    assert audit is not None
    count, ticket = len(state.put_by), state.ticket
    if verdict == AUDIT:
        audit, count = audit.unaudited(count - 1), 1
        ticket = (state.stretch, *audit.ticket)
        audit = audit.observe(kept=True, audited=True)
    else:
        audit = audit.unaudited(count)
    if drift is not None:
        drift = drift.observe_all(state.put_by)
    state = settled(replace(state, audit=audit, drift=drift))
    if drift is not None and drift.drifted:
        state, report = _drifted(state, drift)
        return state, verdict, ticket, (report,)
    return state, verdict, ticket, ()


def _audited(state: Watch, disagree: bool, ticket: Ticket) -> tuple[Watch, tuple[Instruction, ...]]:
    if ticket[1] < 0 or not disagree:
        return state, ()  # a deferred input's answer is no evidence on what is kept; agreement was counted already
    state, todo = taken_up(state)
    audit = state.audit
    if audit is None:
        return state, todo
    audit = audit.heard(True, (ticket[1], ticket[2]))
    state = settled(replace(state, audit=audit))
    if not audit.broken:
        return state, todo
    report = _report(state, "audit", audit.e_value, audit.plan.restarts.bar, widened=True)
    return _widened(state, "broken"), (*todo, report)


def _drifted(state: Watch, drift: Drift) -> tuple[Watch, Broken]:
    widened = state.terms.on_drift == "widen"
    report = _report(state, "drift", drift.e_value, drift.plan.restarts.bar, widened=widened)
    return (_widened(state, "drifted") if widened else replace(state, drift=None)), report


def _report(state: Watch, cause: Literal["audit", "drift"], e_value: float, bar: float, *, widened: bool) -> Broken:
    audit = state.audit
    assert audit is not None
    return Broken(
        cause, widened, state.threshold, state.terms.epsilon, e_value, bar, audit.inputs, audit.audited, audit.disagreed,
        audit.risk, audit.likely if audit.audited else math.nan, math.nan if state.drift is None else state.drift.rank,
    )  # fmt: skip


def _widened(state: Watch, occasion: str) -> Watch:
    """Nothing is kept from here on, and nothing of what was learnt before is used again."""
    after = replace(
        _moved(state, occasion), threshold=math.inf, given=False, stretch=state.stretch + 1, audit=None, drift=None, pairs=Pairs()
    )  # fmt: skip
    return settled(after)


def _paired(state: Watch, score: float, disagree: bool) -> tuple[Watch, tuple[Instruction, ...]]:
    terms, pairs = state.terms, state.pairs
    if pairs.fitting:
        return state, ()
    pairs = replace(pairs, scores=(*pairs.scores, score), disagreed=(*pairs.disagreed, disagree))
    if len(pairs.scores) < terms.pairs(pairs.tries):
        return replace(state, pairs=pairs), ()
    refit = Refit(np.array(pairs.scores), np.array(pairs.disagreed), terms.epsilon, terms.chance(pairs.tries))
    return replace(state, pairs=replace(pairs, fitting=True)), (refit,)

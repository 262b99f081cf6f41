"""Whether a promise still holds, by a few answers that are asked for although they are not needed. Pure.

**What is watched.** Risk is the share of all inputs that the device keeps and answers otherwise than upstream would. Of the
inputs that are kept nobody knows, so for a small share q of them, by the toss of a coin, upstream is asked as well; the answer
given stays the local one. X = (kept, audited and in disagreement) / q is then an unbiased guess of each input's loss, whatever
is kept and however disagreement depends on it: the importance weight 1 / q stands for those that were not asked about.
Inputs that are passed on lose nothing, X = 0. What upstream says to *them* is no evidence on this promise, but on thresholds:
it is what the next one is learnt from (``widen``).

**The test** (betting: Waudby-Smith and Ramdas 2024, arXiv 2010.09686). Hypothesis: the mean of X, given all before, is at most
epsilon. Gambler j believes in a risk r_j above epsilon and multiplies his fortune by 1 + b (X - epsilon) with
b = q (r_j - epsilon) / (epsilon (1 - q epsilon)), which is below 1 / epsilon, so that no stake ruins him: without a
disagreement this is (1 - q r_j) / (1 - q epsilon), with one r_j / epsilon: the likelihood ratio of r_j against epsilon. Stakes
do not depend on what they are bet on. There are eight gamblers with an eighth of the money each, their r_j in equal ratios from
epsilon to 1, so that small breaks and large ones are both somebody's. When fortunes begin anew, and what then is promised of
false alarms, is in ``restarts``. Nothing is assumed of the inputs, not even that they are drawn alike: as long as the risk is at
most epsilon at each, a false alarm comes no more often than stated.

**Looking closer.** q is chosen before the coin is tossed, so it may depend on the past: where evidence of late (``doubt``) is
above ``wary``, the share is ``closer``. A suspicion is made sure, or laid to rest, in a fraction of the inputs; in good times it
costs next to nothing.

**Answers that come late.** An audit counts as agreement until its answer is heard (``heard``), so that slow answers, lost ones,
and the order in which they come, can delay an alarm and not raise one. A disagreement counts for the money that was betting when
its input was decided, and no longer after one further block. Where upstream cannot be asked at all at present, which a node
knows before it looks at an input, that input is not observed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgewise.bundle.fields import Form
from edgewise.errors import InputError
from edgewise.routing.watch.restarts import Restarts, Way

__all__ = ["Audit", "Ticket", "begin_audit", "read_audit"]

_BETS = 8
_BLOCK = 0.25  # of the disagreements that a risk of epsilon would show: short against what a break takes to be found
_RICHEST = 230.0  # natural logarithm of a fortune
_RICH = 1e100  # no fortune is counted beyond: an alarm is long since raised
_MOST = 1 << 52  # of any count

#: When an audited input was decided: its block, and whether the larger share held.
Ticket = tuple[int, bool]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What does not change; factors: logarithms, for each gambler: an input at the usual
    share, one at the closer share, a disagreement."""

    epsilon: float
    share: float
    closer: float
    wary: float
    restarts: Restarts
    factors: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """A state; every method gives the next one.

    fortunes: of the eight gamblers when the block began, without what begins to bet in it. doubts: of as many, each since it last
    had only the 1 it began with (Page 1954): they decide on the share, and on nothing else. usual, close: inputs of this block
    at either share; hits: disagreements on them. close_now: the closer share holds. lost: X summed over all inputs.
    audited, disagreed: of all inputs. broken: the alarm was raised, for good.
    """

    plan: _Plan
    fortunes: tuple[float, ...]
    doubts: tuple[float, ...]
    block: int = 0
    usual: int = 0
    close: int = 0
    hits: tuple[int, int] = (0, 0)
    close_now: bool = False
    audited: int = 0
    disagreed: int = 0
    lost: float = 0.0
    broken: bool = False

    @property
    def share(self) -> float:
        """Which share of the kept inputs is to be audited: the next one where its coin in 0..1 is below this."""
        return self.plan.closer if self.close_now else self.plan.share

    @property
    def ticket(self) -> Ticket:
        """Of the input that is decided now, for ``heard``."""
        return self.block, self.close_now

    @property
    def room(self) -> int:
        """Inputs until the block ends, at least 1: until then the share stays as it is, unless a disagreement is heard."""
        return self.plan.restarts.length - self.usual - self.close

    @property
    def inputs(self) -> int:
        return self.block * self.plan.restarts.length + self.usual + self.close

    @property
    def risk(self) -> float:
        """The mean of X: an unbiased guess of the risk over all inputs so far; NaN before the first."""
        return self.lost / self.inputs if self.inputs else math.nan

    @property
    def e_value(self) -> float:
        """The fortune, of all gamblers and what is kept aside."""
        fresh = self.plan.restarts.begins(self.block) / _BETS
        return sum(_grown(self, self.fortunes, fresh)) + self.plan.restarts.aside(self.block)

    @property
    def doubt(self) -> float:
        """How far evidence of late speaks against the promise: the mean of ``doubts``."""
        return sum(_grown(self, self.doubts)) / _BETS

    @property
    def likely(self) -> float:
        """The risk that the richest gambler believes in: how bad it is by now, rather than since the start."""
        standing = _grown(self, self.doubts)
        return _risks(self.plan.epsilon)[standing.index(max(standing))]

    def observe(self, kept: bool, audited: bool, disagree: bool | None = None) -> "Audit":
        """One input was decided. disagree: what its audit showed, or None where it is not heard yet, or there was none.

        Raises InputError for an audit of what was not kept, or a disagreement without an audit.
        """
        if audited or disagree is not None:
            if not (kept and audited):
                raise InputError(
                    "only a kept input is audited, and only an audited one is known to disagree",
                    remedy="Observe what was passed on with audited=False, and hand upstream's answer to learning instead.",
                )
            ticket = self.ticket
            asked = replace(self._passed(1), audited=self.audited + 1)
            return asked.heard(True, ticket) if disagree else asked
        usual, close = (self.usual, self.close + 1) if self.close_now else (self.usual + 1, self.close)
        if usual + close < self.plan.restarts.length:
            return Audit(
                self.plan, self.fortunes, self.doubts, self.block, usual, close, self.hits, self.close_now,
                self.audited, self.disagreed, self.lost, self.broken,
            )  # fmt: skip
        return self._passed(1)

    def unaudited(self, count: int) -> "Audit":
        """So many inputs at once that were passed on, or kept without an audit, each decided by a coin of its own."""
        state, left = self, count
        while left:
            now = min(left, state.room)
            state, left = state._passed(now), left - now
        return state

    def heard(self, disagree: bool, ticket: Ticket) -> "Audit":
        """The answer to an audit came; ``ticket`` as it was when its input was decided."""
        late = self.block - ticket[0]
        if not disagree:
            return self
        weight = 1 / (self.plan.closer if ticket[1] else self.plan.share)
        state = replace(self, disagreed=self.disagreed + 1, lost=self.lost + weight)
        if late == 0:
            usual, close = self.hits
            state = replace(state, hits=(usual, close + 1) if ticket[1] else (usual + 1, close))
        elif late == 1:
            # What begins to bet in this block had no stake in the last one.
            state = replace(state, fortunes=self._paid(self.fortunes, ticket), doubts=self._paid(self.doubts, ticket))
        broken = self.broken or state.e_value >= self.plan.restarts.bar
        return replace(state, close_now=state.doubt >= self.plan.wary, broken=broken)

    def _paid(self, fortunes: tuple[float, ...], ticket: Ticket) -> tuple[float, ...]:
        """One disagreement where agreement was counted before."""
        pairs = zip(fortunes, self.plan.factors, strict=True)
        return tuple(min(fortune * math.exp(f[2] - f[ticket[1]]), _RICH) for fortune, f in pairs)

    def _passed(self, count: int) -> "Audit":
        """So many inputs, no more than the block still has, without a disagreement."""
        usual, close = (self.usual, self.close + count) if self.close_now else (self.usual + count, self.close)
        if usual + close < self.plan.restarts.length:
            return replace(self, usual=usual, close=close)
        ended, fresh = replace(self, usual=usual, close=close), self.plan.restarts.begins(self.block) / _BETS
        fortunes, doubts = (
            _grown(ended, self.fortunes, fresh),
            [max(1.0, doubt) for doubt in _grown(ended, self.doubts)],
        )
        return replace(
            ended, fortunes=tuple(fortunes), doubts=tuple(doubts), block=self.block + 1, usual=0, close=0, hits=(0, 0),
            close_now=sum(doubts) / _BETS >= self.plan.wary,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """For ``read_audit``: what a restart of the device must not forget."""
        plan = self.plan
        return {
            "epsilon": plan.epsilon, "share": plan.share, "closer": plan.closer, "wary": plan.wary,
            "restarts": plan.restarts.to_json(), "fortunes": list(self.fortunes),
            "doubts": list(self.doubts), "block": self.block, "usual": self.usual,
            "close": self.close, "hits": list(self.hits), "closeNow": self.close_now, "audited": self.audited,
            "disagreed": self.disagreed, "lost": self.lost, "broken": self.broken,
        }  # fmt: skip


def begin_audit(
    epsilon: float, alpha: float = 0.05, share: float = 0.02, *, way: Way = "spending", closer: float = 0.2, wary: float = 3.0
) -> Audit:  # fmt: skip
    """An audit of "risk at most epsilon" that has seen nothing yet.

    alpha: of a false alarm, see ``restarts``. share: of kept inputs that are audited, and ``closer`` where doubt is at
    least ``wary``. Raises InputError for what does not lie between 0 and 1 (wary: above 1), or where closer is below share.
    """
    if not 0 < epsilon < 1 or not 0 < share <= closer < 1 or not wary > 1:
        raise InputError(
            f"an audit has 0 < epsilon < 1, 0 < share <= closer < 1 and wary > 1; not {epsilon}, {share}, {closer}, {wary}",
            remedy="A promise of one point, with two of a hundred kept inputs audited, is epsilon 0.01 and share 0.02.",
        )
    restarts = Restarts(way, max(1, math.ceil(_BLOCK / (share * epsilon))), alpha)
    return Audit(_plan(epsilon, share, closer, wary, restarts), (0.0,) * _BETS, (1.0,) * _BETS)


def read_audit(value: Any, path: str = "") -> Audit:
    """From what ``to_json`` gave. Raises DocumentError with everything that is wrong."""
    form = Form(value, "audit", path)
    small = 1e-9
    epsilon, share = form.number("epsilon", low=small, high=1 - small), form.number("share", low=small, high=1 - small)
    closer, wary = form.number("closer", low=share, high=1 - small), form.number("wary", low=1 + small, high=1e12)
    restarts = form.child("restarts", Restarts.read)
    if restarts is None:
        form.problem("restarts", "is missing")

    def is_fortune(item: Any) -> bool:
        return isinstance(item, float | int) and not isinstance(item, bool) and 0 <= item <= _RICH

    money = {name: form.values(name, is_fortune, "a fortune", limit=_BETS) for name in ("fortunes", "doubts")}
    for name, values in money.items():
        if len(values) != _BETS:
            form.problem(name, f"{_BETS} are needed")
    counts = {name: form.integer(name, high=_MOST) for name in ("block", "usual", "close", "audited", "disagreed")}
    lost = form.number("lost", low=0)
    flags = {name: form.anything(name) for name in ("closeNow", "broken")}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            form.problem(name, "true or false is needed")
    if restarts is not None and counts["usual"] + counts["close"] >= restarts.length:
        form.problem("usual", f"with close, less than a block of {restarts.length} is needed")
    hits = form.values("hits", lambda item: isinstance(item, int) and not isinstance(item, bool), "a count", limit=2)
    if len(hits) != 2 or not (0 <= hits[0] <= counts["usual"] and 0 <= hits[1] <= counts["close"]):
        form.problem("hits", "two counts, not above usual and close, are needed")
    elif not sum(hits) <= counts["disagreed"] <= counts["audited"]:
        form.problem("disagreed", "more disagreements than audits, or fewer than hits")
    form.finish()
    assert restarts is not None
    return Audit(
        _plan(epsilon, share, closer, wary, restarts), tuple(map(float, money["fortunes"])),
        tuple(map(float, money["doubts"])), counts["block"], counts["usual"],
        counts["close"], (hits[0], hits[1]), flags["closeNow"], counts["audited"], counts["disagreed"], lost,
        flags["broken"],
    )  # fmt: skip


def _grown(state: Audit, fortunes: Sequence[float], fresh: float = 0.0) -> list[float]:
    """What fortunes at the block's beginning, each with so much more, are worth by now."""
    hits = sum(state.hits)
    usual, close = state.usual - state.hits[0], state.close - state.hits[1]
    return [
        min((fortune + fresh) * math.exp(min(usual * f[0] + close * f[1] + hits * f[2], _RICHEST)), _RICH)
        for fortune, f in zip(fortunes, state.plan.factors, strict=True)
    ]


def _plan(epsilon: float, share: float, closer: float, wary: float, restarts: Restarts) -> _Plan:
    factors = tuple(
        (
            math.log((1 - share * r) / (1 - share * epsilon)),
            math.log((1 - closer * r) / (1 - closer * epsilon)),
            math.log(r / epsilon),
        )
        for r in _risks(epsilon)
    )
    return _Plan(epsilon, share, closer, wary, restarts, factors)


def _risks(epsilon: float) -> list[float]:
    return [epsilon ** (1 - (j + 0.5) / _BETS) for j in range(_BETS)]

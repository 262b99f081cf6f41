"""A circuit breaker (Nygard, Release It!): an upstream that fails is left alone for a while, then tried with single questions.

Pure: the state goes in with what happened and when, the next one comes out.

| state | asked? | after a success | after a failure |
|---|---|---|---|
| closed | yes | closed, failures forgotten | closed; open at the ``failures``-th in a row |
| open | no; from ``until`` on one question probes | - | - |
| half-open | no: a probe is on its way | closed | open, for twice as long |
"""

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["Breaker", "State"]

State = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """failures: in a row, after which it opens. pause: seconds that it stays open at first; it doubles up to ``longest``.

    probe: seconds after which a probe that nobody reported on counts as lost, so that the next question may probe.
    """

    failures: int = 5
    pause: float = 1.0
    longest: float = 60.0
    probe: float = 30.0
    state: State = "closed"
    count: int = 0
    until: float = 0.0
    pauses: int = 0

    def may_ask(self, now: float) -> bool:
        """Whether a question may be asked at ``now`` (seconds, monotonic)."""
        return self.state == "closed" or now >= self.until

    def asked(self, now: float) -> "Breaker":
        """A question was let through."""
        return self if self.state == "closed" else replace(self, state="half-open", until=now + self.probe)

    def succeeded(self) -> "Breaker":
        if self.state == "closed" and not self.count:
            return self
        return replace(self, state="closed", count=0, pauses=0, until=0.0)

    def failed(self, now: float) -> "Breaker":
        count = self.count + 1
        if self.state == "closed" and count < self.failures:
            return replace(self, count=count)
        if self.state == "open":  # asked before it opened: what it says is known by now
            return self
        pause = min(self.pause * 2**self.pauses, self.longest)
        return replace(self, state="open", count=count, until=now + pause, pauses=min(self.pauses + 1, 32))

"""What may leave, and what is written down of it: the seams of policy and ledger, with the safest that still lets a node ask.

Nothing leaves unless an upstream was named: without one, a node has nobody to send to. With one, exactly that one may be asked.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, final

__all__ = ["DataClass", "Entry", "Gate", "Ledger", "NamedAlone", "Outbound", "Verdict"]

DataClass = Literal["raw", "derived", "aggregate", "control"]


@dataclass(frozen=True, slots=True)
class Outbound:
    """What is about to leave: for what, to whom (the upstream's name), of which class, how many samples of how many bytes."""

    purpose: Literal["deferral", "audit"]
    to: str
    data_class: DataClass
    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """why: in words, where it may not leave."""

    allowed: bool
    why: str = ""


class Gate(Protocol):
    """Thread-safe, and quick: it is asked for each question that would leave."""

    def decide(self, outbound: Outbound) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One call of a node. asked: "" where nobody was. left: bytes of samples that left this process. seconds: of the whole call.

    rows = kept + deferred + degraded: answered by this node, by others, and by this node for want of others.
    """

    rows: int
    kept: int
    deferred: int
    degraded: int
    asked: str
    left: int
    seconds: float
    why: str = ""


class Ledger(Protocol):
    """Thread-safe. It never holds samples or answers."""

    def record(self, entry: Entry) -> None: ...


@final
@dataclass(frozen=True, slots=True)
class NamedAlone:
    """Samples may go to the upstream that was named, and to nobody else."""

    upstream: str

    def decide(self, outbound: Outbound) -> Verdict:
        if outbound.to == self.upstream:
            return Verdict(True)
        return Verdict(False, f"{outbound.to} is not the upstream that was named")

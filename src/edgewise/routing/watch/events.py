"""What happens to a watch, and what it asks of the node that drives it. Values only: a log of them can be replayed."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from edgewise.runtime.engine import Array

__all__ = [
    "AUDIT",
    "DEFER",
    "KEEP",
    "Broken",
    "Event",
    "Fitted",
    "Instruction",
    "Learnt",
    "Refit",
    "Resumed",
    "Seen",
    "Ticket",
    "Trusted",
    "Verdict",
]

#: keep: answer locally. audit: answer locally, and ask upstream all the same, when there is time. defer: ask upstream.
Verdict = Literal["keep", "audit", "defer"]
KEEP: Verdict = "keep"
AUDIT: Verdict = "audit"
DEFER: Verdict = "defer"

#: When an input was decided: goes with the question, and comes back with ``Learnt``. (stretch, block or -1, closer share)
Ticket = tuple[int, int, bool]

# ---------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Seen:
    """An input was run. coin: uniform in 0..1, drawn for it alone. kept: what a rule with several thresholds says, where the
    threshold is that of a calibration; None: what the one threshold says.
    """

    score: float
    coin: float
    kept: bool | None = None


@dataclass(frozen=True, slots=True)
class Learnt:
    """Upstream answered an input that was deferred or audited. ticket: ``Watch.ticket`` as it was when that was decided."""

    score: float
    disagree: bool
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came out of a Refit: infinity where nothing can be kept. offload, lost: on its samples."""

    threshold: float
    offload: float = 1.0
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class Resumed:
    """Somebody looked at a broken promise, and lets the device learn again."""


Event = Seen | Learnt | Fitted | Resumed

# ---------------------------------------------------------------------------- instructions


@dataclass(frozen=True, slots=True)
class Refit:
    """Fit a threshold at which no more than epsilon is lost, but for a chance of delta, and hand in ``Fitted``.

    scores: (N,) float64. disagreed: (N,) of bool.
    """

    scores: Array
    disagreed: Array
    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Broken:
    """To be reported: the promise does not hold any more, or what it rests on (cause "drift"); from now on all is deferred,
    unless ``widened`` is false.

    inputs, audited, disagreed: since this threshold held. risk: guessed over all of them, likely: of late; both NaN where no
    audit says so. e_value and bar: the evidence, and what it had to reach. alpha: of a false alarm. rank: the mean rank of the
    last scores among all, 0.5 where nothing changed; NaN where it is not watched.
    """

    cause: Literal["audit", "drift"]
    widened: bool
    threshold: float
    epsilon: float
    e_value: float
    bar: float
    inputs: int
    audited: int
    disagreed: int
    risk: float
    likely: float
    rank: float

    @property
    def text(self) -> str:
        """In one sentence."""
        if self.cause == "audit":
            what = (
                f"{self.disagreed} of {self.audited} audited answers are not upstream's; about {self.likely:.2%} of all inputs are "
                f"lost of late, and {self.epsilon:.2%} were promised"
            )
        else:
            way = "less" if self.rank < 0.5 else "more"
            what = f"scores are not what they were, the device is {way} sure of late (mean rank {self.rank:.2f})"
        then = "everything is deferred until a new threshold is learnt" if self.widened else "nothing was changed"
        return f"after {self.inputs} inputs {what} (evidence {self.e_value:.3g}, alarm at {self.bar:.3g}); {then}"

    def to_json(self) -> dict[str, Any]:
        """For a log; None for what is not known."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found["eValue"] = found.pop("e_value")
        return {
            name: None if isinstance(value, float) and not isfinite(value) else value for name, value in found.items()
        }


@dataclass(frozen=True, slots=True)
class Trusted:
    """To be reported: a threshold was learnt from upstream's answers, and the device answers again."""

    threshold: float
    epsilon: float
    samples: int
    offload: float
    lost: float

    @property
    def text(self) -> str:
        return (
            f"learnt from {self.samples} answers of upstream: scores of at least {self.threshold:.6g} are answered here, "
            f"{self.offload:.1%} were deferred and {self.lost:.2%} lost among them; {self.epsilon:.2%} is promised"
        )

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("threshold", "epsilon", "samples", "offload", "lost")}


Instruction = Refit | Broken | Trusted

"""What a fit is given and what it gives back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edgewise.errors import InputError
from edgewise.measure.npz import Array
from edgewise.routing.losses import Details
from edgewise.routing.risk import Promise, Test

__all__ = ["Against", "Calibrated", "Cost", "Curve", "Fit", "Loss", "Point", "Recorded", "Stage", "Wanted"]

#: What counts as lost: "auto" is the gap where there are labels and it costs less by the selection samples, else disagreement.
Against = Literal["auto", "agreement", "gap", "loss"]
Loss = Literal["disagreement", "gap", "loss"]
_WATTS = 5.0  # a small processor at work
# What a phone sends by LTE costs 438 mW for each Mbit/s: Huang et al., MobiSys 2012, table 4.
_JOULES_PER_BYTE = 3.5e-6


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What a variant answered on the calibration samples. outputs: by the interface's name, (N, ...). seconds: p50 for one answer.
    bytes: its files, which decide between variants of equal cost.
    """

    variant: str
    outputs: Mapping[str, Array]
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer costs. The weights say how much one unit counts: ``latency`` a second, ``bytes`` a byte sent, ``energy`` a
    joule, ``money`` a unit of the currency that ``price`` is in.

    upstream_seconds: of one question, there and back. upstream_bytes: sent for one sample. price: of one question.
    watts: of the device while it computes; joules_per_byte: of its radio. Both are a proxy: set them where they are known.
    """

    latency: float = 1.0
    bytes: float = 0.0
    energy: float = 0.0
    money: float = 0.0
    upstream_seconds: float = 0.1
    upstream_bytes: float = 0.0
    price: float = 0.0
    watts: float = _WATTS
    joules_per_byte: float = _JOULES_PER_BYTE

    def __post_init__(self) -> None:
        names = (
            "latency",
            "bytes",
            "energy",
            "money",
            "upstream_seconds",
            "upstream_bytes",
            "price",
            "watts",
            "joules_per_byte",
        )
        wrong = [name for name in names if not (0 <= getattr(self, name) < math.inf)]
        if wrong:
            raise InputError(
                f"{', '.join(wrong)} of a cost: finite and not below 0", remedy="Weights and prices only add up."
            )

    def parts(self, seconds: float, offload: float) -> dict[str, float]:
        """Expected for one answer with ``seconds`` of work here, that goes on with a chance of ``offload``."""
        sent = offload * self.upstream_bytes
        return {
            "seconds": seconds + offload * self.upstream_seconds,
            "bytes": sent,
            "joules": seconds * self.watts + sent * self.joules_per_byte,
            "money": offload * self.price,
        }

    def expected(self, seconds: float, offload: float) -> float:
        """The parts by their weights, in one number: what a fit makes small."""
        parts = self.parts(seconds, offload)
        weights = {"seconds": self.latency, "bytes": self.bytes, "joules": self.energy, "money": self.money}
        return sum(weight * parts[name] for name, weight in weights.items())


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What is asked of a fit. rules: names of ``rules.KINDS``, or "auto" for all that fit the task. by_class: a promise for each
    class that the device decides. weights: label -> how much its loss counts; what is not named counts 1. cascade: whether a bigger
    variant may be asked before upstream is. block: (N,) which samples belong together (one camera's frames), or None. details:
    what the task's answers do not say themselves, where it needs to be told.
    """

    promise: Promise
    against: Against = "auto"
    rules: tuple[str, ...] = ("auto",)
    by_class: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    cost: Cost = Cost()
    cascade: bool = False
    block: Array | None = None
    details: Details | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One variant's part: what it keeps. rule: as ``Rule.to_json``. threshold: None keeps nothing. by_group: label -> threshold.
    reached, kept: shares of all samples that come here, and that are answered here.
    """

    variant: str
    rule: Mapping[str, Any]
    threshold: float | None
    by_group: Mapping[str, float | None] = field(default_factory=dict)
    reached: float = 1.0
    kept: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One way to run, on the samples of the promise. lost: against upstream, over all samples, in the unit of epsilon.
    accuracy: of what comes out of it, None without labels. threshold: of the first stage; None keeps nothing.
    """

    offload: float
    lost: float
    accuracy: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Every threshold that was looked at, the strictest first, on the samples of the promise: (K,) each. accuracy: None without
    labels. Of a cascade: the points of its path, by the thresholds of its first stage.
    """

    threshold: Array
    offload: Array
    lost: Array
    accuracy: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One variant's result, or a cascade's: what is stored of it, and what is shown.

    stages: the variants in the order in which they are asked; one but for a cascade. loss, test: what the promise is about, and by
    which p-value. samples: that the promise rests on; selected: others, that the choice of rule and test was made on. blocks: how
    many of correlated samples, 0 where each counts by itself. seconds: expected here for one answer; bytes: of all its variants.
    chosen, oracle, naive, local, upstream: what holds the promise; the best threshold for those who know the truth; one tuned on
    other samples, as is usual; nothing passed on; everything. cost: expected, of ``chosen``; parts: what it is made of.
    to_keep: samples without which nothing can be kept; to_near: about how many bring the offload within 1.3 of the oracle's (None
    where no number of samples does, or this many do).
    """

    promise: Promise
    stages: tuple[Stage, ...]
    loss: Loss
    test: Test
    samples: int
    selected: int
    chosen: Point
    oracle: Point
    naive: Point
    local: Point
    upstream: Point
    curve: Curve
    seconds: float
    bytes: int
    cost: float
    parts: Mapping[str, float] = field(default_factory=dict)
    blocks: int = 0
    to_keep: int = 0
    to_near: int | None = None

    @property
    def variant(self) -> str:
        """Who is asked first."""
        return self.stages[0].variant

    @property
    def name(self) -> str:
        return " -> ".join(stage.variant for stage in self.stages)

    @property
    def price(self) -> float:
        """Offload over the oracle's: what the promise costs. Infinite where the oracle passes nothing on and this does."""
        if self.oracle.offload:
            return self.chosen.offload / self.oracle.offload
        return math.inf if self.chosen.offload else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """each: every variant's own fit. cascade: the best of several variants in turn, where one was wanted and there is one.
    chosen: the cheapest of all by the *selection* samples. notes: what a person should know, in whole sentences.
    """

    chosen: Fit
    each: tuple[Fit, ...]
    cascade: Fit | None = None
    notes: tuple[str, ...] = ()

"""Replaying the golden set: does this variant, on this very device, give the answers that it gave when it was packed?"""

from math import inf, isfinite
from typing import Any

import numpy as np

from edgewise.bundle.bundle import Bundle
from edgewise.errors import GoldenReplayError
from edgewise.records import dataclass
from edgewise.runtime.decision import are_indices, winners
from edgewise.runtime.engine import Array
from edgewise.runtime.golden_set import read_golden
from edgewise.runtime.rows import join_rows
from edgewise.runtime.session import Session

__all__ = ["Replay", "replay_golden", "require_replay"]


@dataclass(frozen=True, slots=True)
class Replay:
    """worst: the absolute difference that comes nearest to what it may be there, ``allowed``. agreement: share of decisions."""

    variant: str
    samples: int
    worst: float
    allowed: float
    agreement: float
    needed_agreement: float

    @property
    def passed(self) -> bool:
        return self.worst <= self.allowed and self.agreement >= self.needed_agreement

    def __str__(self) -> str:
        return (
            f"{self.samples} golden inputs, worst difference {self.worst:.3g} (allowed {self.allowed:.3g}), "
            f"same decision {self.agreement:.1%} (needed {self.needed_agreement:.1%})"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "variant": self.variant, "samples": self.samples, "worst": self.worst, "allowed": self.allowed,
            "agreement": self.agreement, "neededAgreement": self.needed_agreement, "passed": self.passed,
        }  # fmt: skip


def replay_golden(bundle: Bundle, session: Session) -> Replay | None:
    """Run the golden inputs through ``session``; None where the bundle has no golden set."""
    golden, variant = bundle.document.golden, session.variant.name
    recorded = read_golden(bundle)
    if golden is None or recorded is None:
        return None
    expected, decision = recorded.outputs[variant], session.origin.decision
    # One by one, as in use: a batch may take other kernels than a single input.
    rows = [session.predict(recorded.sample(at)).outputs for at in range(recorded.count)]
    batched = {name: name != decision or session.origin.batched for name in expected}
    got = {name: join_rows([row[name] for row in rows], batched=batched[name]) for name in expected}
    worst, allowed, nearest = 0.0, golden.tolerance(variant), -1.0
    for name, want in expected.items():
        if name == decision and session.origin.task == "classification" and are_indices(want):
            continue  # class indices have no distance; whether they are the same is the agreement
        difference, limit = _worst(want, got[name], golden.tolerance(variant), golden.relative)
        share = _share(difference, limit)
        if share > nearest:  # the one nearest to what it may be, or furthest beyond
            worst, allowed, nearest = difference, limit, share
    agreement = 1.0
    if decision in expected and session.origin.task == "classification":
        agreement = _agreement(expected[decision], got[decision])
    return Replay(variant, recorded.count, worst, allowed, agreement, golden.agreement)


def require_replay(bundle: Bundle, session: Session) -> Replay | None:
    """``replay_golden``, raising GoldenReplayError with the numbers where the answers are not those recorded."""
    replay = replay_golden(bundle, session)
    if replay is not None and not replay.passed:
        raise GoldenReplayError(
            f"{bundle.ref} variant {replay.variant} fails its golden replay here: {replay}", **replay.to_json()
        )
    return replay


def _share(difference: float, limit: float) -> float:
    """Of what is allowed; infinite for what is not finite, and for any difference where none is allowed."""
    if not isfinite(difference):
        return inf
    return difference / limit if limit > 0 else inf if difference > 0 else 0.0


def _agreement(want: Array, got: Array) -> float:
    if want.shape != got.shape:
        return 0.0
    return float(np.mean(winners(want) == winners(got)))


def _spread(want: Array) -> float:
    """The unit of the absolute tolerance: from the smallest to the largest recorded value; 1 where all are equal.

    For quantized integers it is the range of their type, which is what their scale was chosen for.
    """
    if want.dtype.kind in "iu" and want.dtype.itemsize <= 2:
        limits = np.iinfo(want.dtype)
        return float(limits.max) - float(limits.min)
    wanted = want.astype(np.float64)
    finite = wanted[np.isfinite(wanted)]
    return float(np.ptp(finite)) or 1.0 if finite.size else 1.0


def _worst(want: Array, got: Array, absolute: float, relative: float) -> tuple[float, float]:
    """The largest difference, measured against what is allowed at its place, and that allowance."""
    if want.shape != got.shape:
        return float("inf"), absolute
    if want.dtype.kind in "bOUS" or want.size == 0:
        return (0.0 if np.array_equal(want, got) else float("inf")), absolute
    wanted = want.astype(np.float64)
    absolute *= _spread(want)
    difference = np.abs(wanted - got.astype(np.float64))
    difference[~np.isfinite(difference)] = np.inf  # a NaN never passes
    limit = absolute + relative * np.abs(np.nan_to_num(wanted, posinf=0.0, neginf=0.0))
    at = int(np.argmax(difference / limit)) if limit.all() else int(np.argmax(difference - limit))
    return float(difference.flat[at]), float(limit.flat[at])

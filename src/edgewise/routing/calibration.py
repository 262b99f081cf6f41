"""What is stored of a fitted threshold: evidence on one variant, signed like a receipt, so that no other can borrow it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CALIBRATION", "Against", "Calibration"]

#: The in-toto predicate type; the subject is all files of the variant, as for a receipt.
CALIBRATION = "urn:edgewise:predicate:calibration:v1"


@dataclass(frozen=True, slots=True)
class Against:
    """The upstream that a promise is about: its name, version and the labels in its order; empty where it does not say."""

    name: str
    version: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """An input is kept where ``rule``'s score is at least ``threshold``, or that of its group where ``by_group`` names it.

    rule: as ``Rule.to_json`` gives it. by_group: label that the device itself decides -> threshold (None: never kept).
    threshold: None where nothing can be kept under the promise. loss: "disagreement", "gap" or "loss" (weighted or of a task).
    epsilon, delta: the promise. offload, lost, oracle: on the calibration samples, see ``risk.Fitted``. data: name, digest,
    samples. next: the variant of the same bundle that answers what this one does not keep; "" for upstream.
    """

    variant: str
    rule: Mapping[str, Any]
    threshold: float | None
    epsilon: float
    delta: float
    loss: str
    test: str
    offload: float
    lost: float
    oracle: float
    data: Mapping[str, Any]
    against: Against
    measured_at: str
    by_group: Mapping[str, float | None] = field(default_factory=dict)
    next: str = ""
    cost: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

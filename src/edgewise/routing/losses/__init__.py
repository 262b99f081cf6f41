"""What losing means, for each task: when two answers differ, how much one is worth less than the other, when one is right.

``theirs`` is what upstream answered, or the truth: nothing here needs labels, since a promise is against upstream, whose decision
then stands in the truth's place.

**Weights.** Errors may cost differently: to pass a defect costs more than a false alarm. A weight is the cost of getting a sample
wrong whose decision *by upstream* (or the truth) is that label; labels without one cost 1. Losses are divided by the largest
weight, so that they lie in 0..1 as the bounds of ``risk`` need; an epsilon then is in shares of the worst error. With defects at
20 and false alarms at 1, epsilon 0.01 is at most one missed defect, or twenty false alarms, among 100 inputs: ``Judge.unit``
is what a loss of 1 costs in the weights' own terms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.errors import InputError
from edgewise.routing.losses.boxes import Boxes
from edgewise.routing.losses.decisions import Classes, LabelSets, Sides
from edgewise.routing.losses.judge import Judge, Weights, check_weights, refuse_weights
from edgewise.routing.losses.quantities import Directions, Nearest, Numbers
from edgewise.routing.losses.sequences import Sequences, edit_distance
from edgewise.runtime.answer import SET_FROM
from edgewise.runtime.engine import Array

__all__ = [
    "Boxes", "Classes", "Details", "Directions", "Judge", "LabelSets", "Nearest", "Numbers", "Sequences", "Sides", "edit_distance",
    "judge_for",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Details:
    """What a task's answers do not say themselves.

    cut: the value from which a label is set, a box kept, a sample an anomaly; theirs_cut: upstream's, where it has another.
    tolerance, worst: of numbers, see ``Numbers``. cosine: see ``Directions``. prototypes, group: see ``Nearest``. skip, ctc: see
    ``Sequences``. scale: of a quantized deciding output.
    """

    cut: float | None = None
    theirs_cut: float | None = None
    tolerance: float | None = None
    worst: float | None = None
    cosine: float | None = None
    prototypes: Array | None = None
    group: Sequence[int] = ()
    skip: tuple[int, ...] = ()
    ctc: bool = False
    scale: tuple[float, int] = (1.0, 0)


def judge_for(
    task: str, labels: tuple[str, ...] = (), weights: Weights = None, details: Details | None = None
) -> Judge:
    """What losing means for a task, in the words of a bundle's document, or "sequence" for scores at each step.

    Raises InputError where the task needs to be told more, or its outputs have no meaning that is known, and for weights of labels
    that are not there.
    """
    check_weights(weights, labels)
    if task not in _JUDGES:
        raise InputError(
            f"what it means to lose is not known for a {task} model: its outputs could be anything",
            remedy="State its task when packing it (--task): then its decision is known, and when two of them differ.",
        )
    return _JUDGES[task](labels, weights, details or Details())


def _classes(labels: tuple[str, ...], weights: Weights, _: Details) -> Judge:
    return Classes(labels, weights)


def _label_sets(labels: tuple[str, ...], weights: Weights, told: Details) -> Judge:
    return LabelSets(labels, weights, SET_FROM if told.cut is None else told.cut, told.scale)


def _boxes(labels: tuple[str, ...], weights: Weights, told: Details) -> Judge:
    return Boxes(labels, weights, told.cut or 0.0, told.theirs_cut)


def _sides(labels: tuple[str, ...], weights: Weights, told: Details) -> Judge:
    cut = _told(told.cut, "anomaly", "the score from which a sample counts as an anomaly (cut)")
    return Sides(cut, labels, weights, told.theirs_cut, told.scale)


def _numbers(_: tuple[str, ...], weights: Weights, told: Details) -> Judge:
    refuse_weights(weights, "regression")
    tolerance = _told(told.tolerance, "regression", "the difference that does not matter (tolerance, above 0)")
    return Numbers(tolerance, told.worst, told.scale)


def _sequences(_: tuple[str, ...], weights: Weights, told: Details) -> Judge:
    refuse_weights(weights, "sequence")
    return Sequences(told.skip, told.ctc)


def _embeddings(labels: tuple[str, ...], weights: Weights, told: Details) -> Judge:
    if told.prototypes is not None:
        group = np.array(told.group or range(len(told.prototypes)), np.int64)
        if told.prototypes.ndim != 2 or len(group) != len(told.prototypes):
            raise InputError(f"prototypes are (P, d) with a group each, not {told.prototypes.shape} and {len(group)}")
        return Nearest(told.prototypes, group, labels, weights, told.scale)
    refuse_weights(weights, "embedding")
    cosine = _told(told.cosine, "embedding", "the cosine below which two embeddings differ (cosine), or prototypes,")
    return Directions(cosine, told.scale)


def _told(value: float | None, task: str, what: str) -> float:
    if value is None or not np.isfinite(value) or (task == "regression" and value <= 0):
        raise InputError(
            f"what it means to lose is not known for this {task} model: {what} is missing",
            remedy="Give it: two answers are held against each other by it.",
        )
    return value


_JUDGES: Mapping[str, Callable[[tuple[str, ...], Weights, Details], Judge]] = {
    "classification": _classes, "multilabel": _label_sets, "detection": _boxes, "anomaly": _sides, "regression": _numbers,
    "embedding": _embeddings, "sequence": _sequences,
}  # fmt: skip

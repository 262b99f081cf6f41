"""Losses of classifiers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgewise.graph.writer import Writer
from edgewise.training.losses.loss import (
    ask,
    behind,
    chosen,
    known,
    number,
    require,
    sample_mean,
    weight_spec,
    weighted_ratio,
)
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "class_last", "one_hot"]

_SPLIT = {"Softmax", "LogSoftmax"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """Cross-entropy of class scores along ``axis`` (a Softmax at the model's end is looked through).

    The target holds labels, int64, shaped as the output without ``axis``; or with ``soft`` a distribution shaped as the
    output. label_smoothing: share of each label spread over all classes (Szegedy et al. 2016, "Rethinking the Inception
    architecture", section 7). class_weights: one for each class; the mean is divided by the weights of the labels (with
    ``soft``: by the number of samples), as torch does. ignore_index: a label that does not count.
    """

    output: str = ""
    target: str = "target"
    axis: int = -1
    soft: bool = False
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    ignore_index: int | None = None
    weighted: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, f"label_smoothing must be in [0, 1), not {self.label_smoothing}")
        require(
            not (self.soft and self.ignore_index is not None), "soft labels have no ignore_index; weight the samples"
        )
        require(all(w >= 0 for w in self.class_weights), "class_weights must not be negative")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """The labels, and the weights of the samples where ``weighted``."""
        dtype, shape = known(writer, chosen(outputs, self.output), 2)
        axis = self.axis % len(shape)
        classes = number(shape[axis], "the number of classes")
        require(
            len(self.class_weights) in (0, classes), f"{len(self.class_weights)} class_weights for {classes} classes"
        )
        if self.soft:
            labels = ValueSpec(self.target, dtype, shape)
        else:
            inside = self.ignore_index is None or 0 <= self.ignore_index < classes
            rest = shape[:axis] + shape[axis + 1 :]
            labels = ValueSpec(self.target, "int64", rest, classes if inside else None)
        return (labels, weight_spec(dtype, shape[0])) if self.weighted else (labels,)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Gradient in the logits: softmax less distribution, which autodiff finds from LogSoftmax times a constant."""
        specs = self.targets(writer, outputs)
        labels, weight = [*(ask(writer, spec) for spec in specs), ""][:2]
        dtype, shape = known(writer, chosen(outputs, self.output), 2)
        scores = class_last(
            writer, behind(writer, chosen(outputs, self.output), _SPLIT, self.axis), self.axis, len(shape)
        )
        likely = writer.node("LogSoftmax", scores, axis=-1)
        classes = number(shape[self.axis % len(shape)], "the number of classes")
        wanted = self._distribution(writer, labels, dtype, len(shape), classes)
        each = writer.node("ReduceSum", writer.node("Mul", likely, wanted), writer.ints(-1), keepdims=0)
        return writer.node("Neg", self._mean(writer, each, labels, weight, dtype, len(shape) - 1))

    def _distribution(self, writer: Writer, labels: str, dtype: str, rank: int, classes: int) -> str:
        spread = self.label_smoothing / classes
        if self.soft:
            wanted = class_last(writer, labels, self.axis, rank)
            if spread:
                kept = writer.node("Mul", wanted, writer.constant(1 - self.label_smoothing, dtype))
                wanted = writer.node("Add", kept, writer.constant(spread, dtype))
        else:
            wanted = one_hot(writer, labels, classes, dtype, spread, 1 - self.label_smoothing + spread)
        if self.class_weights:
            wanted = writer.node("Mul", wanted, writer.constant(self.class_weights, dtype))
        return wanted

    def _mean(self, writer: Writer, each: str, labels: str, weight: str, dtype: str, rank: int) -> str:
        counts, total = self._counts(writer, labels, weight, dtype, rank)
        if not counts and not total:
            return sample_mean(writer, each, rank, dtype, "")
        scaled = writer.node("Mul", each, counts) if counts else each
        if not total:
            spread = rank > 1 and self.ignore_index is None  # a weight per sample counts once for each of its labels
            total = writer.node("Expand", counts, writer.node("Shape", each)) if spread else counts
        return weighted_ratio(writer, scaled, total, dtype)

    def _counts(self, writer: Writer, labels: str, weight: str, dtype: str, rank: int) -> tuple[str, str]:
        """What each loss is multiplied with, and what the sum is divided by ("": by what it was multiplied with)."""
        counts = writer.node("Reshape", weight, writer.ints(-1, *[1] * (rank - 1))) if weight else ""
        safe = labels
        if self.ignore_index is not None:
            ignored = writer.node("Equal", labels, writer.constant(self.ignore_index, "int64"))
            valid = writer.node("Where", ignored, writer.constant(0, dtype), writer.constant(1, dtype))
            counts = writer.node("Mul", counts, valid) if counts else valid
            safe = writer.node("Where", ignored, writer.constant(0, "int64"), labels)
        if not self.class_weights or self.soft:
            return counts, ""
        per_label = writer.node("Gather", writer.constant(self.class_weights, dtype), safe)
        return counts, writer.node("Mul", per_label, counts) if counts else per_label


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryCrossEntropy:
    """Cross-entropy of independent yes-or-no scores (a Sigmoid at the model's end is looked through).

    The target has the output's shape and dtype, each value from 0 (no) to 1 (yes). positive_weights: one for all or one for
    each entry of the last axis; what a yes counts against a no.
    """

    output: str = ""
    target: str = "target"
    positive_weights: tuple[float, ...] = ()
    weighted: bool = False

    def __post_init__(self) -> None:
        require(all(w >= 0 for w in self.positive_weights), "positive_weights must not be negative")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """The answers, and the weights of the samples where ``weighted``."""
        dtype, shape = known(writer, chosen(outputs, self.output))
        count = len(self.positive_weights)
        require(
            count in (0, 1) or shape[-1] == count or not isinstance(shape[-1], int),
            f"{count} positive_weights for {shape[-1]} scores",
        )
        answers = ValueSpec(self.target, dtype, shape)
        return (answers, weight_spec(dtype, shape[0])) if self.weighted else (answers,)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """(1 - t) z + softplus(-z): exact for large scores of either sign, where log(sigmoid(z)) is not."""
        answers, weight = [*(ask(writer, spec) for spec in self.targets(writer, outputs)), ""][:2]
        dtype, shape = known(writer, chosen(outputs, self.output))
        scores = behind(writer, chosen(outputs, self.output), {"Sigmoid"})
        one = writer.constant(1, dtype)
        surprise = writer.node("Softplus", writer.node("Neg", scores))
        if self.positive_weights:
            extra = writer.constant(np.asarray(self.positive_weights) - 1, dtype)
            surprise = writer.node("Mul", surprise, writer.node("Add", writer.node("Mul", answers, extra), one))
        each = writer.node("Add", writer.node("Mul", writer.node("Sub", one, answers), scores), surprise)
        return sample_mean(writer, each, len(shape), dtype, weight)


def class_last(writer: Writer, value: str, axis: int, rank: int) -> str:
    """``value`` with ``axis`` moved to the end."""
    axis %= rank
    if axis == rank - 1:
        return value
    return writer.node("Transpose", value, perm=[*(at for at in range(rank) if at != axis), axis])


def one_hot(writer: Writer, labels: str, classes: int, dtype: str, off: float = 0.0, on: float = 1.0) -> str:
    """Labels (...) int64 as (..., classes) of ``dtype``: ``on`` at the label, ``off`` elsewhere and for labels out of range."""
    if dtype == "float32":
        return writer.node(
            "OneHot", labels, writer.constant(classes, "int64"), writer.constant([off, on], dtype), axis=-1
        )
    # onnxruntime has no OneHot in float64.
    at = writer.node("Equal", writer.node("Unsqueeze", labels, writer.ints(-1)), writer.ints(*range(classes)))
    return writer.node("Where", at, writer.constant(on, dtype), writer.constant(off, dtype))

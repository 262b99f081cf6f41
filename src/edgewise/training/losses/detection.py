"""The loss of single-shot detectors."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.graph.writer import Writer
from edgewise.training.losses.classification import one_hot
from edgewise.training.losses.loss import ask, chosen, known, number, number_of, require, stopped, weight_spec
from edgewise.training.losses.regression import huber
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["MultiBox"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiBox:
    """Classes and box offsets of anchors, over the number of matched anchors in the batch (Liu et al. 2016, SSD, section 2.2).

    scores: output (N, A, C), class 0 is background. boxes: output (N, A, 4), offsets as the targets are encoded. Targets, from
    matching anchors to the truth beforehand: ``target_classes`` int64 (N, A), 0 where unmatched, -1 where an anchor does not
    count at all; ``target_boxes`` (N, A, 4), read where the class is above 0.

    Background far outnumbers the rest. negatives: per image, only the ``negatives`` times as many background anchors as
    matched ones with the largest loss count. focal: with a power above 0 all count, each times (1 - p)^focal, p being the
    share of the right class (Lin et al. 2017).
    """

    scores: str = "scores"
    boxes: str = "boxes"
    target_classes: str = "target_classes"
    target_boxes: str = "target_boxes"
    negatives: float = 3.0
    focal: float = 0.0
    box_weight: float = 1.0
    delta: float = 1.0
    weighted: bool = False

    def __post_init__(self) -> None:
        require(
            self.negatives > 0 and self.focal >= 0 and self.delta > 0, "negatives, focal and delta must be positive"
        )

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """Classes and offsets for each anchor, and the weights of the images where ``weighted``."""
        dtype, shape = known(writer, chosen(outputs, self.scores), 3)
        classes = ValueSpec(self.target_classes, "int64", shape[:2])
        offsets = ValueSpec(self.target_boxes, dtype, (*shape[:2], 4))
        return classes, offsets, *([weight_spec(dtype, shape[0])] if self.weighted else [])

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Sum over the anchors that count, over the number of matched ones (at least 1)."""
        names = [ask(writer, spec) for spec in self.targets(writer, outputs)]
        classes, offsets, weight = [*names, ""][:3]
        dtype, shape = known(writer, chosen(outputs, self.scores), 3)
        zero, one = writer.constant(0, dtype), writer.constant(1, dtype)
        matched = writer.node("Greater", classes, writer.constant(0, "int64"))
        ignored = writer.node("Less", classes, writer.constant(0, "int64"))
        positive = writer.node("Where", matched, one, zero)
        unsure = self._surprise(writer, chosen(outputs, self.scores), classes, number(shape[2], "the classes"), dtype)
        if self.focal:
            missed = writer.node("Sub", one, writer.node("Exp", writer.node("Neg", unsure)))
            unsure = writer.node("Mul", writer.node("Pow", missed, writer.constant(self.focal, dtype)), unsure)
            counts = writer.node("Where", ignored, zero, one)
        else:
            counts = self._mined(writer, unsure, matched, ignored, positive, dtype)
        error = writer.node("Sub", chosen(outputs, self.boxes), offsets)
        off = writer.node("ReduceSum", huber(writer, error, self.delta, dtype), writer.ints(-1), keepdims=0)
        # Huber over delta is the smooth L1 of Girshick 2015.
        off = writer.node("Mul", off, writer.constant(self.box_weight / self.delta, dtype))
        each = writer.node("Add", writer.node("Mul", unsure, counts), writer.node("Mul", off, positive))
        if weight:
            column = writer.node("Unsqueeze", weight, writer.ints(1))
            each, positive = writer.node("Mul", each, column), writer.node("Mul", positive, column)
        count = writer.node("Max", writer.node("ReduceSum", positive, keepdims=0), one)
        return writer.node("Div", writer.node("ReduceSum", each, keepdims=0), count)

    @staticmethod
    def _surprise(writer: Writer, scores: str, classes: str, count: int, dtype: str) -> str:
        """Cross-entropy of each anchor (N, A)."""
        safe = writer.node("Max", classes, writer.constant(0, "int64"))
        wanted = one_hot(writer, safe, count, dtype)
        likely = writer.node("Mul", writer.node("LogSoftmax", scores, axis=-1), wanted)
        return writer.node("Neg", writer.node("ReduceSum", likely, writer.ints(-1), keepdims=0))

    def _mined(self, writer: Writer, unsure: str, matched: str, ignored: str, positive: str, dtype: str) -> str:
        """1 for matched anchors and for as many of the worst background anchors as their number allows, by rank."""
        other = writer.node("Or", matched, ignored)
        loss = writer.node("Where", other, writer.constant(-1, dtype), stopped(writer, unsure))
        anchors = number_of(writer, unsure, 1, "int64")
        _, order = writer.split("TopK", 2, loss, writer.node("Unsqueeze", anchors, writer.ints(0)), axis=1)
        places = writer.node("Range", writer.constant(0, "int64"), anchors, writer.constant(1, "int64"))
        places = writer.node("Expand", places, writer.node("Shape", order))
        rank = writer.node("ScatterElements", order, order, places, axis=1)
        rank = writer.node("Cast", rank, to=1 if dtype == "float32" else 11)
        most = writer.node("ReduceSum", positive, writer.ints(1), keepdims=1)
        most = writer.node("Mul", most, writer.constant(self.negatives, dtype))
        hard = writer.node("And", writer.node("Less", rank, most), writer.node("Not", other))
        taken = writer.node("Or", hard, matched)
        return writer.node("Where", taken, writer.constant(1, dtype), writer.constant(0, dtype))

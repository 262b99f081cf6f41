"""Losses of models that label every pixel."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.graph.writer import Writer
from edgewise.training.losses.classification import CrossEntropy, class_last, one_hot
from edgewise.training.losses.loss import ask, behind, chosen, known, number, require, sample_mean
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["DiceCrossEntropy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiceCrossEntropy:
    """Cross-entropy of each pixel plus 1 - soft Dice of each class and image, averaged over both (Milletari et al. 2016).

    Scores (N, C, H, W) with the classes on ``axis``; labels int64 (N, H, W). dice: weight of the second term. smooth: added
    above and below, so that a class that is neither there nor found counts as right. ignore_index: pixels that do not count.
    """

    output: str = ""
    target: str = "target"
    axis: int = 1
    dice: float = 1.0
    smooth: float = 1.0
    class_weights: tuple[float, ...] = ()
    ignore_index: int | None = None
    weighted: bool = False

    def __post_init__(self) -> None:
        require(self.smooth > 0, f"smooth must be above 0, not {self.smooth}")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """The labels, and the weights of the images where ``weighted``."""
        return self._pixels().targets(writer, outputs)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over the pixels plus mean over the images."""
        labels, weight = [*(ask(writer, spec) for spec in self.targets(writer, outputs)), ""][:2]
        value = chosen(outputs, self.output)
        dtype, shape = known(writer, value, 3)
        rank = len(shape)
        scores = class_last(writer, behind(writer, value, {"Softmax", "LogSoftmax"}, self.axis), self.axis, rank)
        share = writer.node("Exp", writer.node("LogSoftmax", scores, axis=-1))
        wanted = one_hot(writer, labels, number(shape[self.axis % rank], "the number of classes"), dtype)
        if self.ignore_index is not None:
            ignored = writer.node("Equal", labels, writer.constant(self.ignore_index, "int64"))
            counts = writer.node("Where", ignored, writer.constant(0, dtype), writer.constant(1, dtype))
            counts = writer.node("Unsqueeze", counts, writer.ints(-1))
            share, wanted = writer.node("Mul", share, counts), writer.node("Mul", wanted, counts)
        pixels = writer.ints(*range(1, rank - 1))
        both, all_of = (
            writer.node("ReduceSum", part, pixels, keepdims=0)
            for part in (writer.node("Mul", share, wanted), writer.node("Add", share, wanted))
        )
        smooth = writer.constant(self.smooth, dtype)
        overlap = writer.node("Add", writer.node("Mul", both, writer.constant(2, dtype)), smooth)
        ratio = writer.node("Div", overlap, writer.node("Add", all_of, smooth))
        missed = sample_mean(writer, writer.node("Sub", writer.constant(1, dtype), ratio), 2, dtype, weight)
        missed = writer.node("Mul", missed, writer.constant(self.dice, dtype))
        return writer.node("Add", self._pixels().write(writer, outputs), missed)

    def _pixels(self) -> CrossEntropy:
        return CrossEntropy(
            output=self.output, target=self.target, axis=self.axis, class_weights=self.class_weights,
            ignore_index=self.ignore_index, weighted=self.weighted,
        )  # fmt: skip

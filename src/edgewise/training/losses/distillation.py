"""Learning from another model's answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.graph.writer import Writer
from edgewise.training.losses.classification import CrossEntropy, class_last
from edgewise.training.losses.loss import ask, behind, chosen, known, require, sample_mean, weight_spec
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["Distillation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """T^2 KL(softmax(teacher/T) || softmax(student/T)), mixed with the cross-entropy of hard labels.

    Hinton, Vinyals & Dean 2015, section 2: T^2 keeps the size of the gradient when T changes. mix: share of the teacher; the
    rest goes to the labels (``target``; none are needed where mix is 1). teacher: name of the input with the teacher's class
    scores before softmax, shaped as the output.
    """

    output: str = ""
    teacher: str = "teacher"
    target: str = "target"
    temperature: float = 4.0
    mix: float = 0.9
    label_smoothing: float = 0.0
    axis: int = -1
    weighted: bool = False

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be above 0, not {self.temperature}")
        require(0 < self.mix <= 1, f"mix must be in (0, 1], not {self.mix}; without a teacher use CrossEntropy")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """The teacher's scores, the labels where they count, and the weights of the samples where ``weighted``."""
        dtype, shape = known(writer, chosen(outputs, self.output), 2)
        weights = (weight_spec(dtype, shape[0]),) if self.weighted else ()
        labels = self._hard().targets(writer, outputs)[:1] if self.mix < 1 else ()
        return ValueSpec(self.teacher, dtype, shape), *labels, *weights

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over the samples."""
        names = [ask(writer, spec) for spec in self.targets(writer, outputs)]
        value = chosen(outputs, self.output)
        dtype, shape = known(writer, value, 2)
        scores = behind(writer, value, {"Softmax", "LogSoftmax"}, self.axis)
        student, teacher = (
            writer.node("LogSoftmax", self._cooled(writer, class_last(writer, side, self.axis, len(shape)), dtype))
            for side in (scores, names[0])
        )
        apart = writer.node("Mul", writer.node("Exp", teacher), writer.node("Sub", teacher, student))
        each = writer.node("ReduceSum", apart, writer.ints(-1), keepdims=0)
        soft = sample_mean(writer, each, len(shape) - 1, dtype, names[-1] if self.weighted else "")
        soft = writer.node("Mul", soft, writer.constant(self.mix * self.temperature**2, dtype))
        if self.mix == 1:
            return soft
        hard = self._hard().write(writer, outputs)
        return writer.node("Add", soft, writer.node("Mul", hard, writer.constant(1 - self.mix, dtype)))

    def _hard(self) -> CrossEntropy:
        return CrossEntropy(
            output=self.output, target=self.target, axis=self.axis, label_smoothing=self.label_smoothing,
            weighted=self.weighted,
        )  # fmt: skip

    def _cooled(self, writer: Writer, scores: str, dtype: str) -> str:
        return writer.node("Mul", scores, writer.constant(1 / self.temperature, dtype))

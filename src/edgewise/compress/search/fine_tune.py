"""A few epochs as a pass of their own: after what was cut away, before what is quantized."""

from dataclasses import dataclass, field, replace

from onnx import ModelProto

from edgewise.compress.distill.recorded import RecordedTeacher
from edgewise.compress.distill.teacher import ModelTeacher
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Teacher, Tuning, fine_tune
from edgewise.digests import digest_of

__all__ = ["FineTune"]

_SHOWN = 8  # hex digits of a teacher in the name of a pass


@dataclass(frozen=True, slots=True)
class FineTune:
    """The pass of ``fine_tune``. teacher: the ONNX file whose answers are learnt beside the labels; none where it is empty.

    other: a teacher of another kind in its place.
    """

    tuning: Tuning = field(default_factory=Tuning)
    teacher: bytes = field(default=b"", repr=False)
    other: ModelTeacher | RecordedTeacher | None = None

    @property
    def name(self) -> str:
        own = f"fine-tune:{self.tuning.epochs},lr={self.tuning.learning_rate:g},batch={self.tuning.batch}"
        if not self.teacher and self.other is None:
            return own
        shown = digest_of(self.teacher).removeprefix("sha256:")[:_SHOWN] if self.other is None else self.other.name
        return f"{own},teacher={shown},t={self.tuning.temperature:g},mix={self.tuning.mix:g}"

    def describe(self) -> str:
        who = "the model as it came" if self.other is None else self.other.label
        taught = f" from the answers of {who}" if self.teacher or self.other else ""
        return f"{self.tuning.epochs} epochs of training{taught}"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        teacher: Teacher | None = self.other
        if isinstance(self.other, RecordedTeacher):
            samples = replace(samples, steps=())  # it knows the samples as they are
        elif teacher is None and self.teacher and samples.task == "classification":
            # Scores, also where its answers are probabilities.
            teacher = ModelTeacher.of(ModelProto.FromString(self.teacher), samples)
        return fine_tune(model, samples, self.tuning, teacher=teacher, watch=watch)

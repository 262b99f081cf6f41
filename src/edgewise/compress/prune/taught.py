"""Learning again after something was taken out, from the model as it came."""

from dataclasses import fields

from onnx import ModelProto

from edgewise.compress.cutting import Cut
from edgewise.compress.distill.teacher import ModelTeacher
from edgewise.compress.passes import Watch
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning, learn
from edgewise.training.step.assembly import choose, with_weights

__all__ = ["relearnt", "words"]


def words(tuning: Tuning | None) -> str:
    """A tuning for the name of a pass: its epochs, and every other setting that is not the usual one."""
    if tuning is None:
        return "untuned"
    usual = Tuning()
    others = [
        f"{field.name.replace('_', '-')}-{getattr(tuning, field.name)}"
        for field in fields(Tuning)
        if field.name != "epochs" and getattr(tuning, field.name) != getattr(usual, field.name)
    ]
    return ",".join((f"{tuning.epochs}-epochs", *others))


def relearnt(parts: Cut, samples: Samples, tuning: Tuning, original: ModelProto, watch: Watch) -> ModelProto:
    """The core of ``parts`` after learning; a classification has ``original`` as its teacher, other tasks only the labels."""
    choice = choose(parts.core)
    if samples.task != "classification":
        return with_weights(choice.model, learn(parts, samples, tuning, watch=watch).weights)
    teacher = ModelTeacher.of(original, samples)  # scores, also where its answers are probabilities
    learnt = learn(parts, samples, tuning, teacher=teacher, watch=watch)
    return with_weights(choice.model, learnt.weights)

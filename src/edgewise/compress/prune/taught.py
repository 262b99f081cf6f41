"""Learning again after something was taken out, from the model as it came."""

from dataclasses import fields

from onnx import ModelProto

from edgewise.compress.cutting import Cut
from edgewise.compress.passes import Watch
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning, learn
from edgewise.measure.npz import Array
from edgewise.runtime.engine import OpenOptions, find_engine
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
    session = find_engine("onnxruntime").open({"model.onnx": original.SerializeToString()}, OpenOptions(threads=1))

    def teacher(x: Array) -> Array:
        return session.run(samples.feed(x))[samples.output].copy()

    try:
        learnt = learn(parts, samples, tuning, teacher=teacher, watch=watch)
    finally:
        session.close()
    return with_weights(choice.model, learnt.weights)

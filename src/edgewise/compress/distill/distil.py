"""The pass that puts a small model in a large one's place: it learns from the large one's answers.

Hinton et al. 2015 for the scores; Romero et al. 2015 (FitNets) and, where widths differ, Zagoruyko & Komodakis 2017 (attention
maps: where in an image a layer is active, whatever its number of channels) for what lies between.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from onnx import ModelProto, ValueInfoProto

from edgewise.compress.cutting import Cut, cut
from edgewise.compress.distill.recorded import RecordedTeacher
from edgewise.compress.distill.student import Slimmed, Student
from edgewise.compress.distill.teacher import CachedTeacher, FunctionTeacher, ModelTeacher
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning, learn, loss_for
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.order import pruned
from edgewise.graph.writer import Dims, Writer
from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array
from edgewise.training.losses.registry import FeatureMatching, Loss, Sum
from edgewise.training.rewrites.opening import opened
from edgewise.training.step.assembly import choose, with_weights

__all__ = ["Distil", "Features"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Values inside the two models that should be alike. pairs: (value of the teacher's model, value of the student's core).

    Equal shapes are compared as they are; feature maps of different widths by where they are active. weight: beside the scores.
    """

    pairs: tuple[tuple[str, str], ...]
    weight: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Distil:
    """The pass. student: who learns. teacher: the model that the pass is given, where none is named.

    features: what else is compared. unlabelled: more samples (N, ...) without labels; then the teacher alone teaches, on all.
    """

    student: Student = field(default_factory=Slimmed)
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=20, learning_rate=3e-3))
    teacher: ModelTeacher | FunctionTeacher | CachedTeacher | RecordedTeacher | None = None
    features: Features | None = None
    unlabelled: Array | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        parts = [self.student.name, self.tuning.short]
        parts += [] if self.teacher is None else [f"by={self.teacher.name}"]
        parts += [] if self.features is None else [f"features={len(self.features.pairs)}x{self.features.weight:g}"]
        parts += [] if self.unlabelled is None else [f"unlabelled={len(self.unlabelled)}"]
        return f"distil:{','.join(parts)}"

    def describe(self) -> str:
        more = "" if self.unlabelled is None else f" and {len(self.unlabelled)} samples without labels"
        who = getattr(self.teacher, "label", "") or "a larger model"
        return f"{self.student.name} taught for {self.tuning.epochs} epochs by the answers of {who}{more}"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError where there is no such student, no way to teach the task, or a value to compare is missing."""
        teacher = self.teacher or ModelTeacher.of(model, samples)
        parts = cut(self.student.build(model, samples))
        choice = choose(parts.core)
        tuning, given = self.tuning, samples
        if isinstance(self.teacher, RecordedTeacher):
            given = replace(given, steps=())  # it knows the samples as they are
        if self.unlabelled is not None:
            tuning, given = replace(tuning, mix=1.0), _with(given, self.unlabelled)
        loss = loss_for(given, tuning, taught=True)
        matched: Mapping[str, ModelTeacher] = {}
        core = choice.model
        if self.features is not None:
            core, matched, loss = _matched(model, core, samples, self.features, loss)
        learnt = learn(
            Cut(parts.front, core, parts.seam), given, tuning, parameters=choice.parameters, teacher=teacher, loss=loss,
            features=matched, watch=watch,
        )  # fmt: skip
        return parts.whole(with_weights(choice.model, learnt.weights))


def _with(samples: Samples, more: Array) -> Samples:
    data = samples.data
    if more.shape[1:] != data.x.shape[1:] or more.dtype != data.x.dtype:
        raise InputError(
            f"samples without labels are {more.dtype} {more.shape[1:]}, the others {data.x.dtype} {data.x.shape[1:]}"
        )
    x, y = (
        np.concatenate([data.x, more]),
        np.concatenate([data.y, np.zeros((len(more), *data.y.shape[1:]), data.y.dtype)]),
    )
    return replace(samples, data=Dataset(x, y, None, data.labels, data.name))


def _matched(
    model: ModelProto, core: ModelProto, samples: Samples, features: Features, scores: Loss
) -> tuple[ModelProto, dict[str, ModelTeacher], Loss]:
    """The core with what is compared, who gives the other side, by the name of the loss's input, and the loss of all."""
    theirs, ours = opened(model), opened(core)
    teachers: dict[str, ModelTeacher] = {}
    terms: list[tuple[float, Loss]] = [(1.0, scores)]
    for at, (theirs_name, ours_name) in enumerate(features.pairs):
        shapes = theirs.shape(theirs_name), ours.shape(ours_name)
        for who, name, shape in (("teacher", theirs_name, shapes[0]), ("student", ours_name, shapes[1])):
            if shape is None or len(shape) < 2:
                raise UnsupportedError(
                    f"the {who} has no value {name!r} with a known shape", remedy="Name an inner value."
                )
        equal = _fits(shapes, 1)
        if not equal and not (_fits(shapes, 2) and len(shapes[0] or ()) > 2):
            raise UnsupportedError(f"{theirs_name!r} {shapes[0]} and {ours_name!r} {shapes[1]} cannot be compared")
        left, right = (
            (theirs_name, ours_name) if equal else (_activity(theirs, theirs_name), _activity(ours, ours_name))
        )  # fmt: skip
        target = f"feature_{at}"
        teachers[target] = _asked(theirs, left, samples)
        terms.append((features.weight, FeatureMatching(pairs=((right, target),), normalised=not equal)))
    return ours.model, teachers, Sum(tuple(terms))


def _fits(shapes: tuple[Dims | None, Dims | None], start: int) -> bool:
    first, second = (shape or () for shape in shapes)
    return len(first) == len(second) and all(a == b for a, b in zip(first[start:], second[start:], strict=True))


def _activity(writer: Writer, value: str) -> str:
    """Mean square over the channels (N, positions): where the layer is active."""
    return writer.node("ReduceMean", writer.node("Mul", value, value), writer.ints(1), keepdims=0)


def _asked(writer: Writer, value: str, samples: Samples) -> ModelTeacher:
    shown = ModelProto()
    shown.CopyFrom(writer.model)
    del shown.graph.output[:]
    shown.graph.output.append(ValueInfoProto(name=value))
    data = pruned(shown).SerializeToString()
    return ModelTeacher({"model.onnx": data}, input=samples.input, output=value, raw=True)

"""Learning as part of a pass: a few epochs on a graph that was changed, from labels or from a teacher's answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from onnx import ModelProto

from edgewise.compress.cutting import Cut, cut
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.samples import Samples, feed_of
from edgewise.errors import UnsupportedError
from edgewise.measure.npz import Array
from edgewise.runtime.engine import OpenOptions, find_engine
from edgewise.training.data.batches import ArrayBatches, Batches
from edgewise.training.data.conversion import FrontGraph
from edgewise.training.losses.registry import (
    BinaryCrossEntropy,
    CrossEntropy,
    Distillation,
    Loss,
    MeanSquaredError,
    Sum,
)
from edgewise.training.rewrites.opening import opened
from edgewise.training.run.history import Progress
from edgewise.training.run.loop import fit
from edgewise.training.run.schedules import parse_schedule
from edgewise.training.run.settings import FitSettings
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.assembly import Choice, assemble, choose, with_weights
from edgewise.training.step.optimizers import AdamW

__all__ = ["Learnt", "Teacher", "Tuning", "answers", "fine_tune", "learn", "loss_for"]

#: Scores of a batch of raw samples (the model's input before its front): (n, ...) -> (n, classes).
Teacher = Callable[[Array], Array]
_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """epochs, batch, learning_rate (the highest), schedule, weight_decay: as in `edgewise train`. temperature and mix: of a
    teacher's answers (Hinton et al. 2015). average: decay of averaged weights, 0 for none.
    """

    epochs: int = 5
    batch: int = 64
    learning_rate: float = 1e-3
    schedule: str = "one-cycle:peak=0.2"
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    temperature: float = 4.0
    mix: float = 0.7
    average: float = 0.0

    @property
    def short(self) -> str:
        """Every setting that is not the default, and the three that say most: for the names of passes."""
        shown = {"epochs": "epochs", "batch": "batch", "learning_rate": "lr"}
        own = [field for field in fields(self) if field.name in shown or getattr(self, field.name) != field.default]
        return ",".join(f"{shown.get(field.name, field.name)}={getattr(self, field.name)}" for field in own)


@dataclass(frozen=True, slots=True)
class Learnt:
    """weights: trained initializers and running averages of the core, by name. losses: of each epoch."""

    weights: Mapping[str, Array]
    losses: tuple[float, ...]


def loss_for(samples: Samples, tuning: Tuning, *, taught: bool) -> Loss:
    """What the task is learnt by. taught: a teacher's scores are there. Raises UnsupportedError for tasks without one here."""
    output = samples.output
    if samples.task == "classification":
        if taught:
            return Distillation(output=output, temperature=tuning.temperature, mix=tuning.mix)
        return CrossEntropy(output=output, label_smoothing=tuning.label_smoothing)
    simple: Mapping[str, Loss] = {
        "multilabel": BinaryCrossEntropy(output=output), "regression": MeanSquaredError(output=output),
    }  # fmt: skip
    if taught and samples.task == "regression":
        labels, answers = MeanSquaredError(output=output), MeanSquaredError(output=output, target="teacher")
        return answers if tuning.mix >= 1 else Sum(((1 - tuning.mix, labels), (tuning.mix, answers)))
    if samples.task not in simple or taught:
        raise UnsupportedError(f"{samples.task} cannot be learnt here{' from a teacher' if taught else ''}")
    return simple[samples.task]


def learn(
    parts: Cut, samples: Samples, tuning: Tuning, *, parameters: Sequence[str] | None = None, teacher: Teacher | None = None,
    loss: Loss | None = None, features: Mapping[str, Teacher] | None = None, watch: Watch = nobody,
) -> Learnt:  # fmt: skip
    """Train the core of ``parts`` on ``samples``. parameters: initializers that learn; all weights where none are named.

    The front's results are computed once where nothing is augmented, else for each batch. loss: in place of the task's own.
    features: other inputs of that loss, and who gives them for raw samples.
    """
    loss = loss or loss_for(samples, tuning, taught=teacher is not None)
    # What was named and has no part in the loss (a branch of another output) stays as it is.
    choice = (
        choose(parts.core) if parameters is None else Choice(opened(parts.core).model, tuple(parameters), named=False)
    )
    size = min(tuning.batch, len(samples.data))
    assembly = assemble(choice, loss, AdamW(rate=tuning.learning_rate, decay=tuning.weight_decay), batch=size)
    stepper = Stepper(assembly.step, threads=1)
    settings = FitSettings(
        epochs=tuning.epochs, learning_rate=tuning.learning_rate, schedule=parse_schedule(tuning.schedule),
        weight_decay=tuning.weight_decay, seed=samples.seed, average=tuning.average,
    )  # fmt: skip

    def told(progress: Progress) -> None:
        watch("learning", (progress.epoch - 1) * progress.steps + progress.step, progress.epochs * progress.steps)

    asked = {**({} if teacher is None else {"teacher": teacher}), **(features or {})}
    labelled = any(value.name == "target" for value in stepper.spec.targets)  # not where a teacher alone counts
    result = fit(stepper, _batches(parts, samples, size, asked, labelled=labelled), None, settings, watch=told)
    return Learnt(stepper.weights(), tuple(record.loss for record in result.history))


def fine_tune(
    model: ModelProto, samples: Samples, tuning: Tuning, *, teacher: Teacher | None = None, watch: Watch = nobody
) -> ModelProto:
    """``model`` after some epochs on ``samples``; its graph stays as it is."""
    parts = cut(model)
    choice = choose(parts.core)
    learnt = learn(parts, samples, tuning, teacher=teacher, watch=watch)
    return parts.whole(with_weights(choice.model, learnt.weights))


def answers(model: ModelProto, samples: Samples, x: Array | None = None) -> Array:
    """The deciding output (N, ...) for ``x``, all samples where it is None."""
    session = find_engine("onnxruntime").open({"model.onnx": model.SerializeToString()}, OpenOptions(threads=1))
    given = samples.data.x if x is None else x
    try:
        return np.concatenate([
            session.run(samples.feed(given[at : at + _AT_ONCE]))[samples.output].copy()
            for at in range(0, len(given), _AT_ONCE)
        ])  # fmt: skip
    finally:
        session.close()


@dataclass(frozen=True, slots=True)
class _Taught:
    """Batches of raw samples, with the teachers' answers, through the front."""

    batches: Batches
    input: str
    seam: str
    front: FrontGraph | None
    teachers: Mapping[str, Teacher]
    labelled: bool
    _nobody: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        for batch in self.batches.epoch(seed, epoch, start):
            raw = batch.pop(self.input)
            if not self.labelled:
                del batch["target"]
            batch |= {name: teacher(raw) for name, teacher in self.teachers.items()}
            core = feed_of(raw, self.seam) if self.front is None else {self.seam: self.front(raw, self._nobody)}
            yield batch | core


def _batches(parts: Cut, samples: Samples, size: int, teachers: Mapping[str, Teacher], *, labelled: bool) -> Batches:
    y = samples.data.y
    target = y.astype(np.int64 if samples.task == "classification" else np.float32)
    front = None if parts.front is None else FrontGraph(parts.front.SerializeToString())
    if samples.steps:
        raw = ArrayBatches(
            {samples.input: samples.data.x, "target": target}, size, last="drop", steps=samples.steps, input=samples.input
        )  # fmt: skip
        return _Taught(raw, samples.input, parts.seam, front, teachers, labelled)
    x, chance = samples.data.x, np.random.default_rng(0)
    pieces = [x[at : at + _AT_ONCE] for at in range(0, len(x), _AT_ONCE)]
    arrays = feed_of(x, parts.seam)
    if front is not None:
        arrays = {parts.seam: np.concatenate([front(piece, chance) for piece in pieces])}
    for name, teacher in teachers.items():
        arrays[name] = np.concatenate([teacher(piece) for piece in pieces])
    if labelled:
        arrays["target"] = target
    return ArrayBatches(arrays, size, last="drop")

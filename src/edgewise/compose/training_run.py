"""`edgewise train`: one run with one seed, and the figure of the file that comes of it."""

import sys
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from onnx import ModelProto

from edgewise.compose.training_data import Material
from edgewise.errors import InputError, MismatchError, ModelError, TrainingDivergedError
from edgewise.graph.image import to_size
from edgewise.graph.inspect import describe
from edgewise.graph.join import prepend
from edgewise.graph.rename import fresh_names, rename, taken_names
from edgewise.measure.evaluation import data_digest
from edgewise.measure.metric import Metric
from edgewise.measure.npz import Array
from edgewise.runtime.engine import EngineSession, OpenOptions, find_engine
from edgewise.training.data.batches import ArrayBatches, Batches
from edgewise.training.data.ordering import Order, Shuffled, Weighted
from edgewise.training.data.popularity import MOMENT, MomentBatches
from edgewise.training.data.prefetch import Prefetched
from edgewise.training.recipes.judging import judge, known_from_unknown
from edgewise.training.recipes.plan import Plan
from edgewise.training.recipes.recipe import Recipe
from edgewise.training.run.history import FitResult
from edgewise.training.run.history import Progress as Step
from edgewise.training.run.loop import Checkpoints, Predict, fit
from edgewise.training.run.memory import estimate_memory, measure_memory, refuse_over_budget
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.assembly import Assembly, assemble, choose

__all__ = ["Report", "Run", "run_seed"]

_DAY = 86_400  # seconds
_AT_ONCE = 64  # samples in evaluation
_CLOSE = 0.005  # how far the written file's figure may be from the one in training


class Report(Protocol):
    """Who is told how far it is."""

    def note(self, text: str) -> None:
        """Something in words."""

    def fetched(self, what: str, done: int, total: int) -> None:
        """Bytes of a download."""

    def step(self, seed: int, progress: Step) -> None:
        """A batch or an epoch of the run with ``seed``."""


@dataclass(frozen=True, slots=True)
class Run:
    """One seed. before: the figure of the model as it came; None for a network that nobody trained. others: further figures."""

    seed: int
    metric: Metric
    before: Metric | None
    result: FitResult
    model: bytes
    seconds: float
    others: tuple[Metric, ...] = ()

    @property
    def samples_per_second(self) -> float:
        """Over the whole of training, evaluation included."""
        seconds = sum(record.seconds for record in self.result.history)
        return sum(record.samples for record in self.result.history) / seconds if seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed, "metric": self.metric.to_json(), "before": self.before and self.before.to_json(),
            "others": [metric.to_json() for metric in self.others], "epochs": len(self.result.history),
            "bestEpoch": self.result.best_epoch, "stopped": self.result.stopped, "seconds": self.seconds,
            "samplesPerSecond": self.samples_per_second, "history": [record.to_json() for record in self.result.history],
        }  # fmt: skip


def _refuse_without_a_step(recipe: Recipe, batches: int) -> None:
    if recipe.epochs * batches < recipe.accumulate:
        raise InputError(
            f"--accumulate {recipe.accumulate}: {recipe.epochs} epochs of {batches} batches make no step: nothing would learn",
            remedy="Accumulate less, take smaller batches (--batch), or more epochs.",
        )


def run_seed(options: Namespace, recipe: Recipe, plan: Plan, material: Material, seed: int, report: Report) -> Run:
    """Train ``plan`` and measure the file. Raises MemoryBudgetError before anything runs, MismatchError where the file answers
    otherwise than training did, and what ``fit`` raises.
    """
    began = perf_counter()
    train_data, held = material.split.train, material.split.evaluation
    size = min(recipe.batch, len(train_data))
    assembly = _assemble(options, recipe, plan, size, seed)
    if options.memory is not None:
        _refuse_over_budget(options, recipe, plan, assembly, size, seed)
    stepper = Stepper(assembly.step, options.threads, frugal=options.memory is not None)
    batches = _batches(plan, recipe, material, size)
    _refuse_without_a_step(recipe, len(batches))
    inputs = plan.inputs(held.x)
    table = _opened(plan.behind.SerializeToString(), "the detections", 1) if plan.behind else None

    def evaluate(predict: Predict) -> Metric:
        outputs = predict(inputs)
        if not all(np.isfinite(value).all() for value in outputs.values() if value.dtype.kind == "f"):
            raise TrainingDivergedError("the answers on the evaluation data are not all finite numbers")
        if table is not None:
            outputs = table.run({"raw_boxes": outputs["boxes"], "raw_scores": outputs["scores"]})
        return judge(plan.task, {plan.deciding: outputs[plan.deciding]}, inputs, held.y)

    before = None
    if plan.started:
        try:
            before = evaluate(lambda given: stepper.predict(given, batch=_AT_ONCE))
        except TrainingDivergedError:
            raise ModelError(
                f"{options.network}, as it came, answers with NaN or infinity on the evaluation data",
                remedy="Look for NaN in its weights, and whether the samples are what it takes; --before joins preprocessing.",
            ) from None
    checkpoints = None
    if options.checkpoint:
        checkpoints = Checkpoints(
            options.checkpoint / f"seed-{seed}", options.checkpoint_every, data=data_digest(train_data),
            further={"evaluation data": data_digest(held), "preprocessing or augmentation": plan.front.digest},
        )  # fmt: skip
    result = fit(
        stepper, Prefetched(batches), evaluate, recipe.fit_settings(seed, evaluated=True), checkpoints=checkpoints,
        watch=lambda progress: report.step(seed, progress), predict_batch=_AT_ONCE,
    )  # fmt: skip
    finished = plan.finished(assembly.trained(stepper.weights()))
    model = _of_any_size(finished, material.size).SerializeToString()
    metric, others = _measured(model, plan, material, options.threads)
    if result.best is not None and abs(metric.value - result.best.value) > _CLOSE * max(1.0, abs(result.best.value)):
        raise MismatchError(
            f"the trained model gives {metric.name} {metric.value:.4g} as a file and {result.best.value:.4g} in training",
            remedy="Report this as a bug, with the model and the data.", file=metric.value, training=result.best.value,
        )  # fmt: skip
    return Run(seed, metric, before, result, model, perf_counter() - began, others)


def _assemble(options: Namespace, recipe: Recipe, plan: Plan, size: int, seed: int) -> Assembly:
    choice = choose(plan.model, options.only, options.freeze, head=plan.head, lora=options.lora, seed=seed)
    return assemble(
        choice, plan.loss, recipe.optimiser(), batch=size, accumulates=recipe.accumulate, segments=options.recompute,
    )  # fmt: skip


def _refuse_over_budget(
    options: Namespace, recipe: Recipe, plan: Plan, assembly: Assembly, size: int, seed: int
) -> None:  # fmt: skip
    """Measure the step with its batch and with half of it, each in a process of its own; refuse before it runs here."""
    small = max(1, size // 2)
    half = _assemble(options, recipe, plan, small, seed)
    measured = []
    for samples, each in ((small, half), (size, assembly)):
        with TemporaryDirectory() as folder:
            each.step.write(Path(folder))
            measured.append((samples, measure_memory(Path(folder), samples, sys.executable).extra))
    if size == small:
        measured[0] = (0, 0)
    spec = replace(assembly.step.spec, memory=estimate_memory(*measured))
    refuse_over_budget(spec, size, options.memory)


def _batches(plan: Plan, recipe: Recipe, material: Material, size: int) -> Batches:
    data = material.split.train
    arrays = {plan.input: data.x, **plan.targets(data)}
    if plan.soft and recipe.unknown and material.unknown is not None:
        strangers = np.concatenate([material.unknown[0]] * recipe.unknown)
        even = np.full((len(strangers), plan.classes), 1 / plan.classes, np.float32)  # of no class more than of another
        arrays = {
            plan.input: np.concatenate([data.x, strangers]), "target": np.concatenate([arrays["target"], even]),
        }  # fmt: skip
    if plan.popular is not None:
        order: Order = Shuffled()
        if material.times is not None and recipe.choices.get("recent"):
            age = (material.times.max() - material.times) / _DAY
            order = Weighted(0.5 ** (age / recipe.choices["recent"]))
        arrays = {plan.input: data.x, MOMENT: plan.popular.slot, **plan.targets(data)}
        return MomentBatches(ArrayBatches(arrays, size, order, last="drop"), plan.popular.table)
    # Samples that fill no batch wait for an epoch in which they come earlier: statistics of a few samples harm.
    return ArrayBatches(arrays, size, last="drop", steps=plan.front.steps, input=plan.input, encoder=plan.front.encoder)


def _of_any_size(model: ModelProto, size: tuple[int, int] | None) -> ModelProto:
    """With the resizing in the file that its pictures went through before they were learnt."""
    entering, *others = describe(model).inputs
    shape = entering.shape or ()
    if size is None or others or entering.dtype != "uint8" or len(shape) != 4 or shape[1:3] != size:
        return model
    inner = ModelProto()
    inner.CopyFrom(model)
    sized = fresh_names([entering.name], taken_names(model.graph), "sized_")
    rename(inner.graph, sized)
    return prepend(to_size(size, int(shape[3]), input_name=entering.name), inner, {"sized": sized[entering.name]})


def _measured(model: bytes, plan: Plan, material: Material, threads: int | None) -> tuple[Metric, tuple[Metric, ...]]:
    """What the file itself answers, from the samples as they are kept, by the runtime that it is made for."""
    session = _opened(model, "the trained model", threads or 0)
    held = material.split.evaluation
    try:
        outputs, inputs = _answers(session, plan, held.x)
        group = held.group if held.group is not None and len(np.unique(held.group)) > 1 else None
        group = None if plan.task == "recommendation" else group
        metric = judge(plan.task, {plan.deciding: outputs}, inputs, held.y, group)
        if material.unknown is None or plan.task != "classification":
            return metric, ()
        strangers, _ = _answers(session, plan, material.unknown[1])
        return metric, (known_from_unknown(outputs, strangers),)
    finally:
        session.close()


def _answers(session: EngineSession, plan: Plan, x: Array) -> tuple[Array, dict[str, Array]]:
    feeds = {session.inputs[0].name: x} if plan.front.encoder is None else plan.front.still(x, plan.input)
    parts = [
        session.run({name: np.ascontiguousarray(array[at : at + _AT_ONCE]) for name, array in feeds.items()})[
            plan.deciding
        ]
        for at in range(0, len(x), _AT_ONCE)
    ]
    return np.concatenate(parts), feeds


def _opened(model: bytes, what: str, threads: int) -> EngineSession:
    return find_engine("onnxruntime").open({f"{what}.onnx": model}, OpenOptions(threads=threads))

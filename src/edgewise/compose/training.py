"""`edgewise train`: one command from data to a model that was trained, checked and measured."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from onnx import ModelProto

from edgewise.compose.pack_options import check_target
from edgewise.compose.training_data import Material, Wanted, kind_of, read_material
from edgewise.compose.training_files import front_of_file, hashing_of_file
from edgewise.compose.training_options import read_recipe
from edgewise.errors import InputError, MismatchError
from edgewise.graph.inspect import read_model
from edgewise.importing.onnx_file import import_onnx
from edgewise.measure.dataset import Dataset
from edgewise.measure.evaluation import data_digest
from edgewise.measure.metric import Metric
from edgewise.measure.npz import Array
from edgewise.networks.registry import NETWORKS
from edgewise.runtime.engine import EngineSession, OpenOptions, find_engine
from edgewise.store.files import write_bytes
from edgewise.training.assembly import Assembly, assemble, choose, in_floats
from edgewise.training.batches import ArrayBatches
from edgewise.training.curve import curve_png
from edgewise.training.front import Front, build_front
from edgewise.training.history import INTERRUPTED, FitResult
from edgewise.training.history import Progress as Step
from edgewise.training.judging import judge, known_from_unknown
from edgewise.training.loop import Checkpoints, Predict, fit
from edgewise.training.memory import estimate_memory, measure_memory, refuse_over_budget
from edgewise.training.plan import Plan, plan_file, plan_network
from edgewise.training.prefetch import Prefetched
from edgewise.training.recipe import Recipe
from edgewise.training.stepper import Stepper

__all__ = ["Report", "Run", "Trained", "train"]

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


@dataclass(frozen=True, slots=True)
class Trained:
    """runs: every seed. chosen: the one whose model was written: that of the median figure. files: what was written."""

    runs: tuple[Run, ...]
    chosen: Run
    task: str
    samples: tuple[int, int]
    files: tuple[Path, ...]
    warnings: tuple[str, ...]
    parameters: int

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return any(run.result.stopped == INTERRUPTED for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        return {
            "files": [str(path) for path in self.files], "task": self.task, "trainSamples": self.samples[0],
            "evaluationSamples": self.samples[1], "trainedParameters": self.parameters, "seed": self.chosen.seed,
            "metric": self.chosen.metric.to_json(), "interrupted": self.interrupted, "warnings": list(self.warnings),
            "runs": [run.to_json() for run in self.runs],
        }  # fmt: skip


def train(options: Namespace, report: Report) -> Trained:
    """Train as the options say and write the model. Nothing is written where anything before fails.

    Several seeds are trained one after another; the model of the median figure is kept, so that the file is what its figure says.
    """
    check_target(options.output)
    recipe = read_recipe(options)
    source = None if options.network in NETWORKS else in_floats(_read_onnx(options.network))
    material = read_material(options, _wanted(source), report.fetched)
    for warning in material.warnings:
        report.note(warning)
    front = _front(options, recipe, source, material)
    runs: list[Run] = []
    plan = None
    for seed in range(options.seed, options.seed + options.seeds):
        plan = _plan(options, recipe, source, material, front, seed)
        runs.append(_run(options, recipe, plan, material, seed, report))
        if runs[-1].result.stopped == INTERRUPTED:
            break
    assert plan is not None
    complete = [run for run in runs if run.result.stopped != INTERRUPTED] or runs
    middle = median_low([run.metric.value for run in complete])
    chosen = next(run for run in complete if run.metric.value == middle)
    files = _write(options, chosen, plan, material)
    sizes = (len(material.split.train), len(material.split.evaluation))
    return Trained(tuple(runs), chosen, plan.task, sizes, files, material.warnings, _parameters(plan, options))


def _run(options: Namespace, recipe: Recipe, plan: Plan, material: Material, seed: int, report: Report) -> Run:
    began = perf_counter()
    train_data, held = material.split.train, material.split.evaluation
    size = min(recipe.batch, len(train_data))
    assembly = _assemble(options, recipe, plan, size, seed)
    if options.memory is not None:
        _refuse_over_budget(options, recipe, plan, assembly, size, seed)
    stepper = Stepper(assembly.step, options.threads, frugal=options.memory is not None)
    batches = _batches(plan, train_data, size)
    inputs = plan.front.still(held.x, plan.input)
    table = _opened(plan.behind.SerializeToString(), "the detections", 1) if plan.behind else None

    def evaluate(predict: Predict) -> Metric:
        outputs = predict(inputs)
        if table is not None:
            outputs = table.run({"raw_boxes": outputs["boxes"], "raw_scores": outputs["scores"]})
        return judge(plan.task, {plan.deciding: outputs[plan.deciding]}, inputs, held.y)

    before = None
    if plan.started:
        before = evaluate(lambda given: stepper.predict(given, batch=_AT_ONCE))
    checkpoints = None
    if options.checkpoint:
        checkpoints = Checkpoints(
            options.checkpoint / f"seed-{seed}", options.checkpoint_every, data=data_digest(train_data)
        )
    result = fit(
        stepper, Prefetched(batches), evaluate, recipe.fit_settings(seed, evaluated=True), checkpoints=checkpoints,
        watch=lambda progress: report.step(seed, progress), predict_batch=_AT_ONCE,
    )  # fmt: skip
    model = plan.finished(assembly.trained(stepper.weights())).SerializeToString()
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


def _batches(plan: Plan, data: Dataset, size: int) -> ArrayBatches:
    arrays = {plan.input: data.x, **plan.targets(data)}
    # Samples that fill no batch wait for an epoch in which they come earlier: statistics of a few samples harm.
    return ArrayBatches(arrays, size, last="drop", steps=plan.front.steps, input=plan.input, encoder=plan.front.encoder)


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


def _write(options: Namespace, chosen: Run, plan: Plan, material: Material) -> tuple[Path, ...]:
    output: Path = options.output
    # Drawn before anything is written: matplotlib may be missing.
    picture = None
    if options.plot:
        picture = curve_png(chosen.result.history, f"{options.network}, seed {chosen.seed}", chosen.result.best_epoch)
    files = [output]
    write_bytes(output, chosen.model)
    if material.labels:
        files.append(output.with_suffix(".labels.txt"))
        write_bytes(files[-1], "".join(f"{name}\n" for name in material.labels).encode())
    if plan.front.encoder is not None:
        files.append(output.with_suffix(".text.json"))
        write_bytes(files[-1], plan.front.encoder.hashing.to_json())
    if picture is not None:
        files.append(options.plot)
        write_bytes(options.plot, picture)
    return tuple(files)


def _read_onnx(name: str) -> ModelProto:
    path = Path(name)
    if not path.suffix == ".onnx":
        raise InputError(f"{name} is neither a network nor an ONNX file", remedy=f"Networks are {', '.join(NETWORKS)}.")
    found = import_onnx(path)
    files = dict(found.files)
    first, *_ = files
    return read_model(files[first], external=lambda location: files[location])


def _wanted(model: ModelProto | None) -> Wanted:
    if model is None:
        return Wanted()
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    if len(dims) == 2:
        return Wanted(length=dims[1] or None)
    if len(dims) != 4:
        return Wanted()
    last = dims[3] in {1, 3} and dims[1] not in {1, 3}
    height, width, channels = (dims[1], dims[2], dims[3]) if last else (dims[2], dims[3], dims[1])
    return Wanted((height, width) if height and width else None, channels if channels in {1, 3} else None)


def _front(options: Namespace, recipe: Recipe, source: ModelProto | None, material: Material) -> Front:
    data = material.split.train
    takes = NETWORKS[options.network].input if source is None else _takes(source)
    kind = kind_of(data.x, takes)
    if source is None:
        spectral = options.network != "cnn1d"
        texts = data.x if kind == "text" and recipe.text.get("idf") else None
        return build_front(kind, recipe, data.x, rate=material.rate, texts=texts, spectral=spectral)
    graph = front_of_file(options, source, data, kind)
    return build_front(
        kind, recipe, data.x, graph=graph, hashing=hashing_of_file(options.network, kind), spectral=False
    )


def _takes(model: ModelProto) -> str:
    return "image" if len(model.graph.input[0].type.tensor_type.shape.dim) == 4 else ""


def _plan(
    options: Namespace, recipe: Recipe, source: ModelProto | None, material: Material, front: Front, seed: int
) -> Plan:  # fmt: skip
    data = material.split.train
    if source is None:
        return plan_network(options.network, recipe, front, data, seed=seed, items=_items(material))
    return plan_file(
        source, recipe, front, data, loss=options.loss, new_head=options.head, seed=seed, output=options.decision
    )  # fmt: skip


def _items(material: Material) -> int:
    if material.names or material.split.train.x.dtype.kind not in "iu":
        return len(material.names)
    return int(
        max(part.max() for half in (material.split.train, material.split.evaluation) for part in (half.x, half.y))
    )


def _parameters(plan: Plan, options: Namespace) -> int:
    choice = choose(plan.model, options.only, options.freeze, head=plan.head, lora=options.lora)
    sizes: Mapping[str, int] = {t.name: int(np.prod(t.dims)) for t in choice.model.graph.initializer}
    return sum(sizes.get(name, 0) for name in choice.parameters)

"""`edgewise compress`: the model and the data that are named, brought together."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgewise.compose.importing import import_models
from edgewise.compose.training_data import Material, read_material
from edgewise.compose.training_files import front_of_file, hashing_of_file
from edgewise.compose.training_kinds import kind_of
from edgewise.compose.training_model import wanted_by
from edgewise.compress.samples import Samples, joined_inputs
from edgewise.compress.search.bench import Bench
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.inspect import describe, read_model
from edgewise.graph.join import prepend
from edgewise.measure.dataset import Dataset, with_labels
from edgewise.training.augment.step import Step
from edgewise.training.data.splitting import Split, split, split_groups
from edgewise.training.data.text_hash import TextEncoder
from edgewise.training.recipes.front import build_front
from edgewise.training.recipes.judging import Task
from edgewise.training.recipes.recipe import FINE_TUNING
from edgewise.training.rewrites.heads import class_count, free_batch
from edgewise.training.step.assembly import in_floats

__all__ = ["Subject", "parted", "read_onnx", "read_subject"]

_COMPARING = 0.25  # of the training data: what candidates are compared by


@dataclass(frozen=True, slots=True)
class Subject:
    """model: as it came, from raw samples to its answers. start: the same in floats, which passes are applied to. labels: of the
    classes. evaluation: for the gate. joined: whether preprocessing was. warnings: about the data.
    """

    name: str
    model: bytes
    start: bytes
    bench: Bench
    evaluation: Dataset
    labels: tuple[str, ...]
    joined: bool
    warnings: tuple[str, ...] = ()


def read_subject(options: Namespace, fetched: object) -> Subject:
    """What MODEL, --train and --eval name. Raises what reading raises, and UnsupportedError for a model of several inputs."""
    path = Path(options.model)
    model, data = _read_model(options.model)
    material = read_material(options, wanted_by(model), fetched)  # type: ignore[arg-type]  # Progress takes any answer
    model, joined, steps = _with_front(options, model, material)
    opened = describe(model)
    output = options.decision or opened.outputs[0].name
    if output not in {value.name for value in opened.outputs}:
        raise InputError(
            f"the model has no output {output!r}; it has {', '.join(value.name for value in opened.outputs)}"
        )
    halves = _encoded(path, model, _labelled(path, material.split))
    task = _task(model, halves, output)
    learning = parted(halves.train, options.seed)
    samples = Samples(learning.train, task, opened.inputs[0].name, output, steps, options.seed)
    plain = model.SerializeToString(deterministic=True) if joined or data is None else data
    start = in_floats(model).SerializeToString(deterministic=True)
    bench = Bench(samples, learning.evaluation)
    return Subject(path.stem, plain, start, bench, halves.evaluation, halves.train.labels, joined, material.warnings)


def parted(data: Dataset, seed: int) -> Split:
    """What passes may learn from, and what the search compares candidates by; whole groups where there are some."""
    groups = data.group is not None and len(np.unique(data.group)) > 1
    return split_groups(data, _COMPARING, seed) if groups else split(data, _COMPARING, seed)


def read_onnx(source: str) -> ModelProto:
    """The ONNX model in the file ``source``, taking any batch. Raises what importing raises, UnsupportedError for no single one."""
    return _read_model(source)[0]


def _read_model(source: str) -> tuple[ModelProto, bytes | None]:
    """The model, any batch, and the bytes of its file where those are the whole of it."""
    found = list(import_models([source]).models.values())
    if len(found) != 1 or found[0].format != "onnx":
        listed = ", ".join(f"{item.name} ({item.format})" for item in found)
        raise UnsupportedError(f"{source} is not one ONNX model: {listed}", remedy="Name one ONNX file.")
    files = found[0].files
    first, *others = files.values()
    model = read_model(first, external=lambda location: files[location])
    freed = free_batch(model)
    return freed, None if others or freed.graph != model.graph else first


def _with_front(
    options: Namespace, model: ModelProto, material: Material
) -> tuple[ModelProto, bool, tuple[Step, ...]]:  # fmt: skip
    """The model with what has to stand in front of it, whether something has, and the augmentation of samples while they teach."""
    data, (spec, *others) = material.split.train, describe(model).inputs
    shape = spec.shape or ()
    # Bytes in rows and columns are grey pixels; a sensor's windows come in wider numbers.
    kind = kind_of(data.x, "image" if len(shape) == 4 or (len(shape) == 3 and data.x.dtype == np.uint8) else "")
    if len(others) > (kind == "text"):  # texts become ids and weights
        names = ", ".join(value.name for value in (spec, *others))
        raise UnsupportedError(
            f"the model has the inputs {names}, and data fills {'two' if kind == 'text' else 'one'}",
            remedy="Make the others constants first: edgewise pack --set, or edgewise.graph.edit.freeze_input.",
        )
    if kind == "text":
        return model, False, ()
    steps = build_front(kind, FINE_TUNING.but(augment=options.augment), data.x, spectral=False).before
    if data.x.dtype.name == spec.dtype and not options.before:
        return model, False, steps  # a model that takes raw samples already
    front = front_of_file(options, model, data, kind)
    return (model, False, steps) if front is None else (prepend(front, model), True, steps)


def _encoded(path: Path, model: ModelProto, halves: Split) -> Split:
    """Samples as the model's inputs take them: texts as ids and weights."""
    if halves.train.x.dtype.kind not in "UOT":
        return halves
    names = [value.name for value in describe(model).inputs]
    hashing = hashing_of_file(str(path), "text")
    assert hashing is not None  # it raises where there is none
    encoder = TextEncoder(hashing, ids=names[0], weights=names[1] if len(names) > 1 else "")

    def encoded(data: Dataset) -> Dataset:
        made = {name: np.asarray(array) for name, array in encoder(data.x, np.random.default_rng(0)).items()}
        x = joined_inputs(made) if len(made) > 1 else made[names[0]]
        return Dataset(x, data.y, data.group, data.labels, data.name)

    return Split(encoded(halves.train), encoded(halves.evaluation))


def _labelled(path: Path, halves: Split) -> Split:
    """With classes counted as the model counts them, where the file beside it (`edgewise train` writes it) and the data say how."""
    beside = path.with_suffix(".labels.txt")
    if not beside.is_file():
        return halves
    names = tuple(line.strip() for line in beside.read_text("utf-8").splitlines() if line.strip())
    return Split(with_labels(halves.train, names), with_labels(halves.evaluation, names))


def _task(model: ModelProto, halves: Split, output: str) -> Task:
    y = halves.train.y
    if y.ndim == 1 and y.dtype.kind in "iub":
        classes = class_count(model, output)
        largest = int(max(half.y.max() for half in (halves.train, halves.evaluation)))
        if classes is not None and largest >= classes:
            raise InputError(
                f"the data has the class {largest}, and {output} tells {classes} classes apart (from 0)",
                remedy="Name the data that the model was made for, or the output with --decision.",
            )
        return "classification"
    return "multilabel" if y.ndim == 2 and bool(np.isin(y, (0, 1)).all()) else "regression"

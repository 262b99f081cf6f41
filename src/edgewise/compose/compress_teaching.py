"""`edgewise compress --teacher --student --unlabelled`: who teaches, who learns, and on what besides."""

import os
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from edgewise.bundle.derivation import DataUse
from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.compress_model import Subject, read_onnx
from edgewise.compose.importing import import_models
from edgewise.compose.pack_options import read_labels
from edgewise.compose.training_files import front_of_file, hashing_of_file
from edgewise.compose.training_kinds import kind_of
from edgewise.compress.distill.recorded import RecordedTeacher
from edgewise.compress.distill.student import Given, Reference, Student
from edgewise.compress.distill.teacher import CachedTeacher, FunctionTeacher, ModelTeacher
from edgewise.compress.distill.upstream import Upstream
from edgewise.compress.search.taught import Taught
from edgewise.errors import InputError, PeerError, TransitError, UnsupportedError
from edgewise.graph.inspect import describe, read_model
from edgewise.graph.join import prepend
from edgewise.measure.dataset import Dataset, read_dataset
from edgewise.measure.evaluation import data_digest
from edgewise.measure.npz import Array
from edgewise.net.asking import Asker, read_address
from edgewise.networks.registry import NETWORKS
from edgewise.training.data.folders import read_unlabelled

__all__ = ["Teaching", "read_teaching"]

_TOKEN = "EDGEWISE_TEACHER_TOKEN"  # noqa: S105  (the name of a variable)
_WEB = ("http://", "https://")
_WHAT = "those that candidates are compared and judged by are not sent"


@dataclass(frozen=True, slots=True)
class Teaching:
    """taught: for the search; of a teacher behind a URL without it until ``asked``. identity: for the journal.

    upstream: a teacher behind a URL with its cache, and what it is to be asked about.
    """

    taught: Taught
    identity: dict[str, str]
    upstream: tuple[CachedTeacher, str, Array] | None = None

    def uses(self) -> list[DataUse]:
        """Data that was used besides that of the search itself."""
        more = self.taught.unlabelled
        return [] if more is None else [DataUse("learning without labels", self.identity["unlabelled"], len(more))]

    def asked(self, note: Callable[[str], None]) -> Taught:
        """With the answers of a teacher behind a URL; samples that it was not asked about before leave the machine now."""
        if self.upstream is None:
            return self.taught
        teacher, label, x = self.upstream
        lacking = teacher.lacking(x)
        try:
            recorded = RecordedTeacher.of(teacher, teacher.digest, label, x)
        except (TransitError, PeerError) as error:
            kept = f"{error.remedy} The same command with --resume goes on; what was answered is kept."
            raise type(error)(error.what, remedy=kept, **error.details) from error
        if lacking:
            note(f"{label} has answered; its answers are kept in {teacher.folder}")
        return replace(self.taught, teacher=recorded)


def read_teaching(options: Namespace, subject: Subject, note: Callable[[str], None]) -> Teaching:
    """What the options name, checked as far as that goes without a sample leaving the machine; what will leave is said to ``note``.

    Raises InputError and UnsupportedError for what does not fit the model and its data, and what reading and asking raise.
    """
    samples, start = subject.bench.samples, read_model(subject.start)
    if options.teacher_output and not options.teacher:
        raise InputError("--teacher-output is for --teacher", remedy="Name the teacher, or leave it out.")
    if samples.task == "multilabel" and (options.teacher or options.student or options.unlabelled):
        raise UnsupportedError(
            "several labels at once cannot be learnt from a teacher's answers here",
            remedy="Leave --teacher, --student and --unlabelled out.",
        )
    more = _unlabelled(options, samples.data) if options.unlabelled else None
    taught = Taught(unlabelled=None if more is None else more.x, samples=len(samples.data))
    identity = {"teacher": "", "student": "", "unlabelled": "" if more is None else data_digest(more)}
    if options.student:
        student = _student(options, subject)
        student.build(start, samples)  # what it cannot be is told before anything is searched
        taught, identity["student"] = replace(taught, student=student), student.name
    if not options.teacher:
        return Teaching(taught, identity)
    if options.teacher.lower().startswith(_WEB):
        upstream = _upstream(options, subject, start, more, note)
        return Teaching(taught, {**identity, "teacher": upstream[0].digest}, upstream)
    file = _file_teacher(options, subject, start)
    return Teaching(replace(taught, teacher=file), {**identity, "teacher": file.digest})


def _unlabelled(options: Namespace, data: Dataset) -> Dataset:
    path, x = Path(options.unlabelled), data.x
    if x.dtype.names or x.dtype.kind not in "biuf":
        raise UnsupportedError(
            "samples without labels are numbers, pictures or sound", remedy="Leave --unlabelled out."
        )
    if path.is_dir():
        picture = x.ndim == 4
        found = read_unlabelled(
            path, size=(x.shape[1], x.shape[2]) if picture else None, channels=x.shape[3] if picture else None,
            length=x.shape[1] if x.ndim == 2 else None,
        )  # fmt: skip
    else:
        found = read_dataset(path, labelled=False).x
    if found.shape[1:] != x.shape[1:] or (found.dtype != x.dtype and {found.dtype.kind, x.dtype.kind} != {"f"}):
        raise InputError(
            f"the samples of --unlabelled are {found.dtype} {found.shape[1:]}, those of --train {x.dtype} {x.shape[1:]}",
            remedy="Bring them to the same form.",
        )
    return Dataset(found.astype(x.dtype), np.zeros(len(found), np.int64), None, (), path.name)


def _student(options: Namespace, subject: Subject) -> Student:
    name = options.student
    if name in NETWORKS and not Path(name).exists():
        return Reference(network=name, seed=options.seed)
    if not Path(name).exists() and not name.lower().endswith(".onnx"):
        raise InputError(
            f"--student {name} is neither a file nor a reference network",
            remedy=f"There are {', '.join(sorted(NETWORKS))}.",
        )
    return Given(_whole(options, name, subject).SerializeToString(deterministic=True))


def _file_teacher(options: Namespace, subject: Subject, start: ModelProto) -> ModelTeacher:
    path, samples = Path(options.teacher), subject.bench.samples
    raw = samples.task != "classification"
    if path.suffix.lower() == ".tflite":
        (model,) = import_models([options.teacher]).models.values()
        entering, leaving = _only(model.inputs, "", "inputs"), _only(model.outputs, options.teacher_output, "outputs")
        takes, gives = (_scale(spec) for spec in (entering, leaving))
        teacher = ModelTeacher(
            model.files, "litert", entering.name, leaving.name, raw, takes, gives, f"the teacher {path.name}"
        )  # fmt: skip
    else:
        whole = _whole(options, options.teacher, subject)
        names = [value.name for value in whole.graph.output]
        usual = samples.output if samples.output in names else names[0] if len(names) == 1 else ""
        chosen = options.teacher_output or usual
        if chosen not in names:
            raise InputError(
                f"which output of {path.name} teaches is not clear: it has {', '.join(names)}",
                remedy="Name it with --teacher-output.",
            )
        data = whole.SerializeToString(deterministic=True)
        teacher = ModelTeacher(
            {"model.onnx": data}, "onnxruntime", whole.graph.input[0].name, chosen, raw, label=f"the teacher {path.name}"
        )  # fmt: skip
    _check_classes(path, subject.labels)
    answer = teacher(samples.data.x[:2])
    if answer.shape[1:] != (wanted := _answer(start, subject)):
        raise InputError(
            f"{path.name} answers with {list(answer.shape[1:])} numbers for a sample, and the model with {list(wanted)}",
            remedy="Take a teacher of the same classes, or name the output that tells them: --teacher-output.",
        )
    return teacher


def _check_classes(path: Path, labels: tuple[str, ...]) -> None:
    """By what `edgewise train` writes beside a model. The same classes in another order would be taught wrongly."""
    beside = path.with_suffix(".labels.txt")
    own = read_labels(beside) if beside.is_file() else ()
    if own and labels and own != labels:
        raise InputError(
            f"{path.name} counts its classes as {', '.join(own[:8])}, and the model as {', '.join(labels[:8])}",
            remedy="Take a teacher with the same classes in the same order.",
        )


def _upstream(
    options: Namespace, subject: Subject, start: ModelProto, more: Dataset | None, note: Callable[[str], None]
) -> tuple[CachedTeacher, str, Array]:  # fmt: skip
    samples = subject.bench.samples
    x = samples.data.x
    if x.dtype.names or x.dtype.kind not in "biuf":
        raise UnsupportedError("a teacher behind a URL takes one input of numbers", remedy="Name a file as --teacher.")
    address = read_address(options.teacher, unsafe_plain_http=options.unsafe_plain_http)
    answer = _answer(start, subject)
    asked = Upstream(
        address, Asker(token=os.environ.get(_TOKEN, "")), x.shape[1:], x.dtype.name, answer, options.teacher_output, samples.output
    )  # fmt: skip
    digest = sha256(repr((address.url, options.teacher_output, samples.task, answer)).encode()).hexdigest()
    raw = samples.task != "classification"
    teacher = CachedTeacher(FunctionTeacher(asked, digest, raw=raw), options.output / "search" / "teacher")
    everything = x if more is None else np.concatenate([x, more.x])
    lacking = teacher.lacking(everything)
    if not lacking:
        note(f"the answers of {address.url} are kept from before; no sample is sent")
    else:
        asked.form()
        size = everything[:1].nbytes * lacking
        whose = "--train" if more is None else "--train and --unlabelled"
        where = f"go to {address.url} on" if address.local else f"leave for {address.url} from"
        note(f"{lacking} samples of {whose} ({size} bytes) {where} this machine, because --teacher names it; {_WHAT}")
    return teacher, f"the teacher {address.url.rpartition('/')[2]}", everything


def _whole(options: Namespace, source: str, subject: Subject) -> ModelProto:
    """The model in a file, taking samples as they are in the data: with the same in front as the model that is made smaller."""
    model, x = read_onnx(source), subject.bench.samples.data.x
    inputs = describe(model).inputs
    beside = Path(options.model).with_suffix(".text.json")
    if beside.is_file() and hashing_of_file(source, "text") != hashing_of_file(options.model, "text"):
        raise UnsupportedError(
            f"{source} makes other ids of words than {options.model}",
            remedy="Train both with the same settings of text.",
        )
    if x.dtype.names and {value.name for value in inputs} != {*x.dtype.names}:
        raise UnsupportedError(f"{source} has other inputs than {', '.join(x.dtype.names)}")
    if x.dtype.names or (beside.is_file() and len(inputs) == 1):
        return model  # texts are ids by now
    if len(inputs) != 1:
        raise UnsupportedError(
            f"{source} has the inputs {', '.join(value.name for value in inputs)}, and data fills one",
            remedy="Make the others constants first: edgewise pack --set, or edgewise.graph.edit.freeze_input.",
        )
    shape = inputs[0].shape or ()
    as_it_is = inputs[0].dtype == x.dtype.name
    front = front_of_file(
        Namespace(before="" if as_it_is else options.before), model, subject.bench.samples.data,
        kind_of(x, "image" if len(shape) == 4 else ""),
    )  # fmt: skip
    return model if front is None else prepend(front, model)


def _answer(start: ModelProto, subject: Subject) -> tuple[int, ...]:
    """Shape of one answer of the model that learns."""
    output = subject.bench.samples.output
    shape = next(value.shape for value in describe(start).outputs if value.name == output) or ()
    if (
        any(not isinstance(size, int) for size in shape[1:])
        or prod(size for size in shape[1:] if isinstance(size, int)) < 1
    ):
        raise UnsupportedError(
            f"the shape of {output} is not known, so nobody can teach it", remedy="Export it with shapes."
        )
    return tuple(size for size in shape[1:] if isinstance(size, int))


def _only(specs: tuple[TensorSpec, ...], name: str, what: str) -> TensorSpec:
    found = [spec for spec in specs if name in ("", spec.name)]
    if len(found) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise InputError(f"the teacher has the {what} {names}; one is needed", remedy="Name it with --teacher-output.")
    return found[0]


def _scale(spec: TensorSpec) -> tuple[float, int] | None:
    form: Any = spec.extra.get("quantization")
    if form is None or isinstance(form["scale"], list):
        return None
    return float(form["scale"]), int(form["zeroPoint"])

"""The bundle document: what the model is, which variants it comes in, and which blobs they need.

It is the one blob that a reader parses to know everything else; the release statement signs its digest and the digest of
every file that it names. The form is specified in spec/bundle.md and spec/schemas/bundle.schema.json.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from edgewise.bundle.derivation import Derivation, read_derivation
from edgewise.bundle.fields import Form
from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.bundle.tensors import IDENTIFIER, StateSpec, TensorSpec, read_state, read_tensor
from edgewise.bundle.training_parts import TrainingEntry, check_training, read_training
from edgewise.records import dataclass

__all__ = [
    "FORMATS",
    "NAME",
    "PRECISIONS",
    "TASKS",
    "VERSION",
    "Document",
    "File",
    "Golden",
    "Variant",
    "parse_document",
]

SCHEMA_VERSION = 1
TASKS = ("classification", "multilabel", "detection", "regression", "anomaly", "embedding", "tensor")
FORMATS = ("onnx", "tflite")
PRECISIONS = ("fp32", "fp16", "int8", "int4", "mixed")
NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")  # a repository component: OCI distribution specification 1.1
VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # a tag, likewise
MEDIA_TYPE = re.compile(r"[a-z0-9]+/[A-Za-z0-9!#$&^_.+-]{1,127}")  # RFC 6838 section 4.2
LABEL = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,256}")  # no control characters: labels are printed
PROSE = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f]*")  # the same, but with tabs and line ends
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_MAX_PATH = 512


@dataclass(frozen=True, slots=True)
class File:
    """A blob that the document names: where it lies relative to its variant, and its digest and size in bytes."""

    path: str
    media_type: str
    digest: str
    size: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.extra, "path": self.path, "mediaType": self.media_type, "digest": self.digest, "size": self.size,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variant:
    """One executable form of the model. ``files[0]`` is the model itself; the rest is what it refers to (external data).

    inputs, outputs: the interface's name of each tensor -> the name inside this file, where they differ.
    requires: what the file needs (``opset``, ``irVersion``, ``memoryBytes``); informative, the device measures for itself.
    derivation: how it was made from another model, where somebody says.
    """

    name: str
    format: str
    precision: str
    files: tuple[File, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    requires: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    derivation: Derivation | None = None

    @property
    def digest(self) -> str:
        """The digest of the model file; a variant with external data is told apart by this too, since it names them."""
        return self.files[0].digest

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            **self.extra, "name": self.name, "format": self.format, "precision": self.precision,
            "files": [file.to_json() for file in self.files],
        }  # fmt: skip
        optional = {
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "requires": dict(self.requires),
            "derivation": self.derivation and self.derivation.to_json(),
        }
        return value | {key: item for key, item in optional.items() if item}


@dataclass(frozen=True, slots=True)
class Golden:
    """Chosen inputs and the outputs that each variant gave for them when it was packed, in one safetensors file.

    Tensors are named ``in/<input>`` and ``out/<variant>/<output>``. A replay passes where every value is within
    ``absolute * spread + relative * |expected|``, the spread being that of the recorded output, and the share of equal decisions
    is at least ``agreement``; on another processor a quantized variant may differ by rounding, so ``absolute`` is per variant
    where it needs to be.
    """

    file: File
    absolute: float
    relative: float
    agreement: float = 1.0
    absolute_by_variant: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def tolerance(self, variant: str) -> float:
        """The absolute tolerance for one variant."""
        return self.absolute_by_variant.get(variant, self.absolute)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.extra, "file": self.file.to_json(), "absolute": self.absolute, "relative": self.relative,
            "agreement": self.agreement, "absoluteByVariant": dict(self.absolute_by_variant),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Document:
    """One version of one model, for all tiers. training: steps that its variants can learn by, at most one for each."""

    name: str
    version: str
    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[Variant, ...]
    decision: str = ""
    labels: tuple[str, ...] = ()
    states: tuple[StateSpec, ...] = ()
    golden: Golden | None = None
    files: tuple[File, ...] = ()
    description: str = ""
    licence: str = ""
    training: tuple[TrainingEntry, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def all_files(self) -> Iterator[File]:
        """Every file that is named anywhere in the document; one that several variants share comes more than once."""
        for variant in self.variants:
            yield from variant.files
        if self.golden is not None:
            yield self.golden.file
        yield from self.files

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            **self.extra, "schemaVersion": SCHEMA_VERSION, "name": self.name, "version": self.version, "task": self.task,
            "inputs": [spec.to_json() for spec in self.inputs], "outputs": [spec.to_json() for spec in self.outputs],
            "variants": [variant.to_json() for variant in self.variants],
        }  # fmt: skip
        optional: dict[str, Any] = {
            "decision": self.decision, "labels": list(self.labels), "states": [state.to_json() for state in self.states],
            "golden": self.golden and self.golden.to_json(), "files": [file.to_json() for file in self.files],
            "description": self.description, "licence": self.licence,
            "training": [entry.to_json() for entry in self.training],
        }  # fmt: skip
        return value | {key: item for key, item in optional.items() if item}

    def to_bytes(self) -> bytes:
        return dump_json(self.to_json())


def parse_document(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    """The document in ``data``. Raises DocumentError with every problem, HostileBundleError for what is not even JSON."""
    form = Form(parse_object(data, "the bundle document", limits), "bundle document")
    form.integer("schemaVersion", low=SCHEMA_VERSION, high=SCHEMA_VERSION)
    document = Document(
        name=form.text("name", pattern=NAME, limit=128),
        version=form.text("version", pattern=VERSION),
        task=form.text("task", one_of=TASKS),
        inputs=tuple(form.items("inputs", read_tensor, limit=256)),
        outputs=tuple(form.items("outputs", read_tensor, limit=256)),
        variants=tuple(form.items("variants", _read_variant, limit=64)),
        decision=form.text("decision", pattern=IDENTIFIER, default=""),
        labels=tuple(
            form.values(
                "labels",
                lambda label: isinstance(label, str) and LABEL.fullmatch(label) is not None,
                "a text of at most 256 characters, none of them a control character,",
            )
        ),
        states=tuple(form.items("states", read_state, limit=256, optional=True)),
        golden=form.child("golden", _read_golden),
        files=tuple(form.items("files", _read_file, optional=True)),
        description=form.text("description", pattern=PROSE, default=""),
        licence=form.text("licence", pattern=LABEL, default=""),
        training=read_training(form),
        extra=form.rest(),
    )
    _check_references(document, form)
    form.finish()
    return document


def _read_file(form: Form) -> File:
    path = form.text("path", limit=_MAX_PATH)
    if not all(_SEGMENT.fullmatch(segment) and ".." not in segment for segment in path.split("/")):
        form.problem("path", f"{path[:60]!r} is not a plain relative path")
    return File(
        path,
        form.text("mediaType", pattern=MEDIA_TYPE),
        form.digest("digest"),
        form.integer("size"),
        form.rest(),
    )


def _read_variant(form: Form) -> Variant:
    files = tuple(form.items("files", _read_file))
    if not files:
        form.problem("files", "at least the model file is needed")
    if len({file.path for file in files}) != len(files):
        form.problem("files", "two files have the same path")
    requires = form.anything("requires") or {}
    if not isinstance(requires, dict):
        form.problem("requires", "an object is needed")
        requires = {}
    return Variant(
        name=form.text("name", pattern=NAME, limit=64),
        format=form.text("format", one_of=FORMATS),
        precision=form.text("precision", one_of=PRECISIONS),
        files=files,
        inputs=form.mapping("inputs"),
        outputs=form.mapping("outputs"),
        requires=requires,
        derivation=form.child("derivation", read_derivation),
        extra=form.rest(),
    )


def _read_golden(form: Form) -> Golden:
    file = form.child("file", _read_file)
    if file is None:
        form.problem("file", "is missing")
        file = File("", "", "", 0)
    by_variant = form.anything("absoluteByVariant") or {}
    if not isinstance(by_variant, dict) or not all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 for value in by_variant.values()
    ):
        form.problem("absoluteByVariant", "an object of numbers is needed")
        by_variant = {}
    return Golden(
        file=file,
        absolute=form.number("absolute", low=0),
        relative=form.number("relative", low=0),
        agreement=form.number("agreement", low=0, high=1, default=1.0),
        absolute_by_variant=by_variant,
        extra=form.rest(),
    )


def _check_references(document: Document, form: Form) -> None:
    inputs = [spec.name for spec in document.inputs]
    outputs = [spec.name for spec in document.outputs]
    variants = [variant.name for variant in document.variants]
    for field_name, names in (("inputs", inputs), ("outputs", outputs), ("variants", variants)):
        if not names:
            form.problem(field_name, "at least one is needed")
        if len(set(names)) != len(names):
            form.problem(field_name, "two have the same name")
    if len({file.path for file in document.files}) != len(document.files):
        form.problem("files", "two files have the same path")
    if document.decision and document.decision not in outputs:
        form.problem("decision", f"no output is called {document.decision[:60]!r}")
    for at, state in enumerate(document.states):
        if state.input not in inputs or state.output not in outputs:
            form.problem(f"states[{at}]", "names a tensor that is not in the interface")
    for at, variant in enumerate(document.variants):
        if not set(variant.inputs) <= set(inputs):
            form.problem(f"variants[{at}].inputs", "names an input that is not in the interface")
        if not set(variant.outputs) <= set(outputs):
            form.problem(f"variants[{at}].outputs", "names an output that is not in the interface")
    check_training(document.training, document.variants, document.files, form)

"""A training step that comes with a variant: which files of the bundle are its parts.

What is in them is not looked at here. They are files of the bundle like any others: a reader that knows nothing of training
carries and verifies them, and the release covers them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from edgewise.bundle.fields import Form
from edgewise.bundle.strict_json import dump_json
from edgewise.digests import digest_of
from edgewise.records import dataclass

if TYPE_CHECKING:
    from edgewise.bundle.document import File, Variant

__all__ = [
    "GRAPH_TYPE",
    "INITIAL_TYPE",
    "PARTS",
    "SPEC_TYPE",
    "Part",
    "TrainingEntry",
    "check_training",
    "read_training",
]

SPEC_TYPE = "application/vnd.edgewise.training.spec.v1+json"
GRAPH_TYPE = "application/vnd.edgewise.training.graph.v1+onnx"
INITIAL_TYPE = "application/vnd.edgewise.training.initial.v1+safetensors"
_PROTOBUF = (2 << 30) - 1  # bytes of one message
_WORDS = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,256}")  # no control characters: they are printed
_MOST = 64  # one for each variant


@dataclass(frozen=True, slots=True)
class Part:
    """media_type: of the file. most: bytes that it may have. needed: whether every step has it."""

    media_type: str
    most: int
    needed: bool = True


#: Every part that a training step can have, by name.
PARTS: Mapping[str, Part] = {
    "spec.json": Part(SPEC_TYPE, 4 << 20),
    "step.onnx": Part(GRAPH_TYPE, _PROTOBUF),
    "forward.onnx": Part(GRAPH_TYPE, _PROTOBUF),
    "accumulate.onnx": Part(GRAPH_TYPE, _PROTOBUF, needed=False),
    "initial.safetensors": Part(INITIAL_TYPE, _PROTOBUF),
}


@dataclass(frozen=True, slots=True)
class TrainingEntry:
    """One training step of the document.

    variant: the one it trains; model: the digest of that variant's model file, from which the step was made. parts: name of a
    part -> path among the document's ``files``. loss, optimizer: what they are called, for people.
    """

    variant: str
    model: str
    parts: Mapping[str, str]
    loss: str = ""
    optimizer: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {**self.extra, "variant": self.variant, "model": self.model, "parts": dict(self.parts)}
        return value | {key: text for key, text in (("loss", self.loss), ("optimizer", self.optimizer)) if text}

    def files(self, listed: Iterable["File"]) -> "dict[str, File]":
        """Name of a part -> its file among the document's ``files``."""
        by_path = {file.path: file for file in listed}
        return {name: by_path[path] for name, path in self.parts.items()}

    def digest(self, listed: Iterable["File"]) -> str:
        """The digest over all parts: what weights that were learnt with the step are bound to."""
        return digest_of(dump_json({name: file.digest for name, file in self.files(listed).items()}))


def read_training(form: Form) -> tuple[TrainingEntry, ...]:
    """The field ``training`` of the document that is being read."""
    return tuple(form.items("training", _read_entry, limit=_MOST, optional=True))


def check_training(
    entries: Iterable[TrainingEntry], variants: "Iterable[Variant]", files: "Iterable[File]", form: Form
) -> None:
    """Note in ``form`` whatever an entry names that is not there, or is not what it has to be."""
    models = {variant.name: variant.digest for variant in variants if variant.files}
    by_path = {file.path: file for file in files}
    seen: set[str] = set()
    for at, entry in enumerate(entries):
        where = f"training[{at}]"
        if entry.variant not in models:
            form.problem(f"{where}.variant", f"no variant is called {entry.variant[:60]!r}")
        elif entry.model != models[entry.variant]:
            form.problem(f"{where}.model", f"is not the digest of the variant {entry.variant}")
        if entry.variant in seen:
            form.problem(f"{where}.variant", "a variant has two training steps")
        seen.add(entry.variant)
        _check_parts(entry, by_path, form, where)


def _check_parts(entry: TrainingEntry, by_path: "Mapping[str, File]", form: Form, where: str) -> None:
    for name in PARTS:
        if PARTS[name].needed and name not in entry.parts:
            form.problem(f"{where}.parts", f"{name} is missing")
    for name, path in entry.parts.items():
        part, file = PARTS.get(name), by_path.get(path)
        if part is None:
            form.problem(f"{where}.parts", f"{name[:60]!r} is no part of a training step")
        elif file is None:
            form.problem(f"{where}.parts", f"{name} is {path[:60]!r}, which is not among the files")
        elif file.media_type != part.media_type:
            form.problem(f"{where}.parts", f"{name} has the media type {file.media_type}, not {part.media_type}")
        elif not 1 <= file.size <= part.most:
            form.problem(f"{where}.parts", f"{name} has {file.size} bytes; 1 to {part.most} are read")


def _read_entry(form: Form) -> TrainingEntry:
    return TrainingEntry(
        variant=form.text("variant", pattern=_WORDS),
        model=form.digest("model"),
        parts=form.mapping("parts", limit=len(PARTS)),
        loss=form.text("loss", pattern=_WORDS, default=""),
        optimizer=form.text("optimizer", pattern=_WORDS, default=""),
        extra=form.rest(),
    )

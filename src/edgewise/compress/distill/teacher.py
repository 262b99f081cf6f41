"""Who teaches: any ONNX model, a TFLite model, or any function from samples to scores; and its answers, kept on disk.

A teacher takes raw samples, as the student's file does, and gives class scores before softmax. Answers that are probabilities are
taken for their logarithms: softmax of those gives them back, at any temperature.
"""

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from edgewise.compress.samples import Samples, feed_of
from edgewise.errors import DataError, ModelError
from edgewise.measure.npz import Array
from edgewise.runtime.engine import EngineSession, OpenOptions, find_engine
from edgewise.store.files import write_bytes

__all__ = ["CachedTeacher", "FunctionTeacher", "ModelTeacher", "as_scores"]

_AT_ONCE = 64
_SUM = 0.02  # how far a sum of probabilities may be from 1: an int8 softmax has steps of 1/256 for each class
_LEAST = 1e-6  # probabilities below it count as this
_LIMIT = 256 << 20  # bytes of cached answers in one folder


def as_scores(answers: Array) -> Array:
    """Class scores before softmax, float32, of scores or probabilities (N, classes, ...)."""
    scores = np.asarray(answers, np.float32)
    if scores.ndim > 1 and scores.size and scores.min() >= 0 and np.abs(scores.sum(axis=1) - 1).max() <= _SUM:
        return np.log(np.maximum(scores, np.float32(_LEAST)))
    return scores


@dataclass(frozen=True, slots=True)
class ModelTeacher:
    """A model as teacher. files: as an engine opens them, the model first. engine: "onnxruntime", "litert", "openvino".

    input, output: their names; the only ones where they are empty. raw: answers as they are, for other tasks than classes.
    takes, gives: scale and zero point where the file works on integers and samples or answers are real, scale * (value - zero).
    label: what it is called, for people.
    Raises ModelError where it cannot be opened, MissingExtraError where the engine is not installed.
    """

    files: Mapping[str, bytes] = field(repr=False)
    engine: str = "onnxruntime"
    input: str = ""
    output: str = ""
    raw: bool = False
    takes: tuple[float, int] | None = None
    gives: tuple[float, int] | None = None
    label: str = field(default="", compare=False)
    _session: EngineSession = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_session", find_engine(self.engine).open(self.files, OpenOptions(threads=1)))
        for kind, name, found in (
            ("input", self.input, self._session.inputs),
            ("output", self.output, self._session.outputs),
        ):
            if (name and name not in {one.name for one in found}) or (not name and len(found) != 1):
                names = ", ".join(one.name for one in found)
                raise ModelError(
                    f"the teacher's {kind} is {name or 'not said'}; it has {names}", remedy="Name one of them."
                )

    def __reduce__(self) -> tuple[Any, ...]:
        """A session is opened anew in the process that it arrives in."""
        own = self.files, self.engine, self.input, self.output, self.raw, self.takes, self.gives, self.label
        return ModelTeacher, own

    @classmethod
    def of(cls, model: ModelProto, samples: Samples) -> "ModelTeacher":
        """The teacher of a model that takes and decides what ``samples`` say."""
        raw = samples.task != "classification"
        return cls({"model.onnx": model.SerializeToString()}, input=samples.input, output=samples.output, raw=raw)

    @classmethod
    def open(cls, path: Path, *, input: str = "", output: str = "") -> "ModelTeacher":  # noqa: A002  (the model's word)
        """The teacher in a file: .tflite by LiteRT, all else by onnxruntime."""
        engine = "litert" if path.suffix == ".tflite" else "onnxruntime"
        return cls({path.name: path.read_bytes()}, engine, input, output)

    @property
    def digest(self) -> str:
        """Of what it answers with."""
        known = hashlib.sha256(repr((self.engine, self.input, self.output, self.raw, self.takes, self.gives)).encode())
        for data in self.files.values():
            known.update(hashlib.sha256(data).digest())
        return known.hexdigest()

    @property
    def name(self) -> str:
        """For the names of passes."""
        return f"{self.engine}-{self.digest[:8]}"

    def __call__(self, x: Array) -> Array:
        entering = self.input or self._session.inputs[0].name
        if missing := {one.name for one in self._session.inputs} - {*feed_of(x[:1], entering)}:
            raise DataError(f"the teacher takes {', '.join(sorted(missing))} too, of which there are no samples")
        leaving = self.output or self._session.outputs[0].name
        (taken,) = [one for one in self._session.inputs if one.name == entering]
        at_once = taken.shape[0] if taken.shape and isinstance(taken.shape[0], int) and taken.shape[0] > 0 else _AT_ONCE
        parts = []
        for at in range(0, len(x), at_once):
            piece = x[at : at + at_once]
            short = at_once - len(piece) if at_once != _AT_ONCE else 0
            if short:  # a fixed batch is filled up
                piece = np.concatenate([piece, np.repeat(piece[-1:], short, axis=0)])
            if self.takes is not None and piece.dtype.kind == "f":
                piece = _rounded(piece, self.takes, np.dtype(taken.dtype))
            answer = self._session.run(feed_of(piece, entering))[leaving].copy()
            if self.gives is not None and answer.dtype.kind in "iu":
                answer = (answer.astype(np.float32) - np.float32(self.gives[1])) * np.float32(self.gives[0])
            parts.append(answer[: len(answer) - short])
        answers = np.concatenate(parts)
        return answers if self.raw else as_scores(answers)


def _rounded(x: Array, form: tuple[float, int], dtype: np.dtype[Any]) -> Array:
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x / form[0]) + form[1], limits.min, limits.max).astype(dtype)


@dataclass(frozen=True, slots=True)
class FunctionTeacher:
    """Any function, or whatever asks an upstream endpoint, as teacher.

    ask: a batch (n, ...) -> scores or probabilities (n, classes). digest: what its answers are kept under; change it when the
    answers may have changed. at_once: samples in one question. raw: answers as they are, for other tasks than classes.
    """

    ask: Callable[[Array], Array] = field(compare=False)
    digest: str
    at_once: int = _AT_ONCE
    raw: bool = False

    @property
    def name(self) -> str:
        """For the names of passes."""
        return f"function-{self.digest[:8]}"

    def __call__(self, x: Array) -> Array:
        parts = [np.asarray(self.ask(x[at : at + self.at_once])) for at in range(0, len(x), self.at_once)]
        answers = np.concatenate(parts)
        if len(answers) != len(x):
            raise DataError(f"the teacher gave {len(answers)} answers to {len(x)} samples", rule="teacher-answers")
        return answers if self.raw else as_scores(answers)


@dataclass(frozen=True, slots=True)
class CachedTeacher:
    """A teacher that is asked once for each batch: its answers lie in ``folder``, by digest of the teacher and of the samples.

    Each file is renamed into place when it is complete, so a search that was killed asks again for one batch at most. limit:
    bytes in the folder; those used longest ago go first. What cannot be read is asked for again.
    """

    teacher: ModelTeacher | FunctionTeacher
    folder: Path
    limit: int = _LIMIT

    @property
    def digest(self) -> str:
        """The teacher's own."""
        return self.teacher.digest

    @property
    def name(self) -> str:
        """The teacher's own."""
        return self.teacher.name

    def lacking(self, x: Array) -> int:
        """How many samples of ``x`` the teacher would be asked about: those of batches of which no answer is kept."""
        batches = [np.ascontiguousarray(x[at : at + _AT_ONCE]) for at in range(0, len(x), _AT_ONCE)]
        return sum(len(batch) for batch in batches if _read(self._path(batch), len(batch)) is None)

    def __call__(self, x: Array) -> Array:
        return np.concatenate(
            [self._answers(np.ascontiguousarray(x[at : at + _AT_ONCE])) for at in range(0, len(x), _AT_ONCE)]
        )

    def _answers(self, x: Array) -> Array:
        path = self._path(x)
        kept = _read(path, len(x))
        if kept is not None:
            path.touch()
            return kept
        scores = self.teacher(x)
        buffer = io.BytesIO()
        np.save(buffer, scores, allow_pickle=False)
        write_bytes(path, buffer.getvalue())
        _bound(self.folder, self.limit, path)
        return scores

    def _path(self, x: Array) -> Path:
        key = hashlib.sha256(f"{self.digest} {x.dtype.str} {x.shape}".encode())
        key.update(x.tobytes())
        return self.folder / f"{key.hexdigest()}.npy"


def _read(path: Path, count: int) -> Array | None:
    try:
        scores: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return scores if scores.ndim and len(scores) == count else None


def _bound(folder: Path, limit: int, newest: Path) -> None:
    known = []
    for path in folder.glob("*.npy"):
        try:
            facts = path.stat()
        except FileNotFoundError:  # another process is tidying too
            continue
        known.append((facts.st_mtime_ns, facts.st_size, path))
    total = sum(size for _, size, _ in known)
    for _, size, path in sorted(known):
        if total <= limit:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size

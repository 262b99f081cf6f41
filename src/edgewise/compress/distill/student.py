"""Who learns: a given file, a narrower copy of the teacher, or a reference network of edgewise.

Every student takes what the teacher's file takes and gives what it gives, by the same names. Preprocessing in front of the
teacher stays in front of the student, where it is one that learns on what comes out of it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import onnx
from onnx import ModelProto

from edgewise.compress.cutting import cut
from edgewise.compress.distill.narrowing import narrowed
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.walk import DTYPES, graphs
from edgewise.graph.writer import Writer
from edgewise.networks.fitting import fit_config
from edgewise.networks.registry import build

__all__ = ["Given", "Reference", "Slimmed", "Student"]


class Student(Protocol):
    """One way to come by a student. Implementations are frozen dataclasses."""

    @property
    def name(self) -> str:
        """Short, with every setting that matters."""
        ...

    def build(self, teacher: ModelProto, samples: Samples) -> ModelProto:
        """A student, untaught, with the inputs and outputs of ``teacher``. Raises UnsupportedError where it cannot have them."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """A student in a file, or bytes of one: whatever ONNX model, trained or not."""

    model: bytes = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> "Given":
        """The student in the file ``path``."""
        return cls(path.read_bytes())

    @property
    def name(self) -> str:
        return f"given-{hashlib.sha256(self.model).hexdigest()[:8]}"

    def build(self, teacher: ModelProto, samples: Samples) -> ModelProto:  # noqa: ARG002  (the protocol)
        """Raises UnsupportedError where its input or output is of another type or shape than the teacher's."""
        model = onnx.load_model_from_string(self.model)
        return _with_names(model, teacher)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slimmed:
    """The teacher with every hidden width times ``share``; its layers stay. weights: "sliced" from the teacher's, or "random".

    multiple: widths are whole multiples of it where they are larger: what processors work through at once.
    """

    share: float = 0.5
    weights: str = "sliced"
    multiple: int = 4
    seed: int = 0

    @property
    def name(self) -> str:
        return f"slim-{self.share:g}-{self.weights}" + (f"-x{self.multiple}" if self.multiple != 4 else "")

    def build(self, teacher: ModelProto, samples: Samples) -> ModelProto:  # noqa: ARG002  (the protocol)
        """Raises UnsupportedError where no width is hidden, or every one is held by an operator that fixes it."""
        parts = cut(teacher)
        seed = None if self.weights == "sliced" else self.seed
        return parts.whole(narrowed(parts.core, self.share, multiple=self.multiple, random=seed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference network (``edgewise.networks``), fitted to what the teacher's learning part takes.

    settings: of its config, as `edgewise train --set` takes them.
    """

    network: str
    settings: tuple[tuple[str, object], ...] = ()
    seed: int = 0

    @property
    def name(self) -> str:
        return self.network + "".join(f"-{key}={value}" for key, value in self.settings)

    def build(self, teacher: ModelProto, samples: Samples) -> ModelProto:
        """Raises UnsupportedError where the network has other outputs, InputError where it does not take such samples."""
        parts = cut(teacher)
        (entering, *others) = parts.core.graph.input
        if others:
            raise UnsupportedError(f"reference networks take one input, and the teacher {1 + len(others)}")
        shape, dtype = _form(entering)
        fixed = tuple(dim for dim in shape[1:] if isinstance(dim, int))
        if len(fixed) != len(shape) - 1:  # what varies in the graph is as long as the samples are
            if parts.front is not None:
                raise UnsupportedError("the preprocessing leaves the shape open; a reference network needs it fixed")
            fixed = samples.data.x.shape[1:]
        classes = _form(next(v for v in teacher.graph.output if v.name == samples.output))[0][-1]
        config = fit_config(
            self.network, fixed, dtype, classes=classes if isinstance(classes, int) else 0, settings=dict(self.settings)
        )
        return parts.whole(_with_names(build(self.network, config, self.seed), parts.core))


def _form(value: onnx.ValueInfoProto) -> tuple[tuple[int | str, ...], str]:
    tensor = value.type.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)
    return dims, DTYPES[tensor.elem_type]


def _with_names(student: ModelProto, teacher: ModelProto) -> ModelProto:
    """``student`` with the teacher's names; behind its scores Softmax, where the teacher gives probabilities."""
    for kind, own, other in (
        ("input", student.graph.input, teacher.graph.input), ("output", student.graph.output, teacher.graph.output),
    ):  # fmt: skip
        if len(own) != 1 or len(other) != 1:
            raise UnsupportedError(f"teacher and student need one {kind} each, not {len(other)} and {len(own)}")
        (ours, our_type), (theirs, their_type) = _form(own[0]), _form(other[0])
        pairs = zip(ours[1:], theirs[1:], strict=False)
        apart = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
        if our_type != their_type or len(ours) != len(theirs) or apart:
            raise UnsupportedError(
                f"the student's {kind} is {our_type} {ours}, the teacher's {their_type} {theirs}",
                remedy="Take a student of the teacher's form.",
            )
    entering, leaving = teacher.graph.input[0], teacher.graph.output[0]
    named = _renamed(student, student.graph.input[0].name, entering.name)
    if _ends_in_softmax(teacher) and not _ends_in_softmax(named):
        writer = Writer(named)
        scores = writer.graph.output[0].name
        odds = writer.node("Softmax", scores, axis=-1)
        writer.graph.output[0].name = odds
        named = writer.model
    named = _renamed(named, named.graph.output[0].name, leaving.name)
    del named.graph.input[:], named.graph.output[:], named.graph.value_info[:]
    named.graph.input.append(entering)
    named.graph.output.append(leaving)
    return named


def _ends_in_softmax(model: ModelProto) -> bool:
    made: Mapping[str, onnx.NodeProto] = {name: node for node in model.graph.node for name in node.output}
    node = made.get(model.graph.output[0].name)
    while node is not None and node.op_type == "Identity":
        node = made.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def _renamed(model: ModelProto, old: str, new: str) -> ModelProto:
    """A copy in which ``old`` is called ``new``, and what was called ``new`` something else."""
    changed = ModelProto()
    changed.CopyFrom(model)
    if old == new:
        return changed
    names = {old: new}
    if any(new in (*node.input, *node.output) for part in graphs(changed.graph) for node in part.node):
        names[new] = f"{new}/inner"
    for part in graphs(changed.graph):
        for value in (*part.input, *part.output, *part.initializer, *part.value_info):
            value.name = names.get(value.name, value.name)
        for node in part.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
    return changed

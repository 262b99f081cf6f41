"""What a training step takes and gives: the description beside its graphs, strict both ways."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgewise.bundle.fields import Form
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.bundle.tensors import IDENTIFIER
from edgewise.errors import DocumentError

__all__ = ["BUFFER", "OPTIMIZER", "PARAMETER", "MemoryEstimate", "ScalarSpec", "StateSpec", "StepSpec", "ValueSpec"]

#: What a state is: a trained weight; what the optimiser remembers; what the model keeps without training it (running averages).
PARAMETER, OPTIMIZER, BUFFER = "parameter", "optimizer", "buffer"
_ROLES = (PARAMETER, OPTIMIZER, BUFFER)
_DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
)  # fmt: skip
_SCALARS = ("float16", "float32", "float64", "int32", "int64")
_KIND = "training step"
_VERSION = 1
_MOST = 16_384  # entries of one list; a network of a thousand layers has some 6,000 states
_MAX_RANK = 16
_MAX_ACCUMULATES = 65_536


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """One tensor that goes in or comes out. shape: a number for each dimension, or a name for one that varies.

    below: for integers that count something (class labels, rows of an embedding), the first value that is too large; such
    values then lie in 0..below-1. None where any value may come.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    below: int | None = None

    def __str__(self) -> str:
        limit = "" if self.below is None else f" in 0..{self.below - 1}"
        return f"{self.name}: {self.dtype} ({', '.join(map(str, self.shape))}){limit}"


@dataclass(frozen=True, slots=True)
class StateSpec:
    """A tensor that a step changes: what the output ``output`` gives is the input ``input`` of the next step.

    role: "parameter", "optimizer" or "buffer". of: the model's initializer that it belongs to, or "".
    """

    input: str
    output: str
    dtype: str
    shape: tuple[int, ...]
    role: str
    of: str = ""


@dataclass(frozen=True, slots=True)
class ScalarSpec:
    """An input of shape (): ``learning_rate``, ``weight_decay``, ``max_norm``, ``seed``; ``default`` where none is given."""

    name: str
    dtype: str
    default: float


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak bytes of a step with a batch of n samples: ``fixed + n * per_sample``. Fixed counts weights, states and graphs."""

    fixed: int
    per_sample: int

    def peak(self, samples: int) -> int:
        """Bytes at the peak of a step over ``samples`` samples."""
        return self.fixed + samples * self.per_sample


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """Everything that a runner must know about the graphs of a training step; validated when built.

    inputs, targets: the tensors of a batch. scalars: numbers of a step. states: what it changes. loss, grad_norm: names of
    scalar outputs (the mean over the batch; the global L2 norm before clipping). outputs: the model's own outputs as the
    step graph computed them. forward_outputs: those of the inference graph. accumulates: batches per update, 1 for every
    batch. memory: None where nobody estimated it. Raises DocumentError with every fault at once.
    """

    inputs: tuple[ValueSpec, ...]
    states: tuple[StateSpec, ...]
    loss: str
    grad_norm: str
    targets: tuple[ValueSpec, ...] = ()
    scalars: tuple[ScalarSpec, ...] = ()
    outputs: tuple[ValueSpec, ...] = ()
    forward_outputs: tuple[ValueSpec, ...] = ()
    accumulates: int = 1
    memory: MemoryEstimate | None = None
    version: int = _VERSION

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise DocumentError(_KIND, problems)

    @property
    def batch(self) -> tuple[ValueSpec, ...]:
        """Inputs, then targets."""
        return (*self.inputs, *self.targets)

    def of_role(self, *roles: str) -> tuple[StateSpec, ...]:
        """The states that have one of these roles."""
        return tuple(state for state in self.states if state.role in roles)

    def to_json(self) -> bytes:
        """Canonical bytes; ``from_json`` is the inverse."""
        memory = None if self.memory is None else {"fixed": self.memory.fixed, "perSample": self.memory.per_sample}
        value = {
            "version": self.version, "inputs": [*map(_value_json, self.inputs)], "loss": self.loss,
            "targets": [*map(_value_json, self.targets)], "gradNorm": self.grad_norm,
            "scalars": [{"name": s.name, "dtype": s.dtype, "default": s.default} for s in self.scalars],
            "states": [*map(_state_json, self.states)], "outputs": [*map(_value_json, self.outputs)],
            "forwardOutputs": [*map(_value_json, self.forward_outputs)], "accumulates": self.accumulates,
        }  # fmt: skip
        return dump_json(value if memory is None else {**value, "memory": memory})

    @classmethod
    def from_json(cls, data: bytes) -> "StepSpec":
        """What ``to_json`` wrote. Raises HostileBundleError for what is not bounded, plain JSON, DocumentError for other forms."""
        form = Form(parse_object(data, "the description of a training step"), _KIND)
        version = form.integer("version", low=1)
        if version != _VERSION:
            form.problem("version", f"{version} is not known here; {_VERSION} is")
            form.finish()
        fields: dict[str, Any] = {
            "inputs": _values(form, "inputs"), "targets": _values(form, "targets"),
            "scalars": tuple(form.items("scalars", _read_scalar, limit=_MOST)),
            "states": tuple(form.items("states", _read_state, limit=_MOST)),
            "loss": form.text("loss", pattern=IDENTIFIER), "grad_norm": form.text("gradNorm", pattern=IDENTIFIER),
            "outputs": _values(form, "outputs"), "forward_outputs": _values(form, "forwardOutputs"),
            "accumulates": form.integer("accumulates", low=1, high=_MAX_ACCUMULATES),
            "memory": form.child("memory", _read_memory), "version": version,
        }  # fmt: skip
        _nothing_else(form)
        form.finish()
        return cls(**fields)


def _value_json(value: ValueSpec) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": value.name, "dtype": value.dtype, "shape": list(value.shape)}
    return plain if value.below is None else {**plain, "below": value.below}


def _state_json(state: StateSpec) -> dict[str, Any]:
    return {
        "input": state.input, "output": state.output, "dtype": state.dtype, "shape": list(state.shape), "role": state.role,
        "of": state.of,
    }  # fmt: skip


def _values(form: Form, field: str) -> tuple[ValueSpec, ...]:
    return tuple(form.items(field, _read_value, limit=_MOST))


def _read_value(form: Form) -> ValueSpec:
    name, dtype = form.text("name", pattern=IDENTIFIER), form.text("dtype", one_of=_DTYPES)
    shape = form.values("shape", _is_dimension, "a number or a name", limit=_MAX_RANK)
    below = form.integer("below", low=1, default=0)
    _nothing_else(form)
    return ValueSpec(name, dtype, tuple(shape), below or None)


def _read_state(form: Form) -> StateSpec:
    name, output = form.text("input", pattern=IDENTIFIER), form.text("output", pattern=IDENTIFIER)
    dtype, role = form.text("dtype", one_of=_DTYPES), form.text("role", one_of=_ROLES)
    shape = form.values("shape", _is_number, "a number", limit=_MAX_RANK)
    of = form.text("of", default="")
    _nothing_else(form)
    return StateSpec(name, output, dtype, tuple(shape), role, of)


def _read_scalar(form: Form) -> ScalarSpec:
    name, dtype = form.text("name", pattern=IDENTIFIER), form.text("dtype", one_of=_SCALARS)
    default = form.number("default")
    _nothing_else(form)
    return ScalarSpec(name, dtype, default)


def _read_memory(form: Form) -> MemoryEstimate:
    found = MemoryEstimate(form.integer("fixed"), form.integer("perSample"))
    _nothing_else(form)
    return found


def _nothing_else(form: Form) -> None:
    for name in form.rest():
        form.problem(name[:60], "is not a field of version 1")


def _problems(spec: StepSpec) -> list[str]:
    problems: list[str] = []
    if not spec.inputs:
        problems.append("inputs: at least one is needed")
    if not any(state.role == PARAMETER for state in spec.states):
        problems.append("states: at least one parameter is needed")
    if not 1 <= spec.accumulates <= _MAX_ACCUMULATES:
        problems.append(f"accumulates: {spec.accumulates} is outside 1..{_MAX_ACCUMULATES}")
    if spec.memory is not None and min(spec.memory.fixed, spec.memory.per_sample) < 0:
        problems.append("memory: bytes are not negative")
    for field in ("inputs", "targets", "outputs", "forward_outputs"):
        for at, value in enumerate(getattr(spec, field)):
            problems += _value_problems(value, f"{field}[{at}]")
    for at, state in enumerate(spec.states):
        problems += _state_problems(state, f"states[{at}]")
    for at, scalar in enumerate(spec.scalars):
        if scalar.dtype not in _SCALARS or not math.isfinite(scalar.default):
            problems.append(f"scalars[{at}]: {scalar.name} needs one of {', '.join(_SCALARS)} and a finite default")
    states = [(state.input, state.output) for state in spec.states]
    taken = [value.name for value in spec.batch] + [s.name for s in spec.scalars] + [name for name, _ in states]
    given = [spec.loss, spec.grad_norm, *(value.name for value in spec.outputs)] + [name for _, name in states]
    problems += [f"inputs: {name!r} is there twice" for name in _twice(taken)]
    problems += [f"outputs: {name!r} is there twice" for name in _twice(given)]
    problems += [f"forward_outputs: {name!r} is there twice" for name in _twice(v.name for v in spec.forward_outputs)]
    bad = [name for name in dict.fromkeys((*taken, *given)) if not IDENTIFIER.fullmatch(name)]
    return problems + [f"names: {name[:60]!r} is not a name of 1 to 256 printable characters" for name in bad]


def _value_problems(value: ValueSpec, path: str) -> list[str]:
    problems = []
    if value.dtype not in _DTYPES:
        problems.append(f"{path}: {value.dtype!r} is not an element type")
    if len(value.shape) > _MAX_RANK or not all(map(_is_dimension, value.shape)):
        problems.append(f"{path}: {value.shape} is not a shape")
    if value.below is not None and (value.below < 1 or not value.dtype.startswith(("int", "uint"))):
        problems.append(f"{path}: below is for integers, and at least 1")
    return problems


def _state_problems(state: StateSpec, path: str) -> list[str]:
    problems = []
    if state.dtype not in _DTYPES:
        problems.append(f"{path}: {state.dtype!r} is not an element type")
    if len(state.shape) > _MAX_RANK or not all(map(_is_number, state.shape)):
        problems.append(f"{path}: {state.shape} is not a fixed shape")
    if state.role not in _ROLES:
        problems.append(f"{path}: {state.role!r} is not one of {', '.join(_ROLES)}")
    return problems


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_dimension(value: Any) -> bool:
    return IDENTIFIER.fullmatch(value) is not None if isinstance(value, str) else _is_number(value)

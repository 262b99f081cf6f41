"""Optimisers, written into the step graph.

Small parameters are updated together, as one long vector: a network has some hundred of them, and a node costs about a
microsecond however little it does. The parameters themselves stay apart, each a state of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Protocol

from onnx import TensorProto

from edgewise.errors import InputError
from edgewise.graph.writer import Writer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "Slot", "Update"]

_TOGETHER = (
    1 << 16
)  # elements: longer parameters are updated by themselves, where the copies would cost more than the nodes


@dataclass(frozen=True, slots=True)
class Slot:
    """One vector of an optimiser's memory. input, output: names in the step graph. shape: its shape; it starts as zeros."""

    input: str
    output: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """What an optimiser wrote. parameters: parameter -> name of its new value. slots: its memory, in and out."""

    parameters: Mapping[str, str]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class _Bucket:
    """Parameters that are updated together. value, gradient: as one tensor of ``shape``."""

    name: str
    members: tuple[str, ...]
    value: str
    gradient: str
    dtype: str
    shape: tuple[int, ...]
    decays: bool


class Optimizer(Protocol):
    """Writes the update of parameters by their gradients. ``rate`` and ``decay`` are scalars of the graph."""

    @property
    def rate(self) -> float:
        """Learning rate that a step starts with, where no schedule gives another."""

    @property
    def decay(self) -> float:
        """Weight decay."""

    def write(self, w: Writer, gradients: Mapping[str, str], scale: str, rate: str, decay: str) -> Update:
        """gradients: parameter -> gradient. scale: a scalar that every gradient is to be multiplied with (clipping)."""


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent with momentum, as torch.optim.SGD: b = m b + g, p = p - rate b (dampening 0).

    decay: added to the gradient (L2). decay_vectors: False leaves biases and scales (rank 1 and below) out of it.
    Raises InputError for a momentum outside 0..1 or a negative rate or decay.
    """

    rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    decay: float = 0.0
    decay_vectors: bool = True

    def __post_init__(self) -> None:
        _check(self.rate, self.decay, {"momentum": self.momentum})

    def write(self, w: Writer, gradients: Mapping[str, str], scale: str, rate: str, decay: str) -> Update:
        """See Optimizer."""
        book = _Book(w, gradients, decay_vectors=self.decay_vectors)
        for bucket in book.buckets:
            factor, pace, shrink = (book.typed(bucket, name) for name in (scale, rate, decay))
            gradient = w.node("Mul", bucket.gradient, factor)
            if bucket.decays:
                gradient = w.node("Add", gradient, w.node("Mul", bucket.value, shrink))
            step = gradient
            if self.momentum:
                old = book.slot("momentum", bucket)
                step = w.node("Add", w.node("Mul", old, w.constant(self.momentum, bucket.dtype)), gradient)
                book.keep(step)
                if self.nesterov:
                    step = w.node("Add", gradient, w.node("Mul", step, w.constant(self.momentum, bucket.dtype)))
            book.replace(bucket, w.node("Sub", bucket.value, w.node("Mul", step, pace)))
        return book.update()


@dataclass(frozen=True, slots=True)
class Adam:
    """Kingma & Ba 2015, as torch.optim.Adam. decay: added to the gradient (L2); see AdamW for the decoupled one.

    Raises InputError for a beta outside 0..1 or a negative rate, decay or epsilon.
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    decay: float = 0.0
    decay_vectors: bool = True
    decoupled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        _check(self.rate, self.decay, {"beta1": self.beta1, "beta2": self.beta2}, self.epsilon)

    def write(self, w: Writer, gradients: Mapping[str, str], scale: str, rate: str, decay: str) -> Update:
        """See Optimizer."""
        return _adam(w, gradients, scale, rate, decay, self)


@dataclass(frozen=True, slots=True)
class AdamW:
    """Loshchilov & Hutter 2019, as torch.optim.AdamW: the decay shrinks the parameter itself, by rate * decay.

    decay_vectors: True decays biases and scales too (as torch does); False leaves them out. Raises InputError as Adam.
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    decay: float = 0.01
    decay_vectors: bool = True
    decoupled: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        _check(self.rate, self.decay, {"beta1": self.beta1, "beta2": self.beta2}, self.epsilon)

    def write(self, w: Writer, gradients: Mapping[str, str], scale: str, rate: str, decay: str) -> Update:
        """See Optimizer."""
        return _adam(w, gradients, scale, rate, decay, self)


def _adam(w: Writer, gradients: Mapping[str, str], scale: str, rate: str, decay: str, o: Adam | AdamW) -> Update:
    book = _Book(w, gradients, decay_vectors=o.decay_vectors)
    count = w.node("Add", book.scalar("steps"), w.constant(1.0))
    book.keep(count)
    kept1 = _remaining(w, o.beta1, count)
    kept2 = w.node("Sqrt", _remaining(w, o.beta2, count))
    # p - rate m/kept1 / (sqrt(v)/kept2 + eps)  =  p - (rate kept2/kept1) m / (sqrt(v) + eps kept2): two passes fewer.
    pace = w.node("Div", w.node("Mul", rate, kept2), kept1)
    floor = w.node("Mul", w.constant(o.epsilon), kept2)
    for bucket in book.buckets:
        kind = bucket.dtype
        value, gradient, factor = bucket.value, bucket.gradient, book.typed(bucket, scale)
        if bucket.decays and not o.decoupled:
            gradient = w.node("Add", w.node("Mul", gradient, factor), w.node("Mul", value, book.typed(bucket, decay)))
            factor = w.constant(1.0, kind)
        fresh1 = w.node("Mul", factor, w.constant(1 - o.beta1, kind))
        fresh2 = w.node("Mul", w.node("Mul", factor, factor), w.constant(1 - o.beta2, kind))
        old_m, old_v = book.slot("adam_m", bucket), book.slot("adam_v", bucket)
        m = w.node("Add", w.node("Mul", old_m, w.constant(o.beta1, kind)), w.node("Mul", gradient, fresh1))
        square = w.node("Mul", w.node("Mul", gradient, fresh2), gradient)
        v = w.node("Add", w.node("Mul", old_v, w.constant(o.beta2, kind)), square)
        book.keep(m, at=-2)
        book.keep(v, at=-1)
        if bucket.decays and o.decoupled:
            kept = w.node("Sub", w.constant(1.0), w.node("Mul", rate, decay))
            value = w.node("Mul", value, book.typed(bucket, kept))
        ratio = w.node("Div", m, w.node("Add", w.node("Sqrt", v), book.typed(bucket, floor)))
        book.replace(bucket, w.node("Sub", value, w.node("Mul", ratio, book.typed(bucket, pace))))
    return book.update()


def _remaining(w: Writer, beta: float, count: str) -> str:
    """1 - beta^count, in float64: of 1 - 0.999 float32 keeps four digits."""
    power = w.node("Pow", w.constant(beta, "float64"), w.node("Cast", count, to=TensorProto.DOUBLE))
    return w.node("Cast", w.node("Sub", w.constant(1.0, "float64"), power), to=TensorProto.FLOAT)


class _Book:
    """Buckets, and what has been written for them."""

    def __init__(self, w: Writer, gradients: Mapping[str, str], *, decay_vectors: bool) -> None:
        self.w = w
        self.buckets = _buckets(w, gradients, decay_vectors=decay_vectors)
        self._new: dict[str, str] = {}
        self._slots: list[tuple[str, str, tuple[int, ...]]] = []
        self._kept: dict[str, str] = {}

    def typed(self, bucket: _Bucket, scalar: str) -> str:
        """A scalar of the step, which is float32, in the dtype of the parameters."""
        return scalar if bucket.dtype == "float32" else self.w.node("CastLike", scalar, bucket.value)

    def slot(self, kind: str, bucket: _Bucket) -> str:
        name = self.w.input(f"{kind}/{bucket.name}", bucket.dtype, bucket.shape)
        self._slots.append((name, bucket.dtype, bucket.shape))
        return name

    def scalar(self, name: str) -> str:
        name = self.w.input(f"optimizer/{name}", "float32", ())
        self._slots.append((name, "float32", ()))
        return name

    def keep(self, value: str, at: int = -1) -> None:
        self._kept[self._slots[at][0]] = value

    def replace(self, bucket: _Bucket, value: str) -> None:
        if len(bucket.members) == 1:
            self._new[bucket.members[0]] = value
            return
        shapes = [_static(self.w, name) for name in bucket.members]
        parts = self.w.split("Split", len(shapes), value, self.w.ints(*(prod(s) for s in shapes)), axis=0)
        for name, part, shape in zip(bucket.members, parts, shapes, strict=True):
            self._new[name] = self.w.node("Reshape", part, self.w.ints(*shape))

    def update(self) -> Update:
        slots = []
        for name, dtype, shape in self._slots:
            output = self.w.output(f"next/{name}", self._kept[name], dtype, shape)
            slots.append(Slot(name, output, dtype, shape))
        return Update(self._new, tuple(slots))


def _buckets(w: Writer, gradients: Mapping[str, str], *, decay_vectors: bool) -> list[_Bucket]:
    grouped: dict[tuple[str, bool], list[str]] = {}
    alone: list[str] = []
    for name in gradients:
        shape = _static(w, name)
        decays = decay_vectors or len(shape) > 1
        if prod(shape) > _TOGETHER:
            alone.append(name)
        else:
            grouped.setdefault((w.dtype(name), decays), []).append(name)
    buckets = []
    for (dtype, decays), members in grouped.items():
        if len(members) == 1:
            alone.append(members[0])
            continue
        value = _joined(w, members)
        gradient = _joined(w, [gradients[name] for name in members])
        total = sum(prod(_static(w, name)) for name in members)
        label = f"together_{dtype}" + ("" if decays else "_vectors")
        buckets.append(_Bucket(label, tuple(members), value, gradient, dtype, (total,), decays))
    for name in alone:
        shape = _static(w, name)
        own = _Bucket(name, (name,), name, gradients[name], w.dtype(name), shape, decay_vectors or len(shape) > 1)
        buckets.append(own)
    return buckets


def _joined(w: Writer, names: Sequence[str]) -> str:
    return w.node("Concat", *(w.node("Reshape", name, w.ints(-1)) for name in names), axis=0)


def _static(w: Writer, name: str) -> tuple[int, ...]:
    shape = w.shape(name)
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        raise InputError(f"the parameter {name} has no fixed shape: {shape}")
    return tuple(int(dim) for dim in shape)  # type: ignore[arg-type]


def _check(rate: float, decay: float, shares: Mapping[str, float], epsilon: float = 0.0) -> None:
    if not (rate >= 0 and decay >= 0):
        raise InputError(f"a learning rate of {rate} and a weight decay of {decay}: both have to be 0 or more")
    if not epsilon >= 0:
        raise InputError(f"epsilon is {epsilon}; it has to be 0 or more")
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise InputError(f"{name} is {value}; it has to be at least 0 and below 1")

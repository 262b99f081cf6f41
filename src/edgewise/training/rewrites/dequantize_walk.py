"""What is known of a quantized graph's integers while it is rewritten in floating point.

Each integer tensor that stands for real numbers, (q - zero) * scale, gets a floating-point twin. Rounding is left out; the
limits of the integers are not: exporters drop a Relu where the integers cannot be negative anyway, so a Clip stays.
"""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto

from edgewise.graph.writer import Writer
from edgewise.training.rewrites.fake_quant import Quantizer, write_quantizer
from edgewise.training.rewrites.opening import node_name

__all__ = ["Array", "Integers", "Products", "Twin", "Unfit", "Walk"]

Array = npt.NDArray[Any]


class Unfit(Exception):  # noqa: N818
    """Why a node has no exact floating-point form; the walk collects these. Never leaves the package."""


@dataclass(frozen=True, slots=True)
class Integers:
    """How integers stand for numbers: scale and zero point, single or one for each entry of ``axis``."""

    scale: Array
    zero: Array
    axis: int = 1

    def same(self, other: "Integers") -> bool:
        """True where both read the same integers as the same numbers."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.zero, other.zero)

    def real(self, stored: Array) -> Array:
        """The numbers that ``stored`` integers stand for."""
        scale, zero = self._columns(stored.ndim)
        return ((stored.astype(np.int64) - zero).astype(scale.dtype) * scale).astype(scale.dtype)

    def whole(self, numbers: Array) -> Array:
        """The integers that stand for ``numbers``, as QuantizeLinear makes them."""
        scale, zero = self._columns(numbers.ndim)
        bounds = np.iinfo(self.zero.dtype)
        return np.clip(np.round(numbers / scale) + zero, bounds.min, bounds.max).astype(self.zero.dtype)

    def _columns(self, rank: int) -> tuple[Array, Array]:
        shape = [1] * rank
        if self.scale.size > 1:
            shape[self.axis % rank] = -1
        zero = np.broadcast_to(self.zero.astype(np.int64).reshape(-1), self.scale.size)
        return self.scale.reshape(shape), zero.reshape(shape)


@dataclass(frozen=True, slots=True)
class Twin:
    """The floating-point value that stands for an integer tensor."""

    value: str
    integers: Integers


@dataclass(frozen=True, slots=True)
class Products:
    """Sums of integer products: what ``node`` gives over ``weight`` and the floating-point ``value``, divided by ``scale``."""

    node: NodeProto
    value: str
    weight: Array
    scale: str


@dataclass(slots=True)
class Walk:
    """State of one rewriting. twins: integer tensor -> its twin. dynamic: integers of DynamicQuantizeLinear -> (x, scale)."""

    w: Writer
    rounding: bool
    twins: dict[str, Twin] = field(default_factory=dict)
    dynamic: dict[str, tuple[str, str]] = field(default_factory=dict)
    products: dict[str, Products] = field(default_factory=dict)
    factors: dict[str, tuple[str, Array]] = field(default_factory=dict)
    quantizers: list[Quantizer] = field(default_factory=list)
    weights: dict[tuple[str, bytes, bytes], str] = field(default_factory=dict)

    def known(self, node: NodeProto, scale: int, zero: int, axis: int = 1) -> Integers:
        """Scale and zero point at these inputs. Raises Unfit where they are computed."""
        names = [node.input[at] if at < len(node.input) else "" for at in (scale, zero)]
        found = [self.w.array(name) if name else None for name in names]
        if found[0] is None or (names[1] and found[1] is None):
            raise Unfit("its scale or zero point is computed")
        return Integers(found[0], np.zeros((), np.uint8) if found[1] is None else found[1], axis)

    def real(self, name: str, integers: Integers) -> str:
        """The floating-point value for an integer tensor, read with these scales. Raises Unfit where it was made with others."""
        stored = self.w.array(name)
        if stored is not None:
            key = (name, integers.scale.tobytes(), integers.zero.tobytes())
            if key not in self.weights:  # a weight that is shared stays shared
                self.weights[key] = self.w.store(self.w.fresh(f"{name}/real"), integers.real(stored))
            return self.weights[key]
        twin = self.twins.get(name)
        if twin is None:
            if name in self.dynamic or name in self.products:
                raise Unfit(f"{name!r} was quantized with a scale found at run time")
            scale = self.w.store(self.w.fresh(f"{name}/scale"), integers.scale)
            zero = self.w.store(self.w.fresh(f"{name}/zero_point"), integers.zero)
            real = self.w.node("DequantizeLinear", name, scale, zero, axis=integers.axis)
            return self.w.declare(real, integers.scale.dtype.name, self.w.shape(name))
        if not twin.integers.same(integers):
            raise Unfit(f"{name!r} is read with another scale or zero point than it was made with")
        return twin.value

    def give(self, output: str, value: str, integers: Integers) -> None:
        """Make ``value``, held to what the integers can hold, the twin of ``output``."""
        self.twins[output] = Twin(self.held(value, integers, output), integers)

    def held(self, value: str, integers: Integers, like: str = "") -> str:
        """``value`` inside the limits of the integers; rounded as well, with a learnt step, where that was asked for."""
        if integers.scale.size > 1:
            raise Unfit("its activations have a scale for each channel")
        dtype, zero = integers.scale.dtype.name, int(integers.zero.reshape(-1)[0])
        shape = self.w.shape(value) or self.w.shape(like)
        self.w.declare(value, dtype, shape)
        step = float(integers.scale.reshape(-1)[0])
        kind = integers.zero.dtype.name
        if self.rounding:
            if kind not in {"int8", "uint8"}:
                raise Unfit(f"{kind} activations cannot be rounded with a learnt step")
            scale = self.w.store(self.w.fresh(f"{like}/scale"), np.asarray(step, dtype))
            quantizer = Quantizer(value, self.w.fresh(f"{like}/rounded"), scale, kind, zero, None)
            write_quantizer(self.w, quantizer, max(1, prod(d for d in (shape or ())[1:] if isinstance(d, int))))
            self.quantizers.append(quantizer)
            return quantizer.output
        low, high = (bound - zero for bound in _bounds(kind))
        limits = (self.w.constant(low * step, dtype), self.w.constant(high * step, dtype))
        return self.w.declare(self.w.node("Clip", value, *limits), dtype, shape)

    def reads_integers(self, node: NodeProto) -> bool:
        """True where an input of ``node`` is an integer tensor that has a twin, or comes from run-time quantization."""
        return any(name in self.twins or name in self.dynamic or name in self.products for name in node.input)

    def describe(self, node: NodeProto, reason: str) -> dict[str, str]:
        """One entry of a refusal."""
        return {"operator": node.op_type, "node": node_name(node), "reason": reason}


def _bounds(kind: str) -> tuple[int, int]:
    limits = np.iinfo(kind)
    return int(limits.min), int(limits.max)

"""One operator call on the tape, as a rule sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from edgewise.graph.writer import Dims, Writer

__all__ = ["Call", "Gradients", "NoGradient", "Tape"]


class NoGradient(LookupError):  # noqa: N818  (an answer between rules, not an error that anyone sees)
    """This node is refused: no rule of ours fits, and the general one would be wrong. The text is the reason."""


class Tape:
    """What the reverse walk knows besides the graph. Final.

    wanted: values whose gradient is needed. saved: first output of a node -> what its lowering kept for the rule.
    partial: gradients that still have to be broadcast to the shape of their value (a mean's, a sum's): most rules get them
    expanded, those that broadcast by themselves get them as they are. block: channels of a block, where the layout is blocked.
    frugal: memory counts more than time.
    """

    def __init__(self, block: int = 0, *, frugal: bool = False) -> None:
        self.block = block
        self.frugal = frugal
        self.wanted: set[str] = set()
        self.saved: dict[str, dict[str, str]] = {}
        self.partial: set[str] = set()


class Call:
    """A node with its inputs, attributes and shapes. Final.

    ``w`` is where a rule writes its gradient nodes; ``x(i)`` and ``y(i)`` name inputs and outputs, "" where one is left out.
    """

    def __init__(self, node: NodeProto, writer: Writer, tape: Tape) -> None:
        self.node = node
        self.w = writer
        self.tape = tape
        #: "first" or "others" where a rule is asked for the gradient of its first input, or of all but that.
        self.only: str | None = None
        self._attributes: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def x(self, at: int) -> str:
        """Name of input ``at``; "" where it is left out."""
        return self.node.input[at] if at < len(self.node.input) else ""

    def y(self, at: int = 0) -> str:
        """Name of output ``at``; "" where it is left out."""
        return self.node.output[at] if at < len(self.node.output) else ""

    def wants(self, at: int) -> bool:
        """True where the gradient of input ``at`` is needed."""
        return self.x(at) in self.tape.wanted and (self.only is None or (at == 0) == (self.only == "first"))

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, decoded; ``default`` where it is not set."""
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def saved(self, name: str) -> str:
        """What the lowering of this node kept under ``name``."""
        return self.tape.saved[self.y()][name]

    def shape(self, name: str) -> Dims | None:
        """Shape of a value."""
        return self.w.shape(name)

    def rank(self, name: str) -> int:
        """Number of dimensions. Raises LookupError where it is not known."""
        shape = self.w.shape(name)
        if shape is None:
            raise LookupError(f"the rank of {name!r} is not known")
        return len(shape)

    def static(self, name: str) -> tuple[int, ...]:
        """Shape where every dimension is a number. Raises LookupError where one is not."""
        shape = self.w.shape(name)
        if shape is None or not all(isinstance(d, int) for d in shape):
            raise LookupError(f"the shape of {name!r} is not known: {shape}")
        return tuple(d for d in shape if isinstance(d, int))

    def size(self, name: str, axis: int) -> int:
        """Length of one axis. Raises LookupError where it is not a number."""
        shape = self.w.shape(name)
        if shape is None or not isinstance(shape[axis], int):
            raise LookupError(f"axis {axis} of {name!r} is not known: {shape}")
        return int(shape[axis])  # type: ignore[arg-type]

    def integers(self, at: int, default: Sequence[int] | None = None) -> list[int]:
        """Input ``at`` as stored integers (axes, pads). Raises LookupError where it is computed."""
        if not self.x(at):
            if default is None:
                raise LookupError(f"input {at} is left out")
            return list(default)
        array = self.w.array(self.x(at))
        if array is None:
            raise LookupError(f"input {at} ({self.x(at)}) is computed")
        return [int(v) for v in np.asarray(array).reshape(-1)]

    def number(self, value: float, like: str) -> str:
        """A scalar constant with the dtype of ``like``."""
        return self.w.constant(value, self.w.dtype(like) or "float32")

    def op(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Write a node with one output."""
        return self.w.node(operator, *inputs, **attributes)  # type: ignore[arg-type]


#: Index of an input -> name of its gradient.
Gradients = Mapping[int, str]

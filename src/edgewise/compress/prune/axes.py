"""The axes of every value of a graph, with the atoms on them: what the rules for operators read and write."""

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto

from edgewise.compress.prune.atoms import Atoms, Axis
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, node_name

__all__ = ["POSITION", "Axes", "NotUnderstoodError", "number"]

#: Why an axis stays that holds no channels.
POSITION = "positions in space, time or batch"


class NotUnderstoodError(LookupError):
    """A rule does not cover this form of its operator: everything that the node touches stays."""


class Axes:
    """Final. ``writer``: the opened graph. An initializer's axes get fresh atoms when a rule first reads them."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.atoms = Atoms()
        self.known: dict[str, list[Axis]] = {}
        self._lost: set[str] = set()  # values of unknown rank: whatever meets them stays
        self.stored = {tensor.name: tuple(tensor.dims) for tensor in writer.graph.initializer}

    def of(self, name: str) -> list[Axis]:
        """The axes of a value. Raises NotUnderstoodError where not even its rank is known."""
        if name in self._lost:
            raise NotUnderstoodError(f"the shape of {name!r} is not known")
        if name not in self.known:
            if name in self.stored:
                self.known[name] = [
                    self.atoms.new(size) if size > 1 else self.atoms.fixed(size, POSITION) for size in self.stored[name]
                ]
            else:
                self.known[name] = self.positions(name, "it is an input of the model")
        return self.known[name]

    def give(self, name: str, axes: Sequence[Axis]) -> None:
        """What is known of a value that a node makes; an unnamed one is passed over."""
        if not name:
            return
        shape = self.writer.shape(name)
        if shape is None or len(shape) != len(axes):
            raise NotUnderstoodError("the shape of its result is not known")
        for axis, size in zip(axes, shape, strict=True):
            if axis is not None and isinstance(size, int) and len(axis) != size:
                raise NotUnderstoodError("the shape of its result is not as expected")
        self.known[name] = list(axes)

    def positions(self, name: str, reason: str = POSITION) -> list[Axis]:
        """Axes for a value of which nothing can be taken."""
        shape = self.writer.shape(name)
        if shape is None:
            raise NotUnderstoodError(f"the shape of {name!r} is not known")
        return [self.atoms.fixed(size, reason) if isinstance(size, int) else None for size in shape]

    def tie(self, first: Axis, second: Axis) -> None:
        """Two axes of one length; where one length is open, the other stays."""
        if first is None or second is None:
            self.atoms.pin(first, "it meets an open length")
            self.atoms.pin(second, "it meets an open length")
        elif len(first) != len(second):
            raise NotUnderstoodError(f"{len(first)} channels meet {len(second)}")
        else:
            self.atoms.tie(first, second)

    def joined(self, parts: Sequence[Axis]) -> Axis:
        """One axis of an elementwise result, from those of its operands: lengths of one are stretched."""
        long = [axis for axis in parts if axis is not None and len(axis) != 1]
        if any(axis is None for axis in parts):
            for axis in long:
                self.atoms.pin(axis, "it meets an open length")
            return long[0] if long else None
        for axis in long[1:]:
            self.tie(long[0], axis)
        return long[0] if long else parts[0]

    def broadcast(self, operands: Sequence[Sequence[Axis]]) -> list[Axis]:
        """The axes of an elementwise result, operands aligned at the last axis."""
        rank = max(len(axes) for axes in operands)
        return [
            self.joined([axes[at - rank + len(axes)] for axes in operands if at - rank + len(axes) >= 0]) for at in range(rank)
        ]  # fmt: skip

    def ints(self, name: str) -> list[int] | None:
        """A stored vector of whole numbers; None where it is not stored."""
        array = self.writer.array(name) if name else None
        return None if array is None else [int(value) for value in np.asarray(array).reshape(-1)]

    def pin_node(self, node: NodeProto, names: Sequence[str], why: str) -> None:
        """Everything that a node touches stays."""
        reason = f"{node.op_type} {node_name(node)}: {why}"
        for name in names:
            try:
                for axis in self.of(name):
                    self.atoms.pin(axis, reason)
            except NotUnderstoodError:
                self._lost.add(name)
        for name in node.output:
            if name:
                if self.writer.shape(name) is None:
                    self._lost.add(name)
                else:
                    self.known[name] = self.positions(name, reason)


def number(node: NodeProto, name: str, default: int) -> int:
    """A whole number among a node's attributes."""
    value = attribute(node, name, default)
    return int(value) if isinstance(value, int) else default

"""Linear spaces of a graph: values that linear layers make and that linear layers alone read.

Such a value may be seen in another basis: the makers' weights times a matrix, the readers' weights times its inverse, and every
answer stays as it was. In between may stand what treats all channels alike (sums over positions, dropout, a weight for each
sample) and what scales or moves each channel by itself (a normalisation with stored averages), which the readers then take over.
"""

from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto

from edgewise.compress.prune.linear_layers import Maker, Reader, Seen, Wiring, maker_of, reader_of
from edgewise.compress.prune.passages import PASSAGES, normalisation
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import node_name

__all__ = ["Space", "linear_spaces"]


@dataclass(frozen=True, slots=True)
class Space:
    """drawn: results of nodes whose scale and offset the readers take over. name: of the first maker's node."""

    name: str
    width: int
    makers: tuple[Maker, ...]
    readers: tuple[Reader, ...]
    drawn: tuple[str, ...]


class _RefusedError(LookupError):
    """Something else reads or makes a value."""


def linear_spaces(writer: Writer) -> tuple[tuple[Space, ...], dict[str, str]]:
    """The spaces of an opened model, none of which shares a value with another; and, by node, why others are none."""
    wiring = Wiring(writer)
    found: list[Space] = []
    reasons: dict[str, str] = {}
    done: set[str] = set()
    for node in writer.graph.node:
        if maker_of(wiring, node) is None or node.output[0] in done:
            continue
        work = _Growing(wiring)
        try:
            space = work.space(node)
        except _RefusedError as reason:
            reasons[node_name(node)] = str(reason)
        else:
            found.append(space)
        done |= {maker.result for maker in work.makers}
    return tuple(found), reasons


@dataclass(slots=True)
class _Growing:
    """A space as it grows from one maker: forward to all that reads, back to all that is added."""

    wiring: Wiring
    makers: list[Maker] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    width: int = 0

    def space(self, node: NodeProto) -> Space:
        self.start(node)
        while self.waiting:
            value = self.waiting.pop()
            if value in self.wiring.outputs:
                raise _RefusedError(f"{value!r} is an output of the model")
            for reader in self.wiring.readers.get(value, []):
                self.read(reader, value)
        if not self.readers:
            raise _RefusedError("nothing linear reads it")
        return Space(node_name(node), self.width, tuple(self.makers), tuple(self.readers), tuple(self.drawn))

    def start(self, node: NodeProto) -> None:
        made = maker_of(self.wiring, node)
        if made is None:
            raise _RefusedError(f"{node.op_type} ({node_name(node)}) has a part in it, which is no linear layer")
        maker, width = made.maker, made.width
        if self.width and width != self.width:
            raise _RefusedError(f"{node_name(node)} is broadcast")
        self.width = width
        norm = self.norm_behind(node)
        self.makers.append(Maker(maker.result, maker.weight, maker.axis, norm))
        self.show(norm or maker.result, Seen(made.axis, np.ones(width), np.zeros(width)))

    def norm_behind(self, node: NodeProto) -> str:
        """What the only reader of a layer with a bias gives, if it is a normalisation: it is drawn into the layer."""
        readers = self.wiring.readers.get(node.output[0], [])
        if node.op_type not in {"Conv", "Gemm"} or len(readers) != 1 or node.output[0] in self.wiring.outputs:
            return ""
        return readers[0].output[0] if normalisation(self.wiring.writer, readers[0]) is not None else ""

    def show(self, value: str, seen: Seen) -> None:
        known = self.seen.get(value)
        if known is None:
            self.seen[value] = seen
            self.waiting.append(value)
        elif known.axis != seen.axis or not (known.plain and seen.plain):
            raise _RefusedError(f"{value!r} is made in two ways")

    def read(self, node: NodeProto, value: str) -> None:
        seen = self.seen[value]
        reader = reader_of(self.wiring, node, value, seen)
        if reader is not None:
            self.readers.append(reader)
            return
        if node.op_type == "Add" and is_default_domain(node.domain) and self.added(node, seen):
            return
        through = PASSAGES.get(node.op_type) if is_default_domain(node.domain) else None
        after = None if through is None else through(self.wiring, node, value, seen)
        if after is None or any(name in self.wiring.readers for name in node.output[1:]):
            raise _RefusedError(f"{node.op_type} ({node_name(node)}) reads it, which is no linear layer")
        # A dropout goes as well: one of few directions, each of which stands for many channels, is too much to lose in learning.
        if after.scale is not seen.scale or after.offset is not seen.offset or node.op_type == "Dropout":
            self.drawn.append(node.output[0])
        self.show(node.output[0], after)

    def added(self, node: NodeProto, seen: Seen) -> bool:
        """A sum of two values of one space, or of what grows into it."""
        shapes = [self.wiring.writer.shape(name) for name in node.input]
        if any(name in self.wiring.makers for name in node.input) and shapes[0] == shapes[1] and shapes[0] is not None:
            if not seen.plain:
                raise _RefusedError(f"Add ({node_name(node)}) adds what is scaled")
            for name in node.input:
                if name not in self.seen:
                    self.back(name, len(shapes[0]))
            self.show(node.output[0], seen)
            return True
        return False

    def back(self, name: str, depth: int) -> None:
        """The other side of a sum: a layer, a layer with its normalisation, or another sum."""
        node = self.wiring.makers.get(name)
        if node is None or depth > _DEEP:
            raise _RefusedError(f"{name!r} is added to it, which no linear layer makes")
        if node.op_type == "BatchNormalization" and node.input[0] in self.wiring.makers:
            node = self.wiring.makers[node.input[0]]
        if node.op_type == "Add":
            for each in node.input:
                if each not in self.seen:
                    self.back(each, depth + 1)
            return
        self.start(node)


_DEEP = 200  # sums of sums

"""Taking units out: weights lose the indices of all their places, and what nodes say of sizes is said anew."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgewise.compress.prune.axes import Axes, number
from edgewise.compress.prune.coupling import Coupling
from edgewise.compress.prune.moves import bounds
from edgewise.compress.prune.rules import GATES, takes_groups
from edgewise.graph.order import pruned
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer

__all__ = ["shrunk"]


def shrunk(coupling: Coupling, gone: Iterable[int]) -> ModelProto:
    """The model of ``coupling`` without the units of these keys. At least one unit of every family has to stay."""
    return _Shrinking(coupling, gone).result()


class _Shrinking:
    def __init__(self, coupling: Coupling, gone: Iterable[int]) -> None:
        self.axes: Axes = coupling.axes
        self.gone = np.array(sorted(gone), np.int64)
        self.writer = Writer(coupling.model)

    def kept(self, name: str, at: int) -> np.ndarray | None:
        """True for each index along an axis that stays; None where all do."""
        own = self.axes.known.get(name, [])
        axis = own[at] if at < len(own) else None
        if axis is None:
            return None
        stays = ~np.isin(self.axes.atoms.roots(axis), self.gone)
        return None if stays.all() else stays

    def length(self, name: str, at: int, before: int) -> int:
        stays = self.kept(name, at)
        return before if stays is None else int(stays.sum())

    def result(self) -> ModelProto:
        for tensor in self.writer.graph.initializer:
            array = numpy_helper.to_array(tensor)
            taken = array
            for at in range(array.ndim):
                stays = self.kept(tensor.name, at)
                taken = taken if stays is None else np.compress(stays, taken, axis=at)
            if taken is not array:
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(taken), tensor.name))
        for node in self.writer.graph.node:
            if node.op_type in _SAID and is_default_domain(node.domain):
                _SAID[node.op_type](self, node)
        return pruned(self.writer.model)

    def say(self, node: NodeProto, **attributes: int) -> None:
        others = [entry for entry in node.attribute if entry.name not in attributes]
        del node.attribute[:]
        node.attribute.extend([*others, *(helper.make_attribute(name, value) for name, value in attributes.items())])


def _conv(work: _Shrinking, node: NodeProto) -> None:
    groups, turned = number(node, "group", 1), node.op_type == "ConvTranspose"
    weight = work.axes.stored.get(node.input[1])
    if groups == 1 or weight is None:
        return
    before = weight[0] if turned else weight[1] * groups
    inputs, outputs = before // groups, weight[1] if turned else weight[0] // groups
    if takes_groups(inputs, outputs):
        work.say(node, group=work.length(node.input[0], 1, before) // inputs)


def _target(work: _Shrinking, node: NodeProto) -> None:
    """The target of Reshape or Expand. Zeros and -1 say themselves what is left; a one stays a one."""
    sizes = work.axes.ints(node.input[1])
    if sizes is not None:
        said = [size if size < 2 else work.length(node.output[0], at, size) for at, size in enumerate(sizes)]
        if said != sizes:
            node.input[1] = work.writer.ints(*said)


def _split(work: _Shrinking, node: NodeProto) -> None:
    along = number(node, "axis", 0)
    shapes = [work.axes.writer.shape(name) for name in node.output]
    sizes = [shape[along] if shape else None for shape in shapes]
    if any(not isinstance(size, int) for size in sizes):
        return
    rank = len(shapes[0] or ())
    said = [work.length(name, along % rank, int(size or 0)) for name, size in zip(node.output, sizes, strict=True)]
    if said != sizes:
        data = node.input[0]
        del node.input[:]
        node.input.extend([data, work.writer.ints(*said)])
        kept = [entry for entry in node.attribute if entry.name != "num_outputs"]
        del node.attribute[:]
        node.attribute.extend(kept)


def _slice(work: _Shrinking, node: NodeProto) -> None:
    rank = len(work.axes.known.get(node.input[0], []))
    if not rank or work.axes.ints(node.input[1]) is None:
        return
    before = bounds(work.axes, node, rank)
    cuts = [(at, *_bounds(work.kept(node.input[0], at), start, end, step), step) for at, start, end, step in before]
    if cuts != before:
        over, starts, ends, steps = zip(*cuts, strict=True)
        data = node.input[0]
        del node.input[:]
        node.input.extend([data, *(work.writer.ints(*numbers) for numbers in (starts, ends, over, steps))])


def _bounds(stays: np.ndarray | None, start: int, end: int, step: int) -> tuple[int, int]:
    if stays is None:
        return start, end
    first, last, _ = slice(start, end, step).indices(len(stays))
    ahead = int(stays[:first].sum())
    return ahead, ahead + int(stays[first:last].sum())


def _resize(work: _Shrinking, node: NodeProto) -> None:
    if len(node.input) < 4 or not node.input[3]:
        return
    sizes = work.axes.ints(node.input[3])
    if sizes is not None:
        said = [work.length(node.output[0], at, size) for at, size in enumerate(sizes)]
        if said != sizes:
            node.input[3] = work.writer.ints(*said)


def _recurrent(work: _Shrinking, node: NodeProto) -> None:
    back = work.axes.stored.get(node.input[2])
    if back is not None:
        work.say(node, hidden_size=work.length(node.input[2], 2, back[2]))


_SAID: Mapping[str, Callable[[_Shrinking, NodeProto], None]] = {
    "Conv": _conv, "ConvTranspose": _conv, "Reshape": _target, "Expand": _target, "Split": _split, "Slice": _slice,
    "Resize": _resize,
    **dict.fromkeys(GATES, _recurrent),
}  # fmt: skip

"""Cutting a model in two: what only prepares its input, and what has learnt.

Preprocessing that edgewise joined in front (resizing, mel bands) stays as it is in every compressed form, and what it makes of a
sample is the same in every epoch: it is computed once.
"""

from dataclasses import dataclass

from onnx import ModelProto, helper

from edgewise.graph.join import prepend
from edgewise.graph.order import captured, pruned
from edgewise.graph.walk import DTYPES
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, opened
from edgewise.training.step.assembly import choose

__all__ = ["Cut", "cut"]


_ELEMENTS = {name: element for element, name in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Cut:
    """front: from the model's input to ``seam``; None where the core takes it as it is. core: from there on."""

    front: ModelProto | None
    core: ModelProto
    seam: str

    def whole(self, core: ModelProto) -> ModelProto:
        """``core``, or what it was made into, with the front before it."""
        return core if self.front is None else prepend(self.front, core, {self.seam: self.seam})


def cut(model: ModelProto) -> Cut:
    """``model`` cut at the one value between the nodes that no weight has a part in and those behind; uncut where it is not one."""
    writer = opened(model)
    (entering, *others) = [value.name for value in writer.graph.input]
    seam = None if others else _seam(writer, set(choose(model).parameters), entering)
    seam = None if seam is None else _samples_first(writer, seam)
    if seam is None or seam == entering:
        return Cut(None, writer.model, entering)
    shape = writer.shape(seam)
    value = helper.make_tensor_value_info(seam, _ELEMENTS[writer.dtype(seam)], None if shape is None else list(shape))
    front, core = ModelProto(), ModelProto()
    front.CopyFrom(writer.model)
    core.CopyFrom(writer.model)
    del front.graph.output[:], core.graph.input[:]
    front.graph.output.append(value)
    core.graph.input.append(value)
    kept = [node for node in core.graph.node if seam not in node.output]
    del core.graph.node[:]
    core.graph.node.extend(kept)
    # What the front alone reads is not there any more in the core: its nodes fall away with their inputs.
    return Cut(pruned(front), _reachable(core), seam)


def _samples_first(writer: Writer, seam: str) -> str:
    """The seam in front of Transposes that turn the samples away from the first axis, as recurrent layers want them."""
    makers = {name: node for node in writer.graph.node for name in node.output}
    node = makers.get(seam)
    while node is not None and node.op_type == "Transpose":
        order = attribute(node, "perm", None)
        if isinstance(order, list | tuple) and order[0] == 0:
            break
        seam = node.input[0]
        node = makers.get(seam)
    return seam


def _reachable(core: ModelProto) -> ModelProto:
    """Only what the outputs need, looked for from behind: nodes in front lack their inputs here."""
    needed = {value.name for value in core.graph.output}
    kept = []
    for node in reversed(core.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= captured(node)
    del core.graph.node[:]
    core.graph.node.extend(reversed(kept))
    return pruned(core)


def _seam(writer: Writer, weights: set[str], entering: str) -> str | None:
    """The value, if it is one, through which everything that is learnt depends on the input."""
    fed, learnt = {entering}, set(weights)
    between: set[str] = set()
    for node in writer.graph.node:
        read = captured(node)
        if read & learnt:
            learnt.update(node.output)
            between |= {name for name in read if name in fed and name not in learnt}
        elif read & fed:
            fed.update(node.output)
    (seam, *more) = sorted(between) or [entering]
    outputs = {value.name for value in writer.graph.output}
    return None if more or outputs & (fed - learnt) else seam

"""Trading time for memory: forward values are computed again where the backward pass needs them, instead of being kept.

Chen et al., Training Deep Nets with Sublinear Memory Cost (2016). The forward nodes are cut into segments of about equal
size. What passes from one segment to a later one is kept; everything inside is written a second time, for the backward
nodes that read it. A runtime would run those copies at once, since all they need is there; so what they start from waits for
the gradient that comes out of the segment after.
"""

from collections.abc import Callable

from onnx import ModelProto, NodeProto

from edgewise.autodiff.waiting import after
from edgewise.graph.order import captured, ordered, pruned
from edgewise.graph.writer import Writer

__all__ = ["recompute"]


def recompute(model: ModelProto, forward: frozenset[str], size: Callable[[str], int], segments: int) -> ModelProto:
    """A copy of ``model`` (a whole step) that keeps only what passes between ``segments`` parts of its forward nodes.

    forward: every output of the nodes that belong to the forward pass. size: bytes of a value, as far as known. The last segment
    is not repeated: its backward pass comes at once. The result computes the same values, bit for bit.
    """
    w = Writer(model)
    given = {value.name for value in w.graph.input} | {tensor.name for tensor in w.graph.initializer}
    nodes = ordered(w.graph.node, given)
    first = [node for node in nodes if not forward.isdisjoint(node.output)]
    rest = [node for node in nodes if forward.isdisjoint(node.output)]
    parts = _cut(first, size, segments)
    home = {name: at for at, part in enumerate(parts) for node in part for name in node.output if name}
    kept = {
        name for at, part in enumerate(parts) for node in part for name in captured(node) if name in home and home[name] < at
    }  # fmt: skip
    for at in reversed(range(len(parts) - 1)):
        _repeat(w, at, parts[at], rest, home, kept)
    return pruned(w.model)


def _cut(nodes: list[NodeProto], size: Callable[[str], int], segments: int) -> list[list[NodeProto]]:
    weights = [sum(size(name) for name in node.output if name) for node in nodes]
    share = max(sum(weights) / max(segments, 1), 1)
    parts: list[list[NodeProto]] = [[]]
    filled = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        if filled >= share and len(parts) < segments:
            parts.append([])
            filled -= share
        parts[-1].append(node)
        filled += weight
    return parts


def _repeat(
    w: Writer, at: int, part: list[NodeProto], rest: list[NodeProto], home: dict[str, int], kept: set[str]
) -> None:
    """Write the nodes of one segment again, and let the backward nodes read the copies."""
    own = {name for node in part for name in node.output if name} - kept
    trigger = _trigger(at, own, rest, home)
    needed = {name for node in rest for name in captured(node)} & own
    chosen: list[NodeProto] = []
    for node in reversed(part):
        if needed & set(node.output):
            chosen.append(node)
            needed |= captured(node) & own
    if trigger is None or not chosen:
        return
    names = {name: w.fresh(f"{name}/again") for node in chosen for name in node.output if name}
    inputs = {value.name for value in w.graph.input}
    entering = {name for node in chosen for name in captured(node) if name in kept and name not in names}
    # The first segment starts from the inputs; what starts from parameters alone is small.
    entering = entering or captured(chosen[-1]) & inputs
    waiting = {name: after(w, name, trigger) for name in sorted(entering)}
    for node in reversed(chosen):
        copy = _renamed(node, names | waiting)
        copy.name = w.fresh(f"{node.name or node.op_type}/again")
        w.append(copy)
    own_names = {name: new for name, new in names.items() if name in own}
    for node in rest:
        node.input[:] = [own_names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                for inner in attribute.g.node:
                    inner.input[:] = [own_names.get(name, name) for name in inner.input]


def _trigger(at: int, own: set[str], rest: list[NodeProto], home: dict[str, int]) -> str | None:
    """The gradient that comes out of the segment after: it depends on that one's values, and on none of this one's."""
    later: set[str] = set()
    here = set(own)
    for node in rest:
        read = captured(node)
        if read & here:
            meeting = [name for name in node.input if name in later and name not in here]
            if meeting:
                return meeting[0]
            here.update(node.output)
        elif read & later or any(home.get(name, -1) > at for name in read):
            later.update(node.output)
    return None


def _renamed(node: NodeProto, names: dict[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    return copy

"""The order in which a step's nodes stand in its file, so that buffers are released early.

onnxruntime does not run nodes in that order. Its default is to walk back from the outputs, and of a node's inputs to take the one
that stands last in the file first (Graph::ReverseDFSFrom, sorted by node index). Left as they are written, this makes all masks
and patches of the backward pass first, then follows the error down to the first layer, and only then turns to the weights: every
activation, every error and every patch is alive at once. Standing in the order below, the walk meets the last layer's weight
gradient first, and makes what it needs when it needs it:

    forward | what depends on forward values alone | the errors, from the loss down | weight gradients, first layer to last | update
"""

from collections.abc import Collection, Mapping

from onnx import ModelProto, NodeProto

from edgewise.graph.order import captured, first_output, ordered

__all__ = ["scheduled"]


def scheduled(model: ModelProto, forward: frozenset[str], gradients: Collection[str]) -> ModelProto:
    """A copy of ``model`` with its nodes in that order. forward: outputs of forward nodes. gradients: of the parameters."""
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    nodes = ordered(graph.node, given)
    first = [node for node in nodes if not forward.isdisjoint(node.output)]
    rest = [node for node in nodes if forward.isdisjoint(node.output)]
    reach = _reached(rest, list(gradients))
    backward = [node for node in rest if reach[first_output(node)]]
    update = [node for node in rest if not reach[first_output(node)]]
    depth = _depths(first, backward)
    deepest = max(depth.values(), default=0)
    early = [node for node in backward if depth[first_output(node)] < deepest]
    late = [node for node in backward if depth[first_output(node)] >= deepest]
    errors = [node for node in late if reach[first_output(node)].bit_count() > 1]
    weights = _by_layer([node for node in late if reach[first_output(node)].bit_count() == 1], errors, reach)
    # What an early node of one group reads from another is made before it: the order is only a wish.
    del graph.node[:]
    graph.node.extend(ordered([*first, *early, *errors, *weights, *update], given))
    return result


def _reached(nodes: list[NodeProto], gradients: list[str]) -> dict[str, int]:
    """First output of a node -> bits of the gradients that it leads to, itself included."""
    bit = {name: 1 << at for at, name in enumerate(gradients)}
    owed: dict[str, int] = {}
    reached: dict[str, int] = {}
    for node in reversed(nodes):
        bits = 0
        for name in node.output:
            # A gradient leads to itself alone: what it goes into from here is the update.
            bits |= bit.get(name) or owed.get(name, 0)
        reached[first_output(node)] = bits
        for name in captured(node):
            owed[name] = owed.get(name, 0) | bits
    return reached


def _depths(forward: list[NodeProto], backward: list[NodeProto]) -> dict[str, int]:
    """First output of a backward node -> place of the last forward value that it depends on."""
    place = {name: at for at, node in enumerate(forward, 1) for name in node.output if name}
    depths: dict[str, int] = {}
    for node in backward:
        deepest = max((place.get(name, 0) for name in captured(node)), default=0)
        for name in node.output:
            place[name] = deepest
        depths[first_output(node)] = deepest
    return depths


def _by_layer(nodes: list[NodeProto], errors: list[NodeProto], reach: Mapping[str, int]) -> list[NodeProto]:
    place = {name: at for at, node in enumerate(errors, 1) for name in node.output if name}
    latest: dict[int, int] = {}
    for node in nodes:
        bits = reach[first_output(node)]
        needs = max((place.get(name, 0) for name in captured(node)), default=0)
        latest[bits] = max(latest.get(bits, 0), needs)
    return sorted(nodes, key=lambda node: -latest[reach[first_output(node)]])

"""Tidying a graph that was written in pieces: nodes in an order that runs, nothing that no output needs."""

from collections.abc import Iterable

from onnx import GraphProto, ModelProto, NodeProto

from edgewise.errors import ModelError
from edgewise.graph.walk import graphs

__all__ = ["captured", "first_output", "ordered", "pruned"]


def captured(node: NodeProto) -> set[str]:
    """Everything that ``node`` reads: its inputs, and what its subgraphs take from outside."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for body in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            parts = list(graphs(body))
            own = {value.name for part in parts for value in part.input} | {
                t.name for part in parts for t in part.initializer
            }
            own |= {name for part in parts for inner in part.node for name in inner.output}
            used = {name for part in parts for inner in part.node for name in inner.input if name}
            names |= (used | {value.name for part in parts for value in part.output}) - own
    return names


def first_output(node: NodeProto) -> str:
    """A name that only ``node`` makes. Recurrent nodes may leave out the first of their outputs."""
    return next(name for name in node.output if name)


def ordered(nodes: Iterable[NodeProto], given: set[str]) -> list[NodeProto]:
    """``nodes`` so that each comes after what it reads, otherwise in the order they had. given: names that are there before.

    Raises ModelError where something that is read is never made.
    """
    nodes = list(nodes)
    maker = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    needs = [sorted({maker[name] for name in captured(node) if name in maker}) for node in nodes]
    missing = {name for node in nodes for name in captured(node) if name not in maker and name not in given}
    if missing:
        raise ModelError(f"nothing makes {', '.join(sorted(missing)[:5])}")
    done: set[int] = set()
    result: list[NodeProto] = []
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            at = stack[-1]
            waiting = [other for other in needs[at] if other not in done]
            if at in done or not waiting:
                stack.pop()
                if at not in done:
                    done.add(at)
                    result.append(nodes[at])
                continue
            if len(stack) > len(nodes):
                raise ModelError("the graph goes round in a circle")
            stack.append(waiting[0])
    return result


def pruned(model: ModelProto, keep_inputs: bool = True) -> ModelProto:
    """``model`` without the nodes and initializers that no output of the graph needs, in an order that runs.

    A node that stays keeps all its outputs. keep_inputs: False takes out inputs that nothing needs too.
    """
    graph = model.graph
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    nodes = ordered(graph.node, given)
    needed = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed |= captured(node)
    result = ModelProto()
    result.CopyFrom(model)
    _replace(result.graph, list(reversed(kept)), needed)
    if not keep_inputs:
        inputs = [value for value in result.graph.input if value.name in needed]
        del result.graph.input[:]
        result.graph.input.extend(inputs)
    return result


def _replace(graph: GraphProto, nodes: list[NodeProto], needed: set[str]) -> None:
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)
    stored = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(stored)
    del graph.value_info[:]

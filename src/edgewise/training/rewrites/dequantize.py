"""A graph of integers as one of floating-point numbers that can be trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from edgewise.errors import UnsupportedError
from edgewise.graph.order import captured, ordered, pruned
from edgewise.training.rewrites.dequantize_rules import OVER_INTEGERS, RULES, multiply
from edgewise.training.rewrites.dequantize_walk import Unfit, Walk
from edgewise.training.rewrites.fake_quant import Quantizer
from edgewise.training.rewrites.opening import opened

__all__ = ["Dequantized", "dequantize"]

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Dequantized:
    """model: the graph in floating point. quantizers: where activations are rounded; none unless that was asked for."""

    model: ModelProto
    quantizers: tuple[Quantizer, ...]


def dequantize(model: ModelProto, *, rounding: bool = False) -> Dequantized:
    """Write a quantized model (QDQ, QLinear operators, run-time quantization) in floating point.

    Weights are exactly the numbers their integers stand for. Activations keep the limits of their integers, as Clip; with
    ``rounding`` they are rounded as well, straight-through, with learnt steps as ``fake_quantize`` has them. Without it the
    outputs differ from the quantized model's by its rounding. A model that is not quantized comes back as it is, at opset 18.
    Raises UnsupportedError that names each operator and node that has no exact floating-point form, with the reason.
    """
    writer = opened(model)
    given = {value.name for value in writer.graph.input} | {tensor.name for tensor in writer.graph.initializer}
    nodes = []
    for node in ordered(writer.graph.node, given):
        copy = NodeProto()
        copy.CopyFrom(node)
        nodes.append(copy)
    del writer.graph.node[:]
    walk = Walk(writer, rounding)
    faults: list[dict[str, str]] = []
    for node in nodes:
        try:
            _rewrite(walk, node)
        except Unfit as unfit:
            faults.append(walk.describe(node, str(unfit)))
            # What follows is looked at as well, as if this node were an ordinary one.
            for name in node.output:
                walk.twins.pop(name, None)
    integer = [value.name for value in writer.graph.output if value.name in walk.twins]
    faults += [
        {"operator": "output", "node": name, "reason": "it holds integers that stand for numbers"} for name in integer
    ]
    faults = faults or _orphans(walk, nodes)
    if faults:
        lines = "; ".join(f"{fault['operator']} ({fault['node']}): {fault['reason']}" for fault in faults[:_SHOWN])
        raise UnsupportedError(
            f"this quantized model has no exact floating-point form: {lines}",
            remedy="Train the model it was quantized from.",
            nodes=faults,
        )
    return Dequantized(pruned(writer.model), tuple(walk.quantizers))


def _orphans(walk: Walk, before: Sequence[NodeProto]) -> list[dict[str, str]]:
    """Nodes that read what the rewriting took away: a scale found at run time, or integers from inside a nested graph."""
    graph = walk.w.graph
    made = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    gone = {name for node in before for name in node.output if name} - made
    reads = ((node, sorted(captured(node) & gone)) for node in graph.node)
    return [
        walk.describe(node, f"it reads {', '.join(names)}, which only integers need") for node, names in reads if names
    ]


def _rewrite(walk: Walk, node: NodeProto) -> None:
    if node.op_type in RULES:
        RULES[node.op_type](walk, node)
    elif node.op_type == "Mul" and multiply(walk, node):
        pass
    elif walk.reads_integers(node):
        if node.op_type not in OVER_INTEGERS:
            raise Unfit("it computes on integers that stand for numbers")
        OVER_INTEGERS[node.op_type](walk, node)
    else:
        walk.w.append(node)

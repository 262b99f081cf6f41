"""The general rule: what no rule of ours covers is differentiated by the ``onnx-ad`` package, one node at a time.

The node alone, with whatever its subgraphs read from outside as further inputs, is made a model; ``onnx_ad.reverse`` gives
that model with seeds; its nodes are copied in. Its seeds have a trailing axis for several directions: here there is one.
"""

from collections.abc import Sequence

import onnx
import onnx_ad
from onnx import NodeProto, helper

from edgewise.autodiff.call import Call
from edgewise.graph.order import captured
from edgewise.graph.rename import rename, taken_names
from edgewise.graph.walk import DTYPES
from edgewise.graph.writer import Writer

__all__ = ["general_rule", "reads"]

_ELEMENTS = {name: element for element, name in DTYPES.items()}
#: What the package takes for flat though it is not: silently, these would train nothing.
_WRONG = {"Det": "the derivative of a determinant is not there; onnx-ad takes it for zero"}
_FLOATS = {"float16", "bfloat16", "float32", "float64"}


def reads(node: NodeProto) -> list[str]:
    """Every value a node depends on: its inputs in their order, then what its subgraphs read from outside."""
    own = list(dict.fromkeys(name for name in node.input if name))
    return own + sorted(captured(node) - set(own))


def general_rule(call: Call, gradients: Sequence[str]) -> dict[str, str]:
    """Name of a read value -> its gradient. Raises LookupError with the package's words where it has no rule either."""
    w, node = call.w, call.node
    if node.op_type in _WRONG and node.domain in {"", "ai.onnx"}:
        raise LookupError(_WRONG[node.op_type])
    wanted = [name for name in reads(node) if name in call.tape.wanted and w.dtype(name) in _FLOATS]
    if not wanted:
        raise LookupError("the type of what it reads is not known")
    seeded = [(name, gradient) for name, gradient in zip(node.output, gradients, strict=False) if gradient]
    alone = _alone(call)
    try:
        derived = onnx_ad.reverse(
            alone, inputs=wanted, outputs=[name for name, _ in seeded], prefix="seed_", layout="onnx"
        )
    except (onnx_ad.UnsupportedOperator, onnx_ad.UnrollTooLarge, ValueError, KeyError, TypeError, IndexError) as error:
        raise LookupError(f"{str(error) or type(error).__name__}") from error
    return _copied(w, derived, seeded, wanted, node)


def _alone(call: Call) -> onnx.ModelProto:
    w, node = call.w, call.node
    inputs, stored = [], []
    for name in reads(node):
        array = w.array(name)
        if array is not None and name not in call.tape.wanted:
            stored.append(onnx.numpy_helper.from_array(array, name))
        else:
            inputs.append(_info(w, name))
    outputs = [_info(w, name) for name in node.output if name]
    graph = helper.make_graph([node], "one", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=list(w.model.opset_import), ir_version=w.model.ir_version)


def _info(w: Writer, name: str) -> onnx.ValueInfoProto:
    if not w.dtype(name):
        raise LookupError(f"the type of {name!r} is not known")
    shape = w.shape(name)
    return helper.make_tensor_value_info(name, _ELEMENTS[w.dtype(name)], None if shape is None else list(shape))


def _copied(
    w: Writer, derived: onnx.ModelProto, seeded: list[tuple[str, str]], wanted: list[str], node: NodeProto
) -> dict[str, str]:
    # derived: the node's inputs, then one seed per seeded output; the node's outputs, then one gradient per wanted input.
    seeds = [value.name for value in derived.graph.input][-len(seeded) :]
    results = [value.name for value in derived.graph.output][-len(wanted) :]
    kept = set(reads(node))
    repeated = _repeated(derived.graph, node)
    if repeated is not None:  # the node itself, unchanged: its outputs are there already
        kept |= {name for name in node.output if name}
        derived.graph.node.remove(repeated)
    mapping = {name: w.fresh(f"general/{name}") for name in taken_names(derived.graph) - kept if name}
    for (_, gradient), seed in zip(seeded, seeds, strict=True):
        mapping[seed] = w.node("Unsqueeze", gradient, w.ints(-1))
    rename(derived.graph, mapping)
    for tensor in derived.graph.initializer:
        if tensor.name not in kept:
            w.store(tensor.name, onnx.numpy_helper.to_array(tensor))
    for entry in derived.opset_import:
        if entry.domain not in {"", "ai.onnx"}:
            w.require_domain(entry.domain, entry.version)
    for new in derived.graph.node:
        w.append(new)
    return {
        name: w.node("Squeeze", mapping.get(result, result), w.ints(-1))
        for name, result in zip(wanted, results, strict=True)
    }


def _repeated(graph: onnx.GraphProto, node: NodeProto) -> NodeProto | None:
    for other in graph.node:
        if (
            list(other.output) == list(node.output)
            and other.op_type == node.op_type
            and list(other.input) == list(node.input)
        ):
            same = sorted(a.SerializeToString() for a in other.attribute) == sorted(
                a.SerializeToString() for a in node.attribute
            )
            return other if same else None
    return None

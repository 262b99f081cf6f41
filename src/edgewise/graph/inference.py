"""Types and shapes of all values of a model: ONNX's shape inference, and what it leaves out."""

from collections.abc import Iterator

import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from edgewise.graph.walk import DTYPES

__all__ = ["Dims", "inferred_types"]

#: A shape: a number where it is known, a name or None where it is not.
Dims = tuple[int | str | None, ...]


def inferred_types(model: ModelProto) -> dict[str, tuple[str, Dims | None]]:
    """Name of a value -> NumPy's name of its element type ("" where unknown), and its shape (None: the rank is unknown)."""
    # Large weights do not change a shape; leaving them out keeps the copy that goes through C++ small.
    small = _without_payload(model)
    inferred = _inferred(small)
    while _say_more(small, inferred):
        inferred = _inferred(small)
    types = {
        value.name: _type(value)
        for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    }
    return types | {t.name: (DTYPES[t.data_type], tuple(t.dims)) for t in model.graph.initializer}


def _inferred(model: ModelProto) -> ModelProto:
    return onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)


def _say_more(model: ModelProto, inferred: ModelProto) -> bool:
    """Declare what onnx has no inference for, where its inputs are known by now; True where something was new."""
    known = {value.name: value for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)}
    types = {name: value.type for name, value in known.items() if value.type.tensor_type.HasField("shape")}
    types |= {t.name: helper.make_tensor_type_proto(t.data_type, t.dims) for t in model.graph.initializer}
    places = {value.name: value for value in model.graph.output}
    new = False
    for node in model.graph.node:
        for name, kind in _unsaid(node, types):
            if name and name not in types:
                place = places[name] if name in places else model.graph.value_info.add()
                place.CopyFrom(ValueInfoProto(name=name, type=kind))
                new = True
    return new


def _unsaid(node: NodeProto, types: dict[str, onnx.TypeProto]) -> Iterator[tuple[str, onnx.TypeProto]]:
    if node.domain not in {"", "ai.onnx"}:
        return
    if node.op_type in _LIKE_INPUT and node.input[0] in types:
        yield node.output[0], types[node.input[0]]
    if node.op_type == "Loop":
        body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
        states = len(node.input) - 2
        for name, start, before, after in zip(
            node.output, node.input[2:], body.input[2:], body.output[1 : 1 + states], strict=False
        ):
            # A state could change its shape from round to round: only where the body says that it does not.
            if start in types and after.type.tensor_type.HasField("shape") and before.type == after.type:
                yield name, types[start]
        for name, each in zip(node.output[states:], body.output[1 + states :], strict=True):
            if each.type.tensor_type.HasField("shape"):
                dims = [d.dim_value if d.HasField("dim_value") else None for d in each.type.tensor_type.shape.dim]
                yield name, helper.make_tensor_type_proto(each.type.tensor_type.elem_type, [None, *dims])


#: Operators without (full) shape inference in onnx; their result is like their first input.
_LIKE_INPUT = {"GroupNormalization", "MeanVarianceNormalization"}


def _type(value: ValueInfoProto) -> tuple[str, Dims | None]:
    tensor = value.type.tensor_type
    dtype = DTYPES.get(tensor.elem_type, "")
    if not tensor.HasField("shape"):
        return dtype, None
    dims = tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim)
    return dtype, dims


def _without_payload(model: ModelProto) -> ModelProto:
    large = {t.name for t in model.graph.initializer if len(t.raw_data) > 4096 and t.data_type != TensorProto.INT64}
    small = ModelProto()
    small.CopyFrom(model)
    if not large:
        return small
    kept = [tensor for tensor in small.graph.initializer if tensor.name not in large]
    infos = [
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
        for t in model.graph.initializer
        if t.name in large
    ]
    declared = {value.name for value in small.graph.input}
    del small.graph.initializer[:]
    small.graph.initializer.extend(kept)
    small.graph.input.extend(info for info in infos if info.name not in declared)
    return small

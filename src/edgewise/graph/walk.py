"""Everything in a model, wherever it hides: bodies of If, Loop and Scan, model-local functions, tensors in attributes."""

from collections.abc import Iterator

import ml_dtypes  # noqa: F401  (registers bfloat16, float8 and int4 with NumPy, by the names used here)
import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["DTYPES", "dtype_name", "element_bits", "graphs", "is_default_domain", "nodes", "opsets", "tensors"]

#: Element type of ONNX -> NumPy's (or ml_dtypes') spelling; ``str`` for text.
DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64", TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16", TensorProto.BOOL: "bool", TensorProto.STRING: "str",
    TensorProto.COMPLEX64: "complex64", TensorProto.COMPLEX128: "complex128",
    TensorProto.FLOAT8E4M3FN: "float8_e4m3fn", TensorProto.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
    TensorProto.FLOAT8E5M2: "float8_e5m2", TensorProto.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
} | {
    TensorProto.DataType.Value(kind.upper()): kind
    for kind in ("int4", "uint4", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
}  # fmt: skip
_DEFAULT_DOMAINS = ("", "ai.onnx")  # two spellings of one domain (ONNX IR, "Operator sets")
_NARROW = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2, "float8e8m0": 8}  # packed in raw_data


def dtype_name(element_type: int) -> str:
    """NumPy's spelling of an element type; ONNX's own name in lower case where NumPy has none."""
    known = DTYPES.get(element_type)
    if known or element_type not in TensorProto.DataType.values():
        return known or f"type {element_type}"
    return str(TensorProto.DataType.Name(element_type)).lower()


def element_bits(element_type: int) -> int:
    """Bits that one element takes in ``raw_data``; 0 where that has no fixed answer (text, types not known here)."""
    name = dtype_name(element_type)
    if name in _NARROW:
        return _NARROW[name]
    return 0 if name == "str" or element_type not in DTYPES else np.dtype(name).itemsize * 8


def is_default_domain(domain: str) -> bool:
    """True for both spellings of the domain of the standard operators."""
    return domain in _DEFAULT_DOMAINS


def opsets(model: ModelProto) -> dict[str, int]:
    """Domain -> version as the model imports them; the default domain is ``""``."""
    return {"" if is_default_domain(entry.domain) else entry.domain: entry.version for entry in model.opset_import}


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """``graph`` and every graph nested in it."""
    yield graph
    for node in graph.node:
        yield from _bodies(node)


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of the model: of its graph, of nested graphs, of functions."""
    for graph in graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        for node in function.node:
            yield node
            for body in _bodies(node):
                yield from body.node


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every stored tensor: initializers (sparse ones as their two parts) and attributes of nodes."""
    bodies = [*graphs(model.graph), *(g for function in model.functions for n in function.node for g in _bodies(n))]
    for graph in bodies:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes(model):
        yield from _attribute_tensors(list(node.attribute))
    for function in model.functions:
        yield from _attribute_tensors(list(function.attribute_proto))


def _attribute_tensors(attributes: list[AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        sparse = [
            *attribute.sparse_tensors,
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
        ]
        for entry in sparse:
            yield from (entry.values, entry.indices)


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from graphs(attribute.g)
        for body in attribute.graphs:
            yield from graphs(body)

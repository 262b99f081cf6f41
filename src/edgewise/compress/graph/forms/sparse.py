"""Stored matrices that are nearly all zeros, mel banks above all, as their other elements: the rest is filled in at opening."""

import numpy as np
from onnx import ModelProto

from edgewise.compress.graph.forms.constants import Expression
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import closed, opened

__all__ = ["sparse_expressed"]

_LEAST = 1024  # elements
_MOST = 0.2  # of them that are not zero


def sparse_expressed(model: ModelProto) -> ModelProto:
    """``model`` with every float32 tensor that is at least four fifths zeros as an expression: that is always smaller then."""
    writer, changed = opened(model), False
    outputs = {value.name for value in writer.graph.output}
    for name in [tensor.name for tensor in writer.graph.initializer if tensor.name not in outputs]:
        changed = _one(writer, name) or changed
    return closed(writer) if changed else model


def _one(writer: Writer, name: str) -> bool:
    array = writer.array(name)
    if array is None or array.dtype != np.float32 or array.size < _LEAST:
        return False
    flat = np.asarray(array).reshape(-1)
    places = np.flatnonzero(flat.view(np.uint32))  # a negative zero is an element too
    if len(places) > _MOST * flat.size:
        return False
    whole = Expression(writer)
    nothing = whole.node("ConstantOfShape", whole.constant([flat.size]))  # float32 zeros
    # Distances from one to the next are small numbers, places are not.
    where = whole.node("CumSum", whole.wide(np.diff(places, prepend=0)), whole.constant(0))
    at = whole.node("Unsqueeze", where, whole.constant([1]))
    filled = whole.node("ScatterND", nothing, at, whole.constant(flat[places], "float32"))
    result = whole.node("Reshape", filled, whole.constant(array.shape))
    whole.write(result, name)
    return True

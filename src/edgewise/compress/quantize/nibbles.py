"""Two small integers in a byte: int8 weights that are no larger than 4 bits hold, stored as int4 and widened by a Cast.

onnxruntime computes the Cast when it opens the file and then sees int8 weights as ever: the layers run in the same integers at the
same speed. (DequantizeLinear of an int4 has no integer layers behind it.) int4 is of opset 21.
"""

import ml_dtypes
import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.graph.opset import at_opset
from edgewise.graph.walk import opsets
from edgewise.training.rewrites.opening import closed, opened

__all__ = ["in_nibbles"]

_OPSET, _IR = 21, 10  # the first with int4
_LEAST = 128  # values; the Cast of a smaller tensor takes what it saves


def in_nibbles(model: ModelProto) -> ModelProto:
    """``model`` with its int8 matrices of -8 to 7 as int4. As it is where it has none."""
    outputs = {value.name for value in model.graph.output}
    narrow = {
        tensor.name: array for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) >= 2 and tensor.name not in outputs
        for array in [numpy_helper.to_array(tensor)] if array.size >= _LEAST and array.min() >= -8 and array.max() <= 7
    }  # fmt: skip
    if not narrow:
        return model
    writer = opened(at_opset(model, max(_OPSET, opsets(model)[""])))
    writer.model.ir_version = max(writer.model.ir_version, _IR)
    kept = [tensor for tensor in writer.graph.initializer if tensor.name not in narrow]
    del writer.graph.initializer[:]
    writer.graph.initializer.extend(kept)
    for name, array in narrow.items():
        stored = writer.store(writer.fresh(f"{name}4"), np.asarray(array).astype(ml_dtypes.int4))
        writer.append(helper.make_node("Cast", [stored], [name], writer.fresh("Cast"), to=TensorProto.INT8))
    return closed(writer)

"""Write the small TFLite models that `edgewise.testing.engine_models` loads (src/edgewise/testing/models/*.tflite).

Needs ai-edge-litert (its flatbuffer schema) and flatbuffers. The weights are written out in edgewise.testing.engine_models,
from where this script takes them, so that the files and the NumPy references cannot drift apart.
"""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgewise.testing import engine_models as models

FOLDER = Path(__file__).resolve().parent.parent / "src/edgewise/testing/models"
TYPES = schema.TensorType
OPERATORS = schema.BuiltinOperator
KINDS = {
    "float32": TYPES.FLOAT32,
    "int8": TYPES.INT8,
    "int32": TYPES.INT32,
    "bool": TYPES.BOOL,
    "float16": TYPES.FLOAT16,
}


class Graph:
    """A TFLite model with one subgraph, put together tensor by tensor."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "edgewise.testing"
        self.model.operatorCodes, self.model.buffers = [], [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, name, dtype, shape, *, data=None, scale=None, zero=0):
        tensor = schema.TensorT()
        tensor.name, tensor.type = name, KINDS[dtype]
        tensor.shape = [1 if dim == -1 else dim for dim in shape]
        tensor.shapeSignature = list(shape) if -1 in shape else None
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code, inputs, outputs, kind=0, options=None, version=1):
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), version
        self.model.operatorCodes.append(entry)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.graph.operators.append(operator)

    def signature(self, key, inputs, outputs):
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key, 0
        signature.inputs, signature.outputs = _map(inputs), _map(outputs)
        self.model.signatureDefs = [signature]

    def write(self, name, inputs, outputs):
        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path = FOLDER / f"{name}.tflite"
        path.write_bytes(bytes(builder.Output()))
        print(f"{path.name}: {path.stat().st_size} bytes")


def _map(tensors):
    entries = []
    for name, index in tensors.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        entries.append(entry)
    return entries


def _dense(activation=0):
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = activation
    return schema.BuiltinOptions.FullyConnectedOptions, options


def write_affine():
    """relu(x @ WEIGHTS + BIAS), with a signature whose names differ from the tensors'."""
    graph = Graph()
    x = graph.tensor("inner_x", "float32", (-1, 4))
    weights = graph.tensor("weights", "float32", (3, 4), data=models.WEIGHTS.T)
    bias = graph.tensor("bias", "float32", (3,), data=models.BIAS)
    y = graph.tensor("inner_y", "float32", (-1, 3))
    graph.operator(OPERATORS.FULLY_CONNECTED, [x, weights, bias], [y], *_dense(schema.ActivationFunctionType.RELU))
    graph.signature("serving_default", {"x": x}, {"y": y})
    graph.write("affine", [x], [y])


def write_quantized():
    """The same map in int8 without a signature: names are the tensors'."""
    graph, scales = Graph(), models.QUANTIZED
    x = graph.tensor("x", "int8", (-1, 4), scale=scales.x_scale, zero=scales.x_zero)
    weights = graph.tensor("weights", "int8", (3, 4), data=scales.weights.T, scale=scales.w_scale)
    bias = graph.tensor("bias", "int32", (3,), data=scales.bias, scale=scales.x_scale * scales.w_scale)
    y = graph.tensor("y", "int8", (-1, 3), scale=scales.y_scale, zero=scales.y_zero)
    graph.operator(OPERATORS.FULLY_CONNECTED, [x, weights, bias], [y], *_dense(), version=4)
    graph.write("quantized", [x], [y])


def write_types():
    """Integers, booleans and half precision, each through one operator."""
    graph = Graph()
    kinds = {"i": "int32", "j": "int32", "b": "bool", "h": "float16"}
    i, j, b, h = (graph.tensor(name, dtype, (-1, 2)) for name, dtype in kinds.items())
    added = graph.tensor("i_out", "int32", (-1, 2))
    negated = graph.tensor("b_out", "bool", (-1, 2))
    widened = graph.tensor("h_out", "float32", (-1, 2))
    graph.operator(OPERATORS.ADD, [i, j], [added], schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
    graph.operator(
        OPERATORS.LOGICAL_NOT, [b], [negated], schema.BuiltinOptions.LogicalNotOptions, schema.LogicalNotOptionsT()
    )
    graph.operator(OPERATORS.CAST, [h], [widened], schema.BuiltinOptions.NONE, None, version=1)
    graph.write("types", [i, j, b, h], [added, negated, widened])


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_affine()
    write_quantized()
    write_types()

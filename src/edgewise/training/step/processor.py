"""What onnxruntime does on this processor, asked of onnxruntime itself."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewise.autodiff.blocked_rules import NCHWC
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["block_size"]

_MOST = 16  # channels of the widest block that onnxruntime has (AVX-512)


@cache
def block_size() -> int:
    """Channels of a block in onnxruntime's own layout for convolutions; 0 where it has none on this processor.

    onnxruntime is given a depthwise convolution of one channel to optimise: the weight that it writes back is filled up to one
    block. Whatever goes wrong means 0: the blocked layout is a matter of speed only.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(path)
        try:
            ort.InferenceSession(_convolution(), options, providers=["CPUExecutionProvider"])
            written = onnx.load(str(path))
        except Exception:
            return 0
    return _block_of(written.graph)


def _block_of(graph: onnx.GraphProto) -> int:
    stored = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv" and node.domain == NCHWC and node.input[1] in stored:
            block = stored[node.input[1]][0]
            return int(block) if 1 < block <= _MOST else 0
    return 0


def _convolution() -> bytes:
    weight = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 6, 6])
    graph = helper.make_graph([node], "probe", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())

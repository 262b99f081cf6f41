"""Which initializers of a network are learnt, and how many numbers that is."""

import math

from onnx import ModelProto

__all__ = ["parameter_count", "parameters"]

_CONSTANT = "constant"


def parameters(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every trainable initializer of a network of this package.

    Running averages of batch normalisation are not among them (they follow from the data), nor are constants.
    """
    averages = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    return {
        tensor.name: tuple(tensor.dims)
        for tensor in model.graph.initializer
        if tensor.name not in averages and not tensor.name.startswith(_CONSTANT)
    }


def parameter_count(model: ModelProto) -> int:
    """How many numbers ``parameters`` are, the figure that papers give."""
    return sum(math.prod(shape) for shape in parameters(model).values())

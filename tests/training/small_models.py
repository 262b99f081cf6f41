"""Two small inference graphs that training-mode pieces are tried on."""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

F = TensorProto.FLOAT


def model_of(
    nodes: list[NodeProto], stored: dict[str, np.ndarray], shape: list[int | str], element: int = F, opset: int = 18
) -> ModelProto:
    """x of ``shape`` through ``nodes`` to y."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", element, shape)], [helper.make_tensor_value_info("y", element, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def convolutions() -> ModelProto:
    """x (n, 3, 8, 8): a strided convolution, a depthwise one, a grouped one, pooled, Gemm with transB, MatMul; y (n, 3)."""
    f = np.random.default_rng(5).standard_normal
    stored = {
        "conv.w": f((4, 3, 3, 3)), "conv.b": f(4), "dw.w": f((4, 1, 3, 3)), "dw.b": f(4), "grouped.w": f((6, 2, 1, 1)),
        "gemm.w": f((5, 6)), "gemm.b": f(5), "mm.w": f((5, 3)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "conv.w", "conv.b"], ["a"], "conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "dw.w", "dw.b"], ["c"], "dw", pads=[1, 1, 1, 1], group=4),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("Conv", ["d", "grouped.w"], ["e"], "grouped", group=2),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], "pool"),
        helper.make_node("Flatten", ["f"], ["g"], "flatten"),
        helper.make_node("Gemm", ["g", "gemm.w", "gemm.b"], ["h"], "gemm", transB=1, alpha=0.5),
        helper.make_node("MatMul", ["h", "mm.w"], ["y"], "mm"),
    ]
    return model_of(nodes, {name: value.astype(np.float32) for name, value in stored.items()}, ["n", 3, 8, 8])


def images(count: int = 4, seed: int = 6) -> np.ndarray:
    """Inputs of ``convolutions``."""
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)

"""Small models and samples that the tests of quantization share."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tests.networks.cases import CASES, feeds

from edgewise.compress.samples import Samples
from edgewise.measure.dataset import Dataset
from edgewise.networks.registry import build

Operator = tuple[str, list[str | np.ndarray], list[str], dict[str, object]]


def session(model: ModelProto, save: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if save is not None:
        options.optimized_model_filepath = str(save)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model: ModelProto, fed: dict[str, np.ndarray], output: str | None = None) -> np.ndarray:
    return session(model).run(None if output is None else [output], fed)[0]


def fused(model: ModelProto) -> Counter[str]:
    """Operators that onnxruntime makes of a model."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        session(model, path)
        return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


def decibels(wanted: np.ndarray, given: np.ndarray) -> float:
    noise = np.square(wanted - given, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(wanted, dtype=np.float64).sum() / max(noise, 1e-30)))


def case(name: str, count: int = 32) -> tuple[ModelProto, Samples, dict[str, np.ndarray]]:
    """A reference network with noise as its samples, and a batch of it."""
    network, config, outputs = CASES[name]
    model = build(network, config, 3)
    fed = feeds(model, count)
    entering = model.graph.input[0].name
    data = Dataset(fed[entering], np.zeros(count, np.int64))
    return model, Samples(data, "classification", entering, next(iter(outputs))), fed


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def between_convolutions(
    operators: list[Operator], count: int = 64
) -> tuple[ModelProto, Samples, dict[str, np.ndarray]]:
    """x (n, 4, 8, 8) -> Conv -> "a", the operators, "b" -> Conv -> y."""
    stored: list[TensorProto] = []
    nodes = []

    def name(value: str | np.ndarray) -> str:
        if isinstance(value, str):
            return value
        stored.append(numpy_helper.from_array(value, f"stored{len(stored)}"))
        return stored[-1].name

    first: Operator = ("Conv", ["x", weight(4, 4, 1, 1, seed=1), np.float32([0.1, 0.2, -0.3, 0.1])], ["a"], {})
    last: Operator = ("Conv", ["b", weight(4, 4, 1, 1, seed=2)], ["y"], {})
    for operator, inputs, outputs, attributes in [first, *operators, last]:
        nodes.append(helper.make_node(operator, [name(v) for v in inputs], outputs, f"{outputs[0]}.node", **attributes))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], stored,
    )  # fmt: skip
    x = weight(count, 4, 8, 8, seed=5)
    samples = Samples(Dataset(x, np.zeros(count, np.int64)), "classification", "x", "y")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), samples, {"x": x}

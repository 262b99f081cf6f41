"""A loss alone in a graph: the model's outputs are inputs, so that its value and its gradient can be asked for directly."""

from collections.abc import Callable, Mapping

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, helper

from edgewise.autodiff.differentiate import differentiate
from edgewise.graph.writer import Writer
from edgewise.training.losses.registry import Loss

OPSET = 18
_ELEMENTS = {"float32": 1, "float64": 11}


def open_graph(outputs: Mapping[str, np.ndarray], batch: str = "batch", *, static: bool = False) -> Writer:
    """A graph whose outputs are its inputs ``<name>_in``, with a first dimension that has no number."""
    inputs, nodes, results = [], [], []
    for name, array in outputs.items():
        shape = list(array.shape) if static else [batch, *array.shape[1:]]
        element = _ELEMENTS[array.dtype.name]
        inputs.append(helper.make_tensor_value_info(f"{name}_in", element, shape))
        results.append(helper.make_tensor_value_info(name, element, shape))
        nodes.append(helper.make_node("Identity", [f"{name}_in"], [name], name))
    graph = helper.make_graph(nodes, "g", inputs, results)
    return Writer(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9))


def run(model: ModelProto, feeds: Mapping[str, np.ndarray], names: list[str] | None = None) -> list[np.ndarray]:
    """The model's outputs on the stock runtime, one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(names, dict(feeds)))


def evaluate(
    loss: Loss, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], *, static: bool = False
) -> tuple[float, dict[str, np.ndarray]]:
    """Value of ``loss``, and its gradient in each output."""
    w = open_graph(outputs, static=static)
    kind = next(iter(outputs.values())).dtype.name
    wanted = {spec.name for spec in loss.targets(w, {name: name for name in outputs})}
    value = loss.write(w, {name: name for name in outputs})
    assert wanted <= {item.name for item in w.graph.input}, "what targets() names is what write() reads"
    w.infer()
    assert w.dtype(value) == kind
    assert w.shape(value) == ()
    gradients = differentiate(w, value, [f"{name}_in" for name in outputs]).gradients
    w.infer()
    w.output("loss_value", value, kind, ())
    for name, gradient in gradients.items():
        w.output(f"d_{name}", gradient, kind, None)
    feeds = {f"{name}_in": array for name, array in outputs.items()} | dict(targets)
    names = ["loss_value", *(f"d_{name}" for name in gradients)]
    found = dict(zip(names, run(w.model, feeds, names), strict=True))
    return float(found["loss_value"]), {
        name: found.get(f"d_{name}_in", np.zeros_like(array)) for name, array in outputs.items()
    }


def slopes(formula: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Gradient of ``formula`` by central differences, in float64."""
    at = at.astype(np.float64)
    result = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        high, low = at.copy(), at.copy()
        high[index] += step
        low[index] -= step
        result[index] = (formula(high) - formula(low)) / (2 * step)
    return result


def assert_loss(
    loss: Loss,
    outputs: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    formula: Callable[..., float],
    *,
    static: bool = False,
) -> None:
    """Value and gradient of ``loss`` are those of ``formula(**outputs)`` (plain NumPy), in float64 and in float32."""
    for kind, tolerance in (("float64", 1e-6), ("float32", 2e-4)):
        given = {name: array.astype(kind) for name, array in outputs.items()}
        fed = {name: array.astype(kind) if array.dtype.kind == "f" else array for name, array in targets.items()}
        value, gradients = evaluate(loss, given, fed, static=static)
        wide = {name: array.astype(np.float64) for name, array in given.items()}
        np.testing.assert_allclose(value, formula(**wide), rtol=tolerance / 4, atol=tolerance / 100, err_msg=kind)
        for name in outputs:
            expected = slopes(lambda array, name=name, wide=wide: formula(**(wide | {name: array})), wide[name])
            np.testing.assert_allclose(
                gradients[name], expected, rtol=tolerance, atol=tolerance / 10, err_msg=f"{kind} {name}"
            )

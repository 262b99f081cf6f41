"""Gradients of a graph against central differences of its loss.

A case is a small graph with its inputs in float64. Its loss is the sum of all float outputs, each times fixed random weights
(or without weights, so that gradients stay partial). Loss and gradients run on onnxruntime where it has float64 kernels for
all nodes; else both run in float64 on onnx's reference implementation, and onnxruntime must give the same gradients in
float32, which is what a user runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tests.autodiff.reference_operators import EXACT

from edgewise.autodiff.differentiate import differentiate
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer

__all__ = ["Case", "Held", "Stored", "call", "check", "derive", "gradients", "reference", "run"]

Array = np.ndarray[Any, Any]
STEP = 1e-5


@dataclass(frozen=True)
class Stored:
    """An argument that is an initializer of the model."""

    array: Array


@dataclass(frozen=True)
class Held:
    """A float argument that is fed, but whose gradient is not asked for."""

    array: Array


@dataclass(frozen=True)
class Case:
    """A graph, what is fed and stored, and which inputs get a gradient.

    step: of the central differences; large where the graph is linear but rounds to float32. reference: run the
    float64 graph on onnx's reference implementation even where onnxruntime has kernels.
    """

    nodes: Sequence[NodeProto]
    feeds: Mapping[str, Array]
    outputs: Sequence[str]
    stored: Mapping[str, Array] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    opset: int = 18
    step: float = STEP
    tolerance: float = 2e-6
    reference: bool = False

    @property
    def wanted(self) -> list[str]:
        return [name for name, array in self.feeds.items() if array.dtype.kind == "f" and name not in self.held]

    def as_float32(self) -> "Case":
        cast = {"feeds": self.feeds, "stored": self.stored}
        return replace(self, reference=False, **{k: {n: _narrow(a) for n, a in v.items()} for k, v in cast.items()})

    def model(self, *, symbolic: bool = False) -> ModelProto:
        """symbolic: the first dimension of every input has a name, the same for equal lengths."""
        inputs = [_info(name, array, symbolic) for name, array in self.feeds.items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in self.outputs]
        stored = [numpy_helper.from_array(np.asarray(a), n) for n, a in self.stored.items()]
        graph = helper.make_graph(list(self.nodes), "case", inputs, outputs, stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


def call(operator: str, *arguments: Any, outputs: int | Sequence[str] = 1, opset: int = 18, **more: Any) -> Case:
    """A case of one node. arguments: arrays (fed, floats get a gradient), Stored, Held, or None where one is left out.

    outputs: how many, or their names ("" for one left out). more: fields of Case by name, everything else is an attribute.
    """
    names = [f"y{at}" for at in range(outputs)] if isinstance(outputs, int) else list(outputs)
    fields = {key: more.pop(key) for key in ("step", "tolerance", "reference") if key in more}
    feeds, stored, held, inputs = {}, {}, set(), []
    for at, argument in enumerate(arguments):
        name = f"x{at}" if argument is not None else ""
        inputs.append(name)
        if isinstance(argument, Stored):
            stored[name] = argument.array
        elif argument is not None:
            feeds[name] = np.asarray(argument.array if isinstance(argument, Held) else argument)
            held |= {name} if isinstance(argument, Held) else set()
    node = helper.make_node(operator, inputs, names, operator.lower(), **more)
    return Case([node], feeds, [n for n in names if n], stored, frozenset(held), opset, **fields)


def check(case: Case, *, weighted: bool = True, symbolic: bool = False) -> None:
    """Fail unless every gradient of the case is what central differences say."""
    forward, derived, feeds, names = derive(case, weighted=weighted, symbolic=symbolic)
    use = _runner(case, derived)
    results = use(derived)(feeds)
    found = {name: results.get(gradient, np.zeros_like(feeds[name])) for name, gradient in names.items()}
    for name, gradient in found.items():
        assert gradient.shape == feeds[name].shape, f"gradient of {name}: {gradient.shape} for {feeds[name].shape}"
        assert gradient.dtype == feeds[name].dtype
        assert np.isfinite(gradient).all(), f"gradient of {name} is not finite"
    _compare(case, use(forward), feeds, found)
    if use is _reference:
        narrow, case_feeds = case.as_float32(), feeds
        _, derived, feeds, names = derive(narrow, weighted=weighted, symbolic=symbolic)
        results = _runtime(derived)(feeds)
        exact = use(forward)(case_feeds)["loss"]
        np.testing.assert_allclose(results["loss"], exact, rtol=1e-3, atol=1e-3)
        for name, gradient in names.items():
            got = results.get(gradient, np.zeros_like(feeds[name]))
            np.testing.assert_allclose(
                got, found[name], rtol=2e-3, atol=2e-4 * (1 + np.abs(found[name]).max(initial=0))
            )


def gradients(case: Case, *, weighted: bool = True, symbolic: bool = False) -> dict[str, Array]:
    """The case's gradients as onnxruntime computes them; no entry where nothing flows back."""
    _, derived, feeds, names = derive(case, weighted=weighted, symbolic=symbolic)
    results = _runtime(derived)(feeds)
    return {name: results[gradient] for name, gradient in names.items() if gradient in results}


def run(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a model on onnxruntime, one thread."""
    return _runtime(model)(feeds)


def reference(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a model on onnx's reference implementation, mended where it is not exact."""
    return _reference(model)(feeds)


def derive(
    case: Case, *, weighted: bool, symbolic: bool
) -> tuple[ModelProto, ModelProto, dict[str, Array], dict[str, str]]:
    """The graph of the loss, that of the gradients, what both are fed, and input -> output that is its gradient."""
    w = Writer(case.model(symbolic=symbolic))
    feeds = dict(case.feeds)
    floats = [name for name in case.outputs if w.dtype(name) in {"float32", "float64"}]
    assert floats, "no output is a float whose type onnx infers"
    shapes = _shapes(case, floats)
    del w.graph.output[:]
    kind = "float64" if any(w.dtype(name) == "float64" for name in floats) else "float32"
    total = ""
    random = np.random.default_rng(7)
    for name in floats:
        value = name
        if weighted:
            weights = random.uniform(0.5, 1.5, shapes[name]) * random.choice([-1.0, 1.0], shapes[name])
            known = w.shape(name)
            feeds[f"weights/{name}"] = np.asarray(weights).astype(w.dtype(name))
            value = w.node("Mul", name, w.input(f"weights/{name}", w.dtype(name), known or (None,) * weights.ndim))
        part = w.node("ReduceSum", value, keepdims=0)
        if w.dtype(name) != kind:
            part = w.node("Cast", part, to=onnx.TensorProto.DOUBLE)
        total = w.node("Add", total, part) if total else part
    w.infer()
    forward = Writer(w.model)
    forward.output("loss", total, kind, ())
    derived = differentiate(w, total, case.wanted).gradients
    names = dict.fromkeys(case.wanted, "")
    for name, gradient in derived.items():
        names[name] = w.output(f"gradient/{name}", gradient, w.dtype(name), None)
    w.output("loss", total, kind, ())
    return pruned(forward.model), pruned(w.model), feeds, names


def _compare(
    case: Case,
    loss: Callable[[Mapping[str, Array]], dict[str, Array]],
    feeds: dict[str, Array],
    found: dict[str, Array],
) -> None:
    random = np.random.default_rng(5)
    moves: list[tuple[str, dict[str, Array]]] = []
    for name in case.wanted:
        moves.append((name, {name: random.uniform(-1, 1, feeds[name].shape)}))
        if feeds[name].size <= 6:
            unit = np.eye(feeds[name].size).reshape(-1, *feeds[name].shape)
            moves += [(f"{name} at {at}", {name: one}) for at, one in enumerate(unit)]
    moves.append(("all inputs", {name: random.uniform(-1, 1, feeds[name].shape) for name in case.wanted}))

    def at(move: Mapping[str, Array], step: float) -> float:
        moved = {
            name: np.asarray(feeds[name] + step * change).astype(feeds[name].dtype) for name, change in move.items()
        }
        return float(loss({**feeds, **moved})["loss"])

    for what, move in moves:
        expected = (at(move, case.step) - at(move, -case.step)) / (2 * case.step)
        got = sum(float(np.sum(found[name] * change)) for name, change in move.items())
        size = 1 + abs(expected) + sum(float(np.sum(np.abs(found[name] * change))) for name, change in move.items())
        assert abs(expected - got) <= case.tolerance * size, f"{what}: {got} where differences say {expected}"


def _shapes(case: Case, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    model = case.model()
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    results = _runner(case, model)(model)(case.feeds)
    return {name: results[name].shape for name in names}


Runner = Callable[[Mapping[str, Array]], dict[str, Array]]


def _runner(case: Case, model: ModelProto) -> Callable[[ModelProto], Runner]:
    if case.reference:
        return _reference
    try:
        _runtime(model)
    except ort.capi.onnxruntime_pybind11_state.NotImplemented:
        return _reference
    return _runtime


def _runtime(model: ModelProto) -> Runner:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    inputs = {value.name for value in session.get_inputs()}
    return lambda feeds: dict(
        zip(names, session.run(names, {k: v for k, v in feeds.items() if k in inputs}), strict=True)
    )


def _reference(model: ModelProto) -> Runner:
    evaluator = ReferenceEvaluator(model, new_ops=EXACT)
    names, inputs = [value.name for value in model.graph.output], {value.name for value in model.graph.input}
    return lambda feeds: dict(
        zip(names, map(np.asarray, evaluator.run(None, {k: v for k, v in feeds.items() if k in inputs})), strict=True)
    )


def _info(name: str, array: Array, symbolic: bool) -> onnx.ValueInfoProto:
    dims: list[int | str] = list(array.shape)
    if symbolic and dims:
        dims[0] = f"length{dims[0]}"
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), dims)


def _narrow(array: Array) -> Array:
    return np.asarray(array).astype(np.float32) if array.dtype == np.float64 else array

"""The order of a step's nodes, and computing the forward pass again: other memory, the same numbers."""

import numpy as np
import onnxruntime as ort
import pytest

pytest.importorskip("onnx")

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgewise.autodiff.differentiate import differentiate
from edgewise.autodiff.recompute import recompute
from edgewise.autodiff.schedule import scheduled
from edgewise.graph.order import captured, pruned
from edgewise.graph.writer import Writer

LAYERS, WIDTH, ROWS = 6, 16, 512


def chain() -> tuple[ModelProto, frozenset[str], list[str]]:
    """Six dense layers with Tanh, and all their gradients: the model, its forward values, the gradients' names."""
    rng = np.random.default_rng(0)
    nodes: list[NodeProto] = []
    stored = []
    value = "x"
    for at in range(LAYERS):
        stored.append(numpy_helper.from_array(0.3 * rng.normal(size=(WIDTH, WIDTH)).astype(np.float32), f"w{at}"))
        nodes.append(helper.make_node("MatMul", [value, f"w{at}"], [f"z{at}"], f"product{at}"))
        nodes.append(helper.make_node("Tanh", [f"z{at}"], [f"h{at}"], f"tanh{at}"))
        value = f"h{at}"
    nodes.append(helper.make_node("ReduceSum", [value], ["loss"], "loss", keepdims=0))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, WIDTH])], [], stored
    )
    w = Writer(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    w.infer()
    names = [f"w{at}" for at in range(LAYERS)]
    found = differentiate(w, "loss", names)
    outputs = [w.output(f"d_{name}", found.gradients[name], "float32", (WIDTH, WIDTH)) for name in names]
    assert outputs == [f"d_{name}" for name in names]
    return pruned(w.model), found.forward, [found.gradients[name] for name in names]


def run(model: ModelProto) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32)
    return list(session.run(None, {"x": x}))


def largest(model: ModelProto) -> int:
    """Values of (ROWS, WIDTH) that are alive at once, when nodes run in the order of onnxruntime's own walk."""
    order = walked(model)
    last = {name: at for at, node in enumerate(order) for name in captured(node)}
    rows = {name for node in order for name in node.output if wide(node)}
    alive: set[str] = set()
    most = 0
    for at, node in enumerate(order):
        alive |= {name for name in node.output if name in rows}
        most = max(most, len(alive))
        alive = {name for name in alive if last.get(name, -1) > at}
    return most


def wide(node: NodeProto) -> bool:
    return node.op_type not in {
        "Gemm",
        "Transpose",
        "ReduceSum",
        "Shape",
        "Gather",
        "Cast",
        "Identity",
        "Reshape",
    } and not (node.op_type in {"Add", "Mul"} and any("Shape" in name or "Cast" in name for name in node.input))


def walked(model: ModelProto) -> list[NodeProto]:
    """Graph::ReverseDFSFrom of onnxruntime: from the last node back, of a node's inputs the one that stands last first."""
    nodes = list(model.graph.node)
    maker = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    read = {name for node in nodes for name in captured(node)}
    leaves = [at for at, node in enumerate(nodes) if not any(name in read for name in node.output)]
    result: list[NodeProto] = []
    seen: set[int] = set()
    stack = [(at, False) for at in leaves]
    while stack:
        at, done = stack.pop()
        if done:
            result.append(nodes[at])
        elif at not in seen:
            seen.add(at)
            stack.append((at, True))
            stack += [(other, False) for other in sorted({maker[n] for n in captured(nodes[at]) if n in maker})]
    return result


def test_an_order_changes_no_number() -> None:
    model, forward, gradients = chain()
    for ours, theirs in zip(run(scheduled(model, forward, gradients)), run(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_every_node_comes_after_what_it_reads() -> None:
    model, forward, gradients = chain()
    ready = {value.name for value in model.graph.input} | {tensor.name for tensor in model.graph.initializer}
    for node in scheduled(model, forward, gradients).graph.node:
        assert captured(node) <= ready
        ready |= set(node.output)


def test_the_gradient_of_the_last_layer_stands_last() -> None:
    model, forward, gradients = chain()
    places = {
        name: at for at, node in enumerate(scheduled(model, forward, gradients).graph.node) for name in node.output
    }
    # Between the first two layers nothing is shared but the error of the second: either may come first.
    assert [places[name] for name in gradients[1:]] == sorted(places[name] for name in gradients[1:])


def test_recomputing_changes_no_bit_and_keeps_less() -> None:
    model, forward, gradients = chain()
    whole = scheduled(model, forward, gradients)
    again = scheduled(recompute(model, forward, lambda _: 1, 3), forward, gradients)
    for ours, theirs in zip(run(again), run(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert largest(again) < largest(whole)


def test_one_segment_recomputes_nothing() -> None:
    model, forward, _ = chain()
    assert len(recompute(model, forward, lambda _: 1, 1).graph.node) == len(model.graph.node)

"""A training step written by hand: two layers, softmax cross-entropy, SGD with momentum, clipping, decay, dropout by seed.

Made without the builder, so that what runs steps is tested on its own.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgewise.training.run.step_file import MemoryEstimate, ScalarSpec, StateSpec, StepSpec, TrainingStep, ValueSpec

FEATURES, HIDDEN, CLASSES = 6, 16, 3
SHAPES = {"w1": (FEATURES, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, CLASSES), "b2": (CLASSES,)}
SCALARS = {"learning_rate": 0.1, "weight_decay": 0.0, "max_norm": 1e9, "momentum": 0.9}
_ELEMENTS = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


@dataclass
class _Nodes:
    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]

    def __call__(self, operator: str, *inputs: str, to: str = "", **attributes: object) -> str:
        to = to or f"{operator}_{len(self.nodes)}"
        if "kind" in attributes:  # Cast calls its attribute as the output is called here
            attributes = {"to": attributes["kind"]}
        self.nodes.append(helper.make_node(operator, inputs, [to], to, **attributes))
        return to

    def constant(self, value: object, dtype: str = "float32") -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(value, dtype), name))
        return name


def mlp_step(*, accumulates: int = 1, dropout: bool = False, seed: int = 0, early: bool = False) -> TrainingStep:
    """early: break the promise: write the new momentum of w2 before its old value is read (in place gives other bits)."""
    states = [StateSpec(f"param/{n}", f"next/param/{n}", "float32", s, "parameter", n) for n, s in SHAPES.items()]
    states += [
        StateSpec(f"momentum/{n}", f"next/momentum/{n}", "float32", s, "optimizer", n) for n, s in SHAPES.items()
    ]
    if accumulates > 1:
        states += [StateSpec(f"sum/{n}", f"next/sum/{n}", "float32", s, "optimizer", n) for n, s in SHAPES.items()]
    rng = np.random.default_rng(seed)
    initial = {state.input: np.zeros(state.shape, np.float32) for state in states}
    for name in ("w1", "w2"):
        initial[f"param/{name}"] = rng.normal(0, 0.4, SHAPES[name]).astype(np.float32)
    scalars = [ScalarSpec(name, "float32", value) for name, value in SCALARS.items()]
    logits = ValueSpec("logits", "float32", ("batch", CLASSES))
    spec = StepSpec(
        inputs=(ValueSpec("x", "float32", ("batch", FEATURES)),),
        targets=(ValueSpec("target", "int64", ("batch",), below=CLASSES),),
        scalars=(*scalars, ScalarSpec("seed", "int64", 0)),
        states=tuple(states), loss="loss", grad_norm="grad_norm", outputs=(logits,),
        forward_outputs=(logits,), accumulates=accumulates, memory=MemoryEstimate(20_000, 500),
    )  # fmt: skip
    accumulate = _accumulate(spec, dropout) if accumulates > 1 else None
    return TrainingStep(spec, _step(spec, dropout, early), _forward(spec), accumulate, initial)


def blobs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points that a small network tells apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    centres = np.random.default_rng(99).normal(0, 1.0, (CLASSES, FEATURES))
    return (centres[y] + rng.normal(0, 0.8, (count, FEATURES))).astype(np.float32), y.astype(np.int64)


def _step(spec: StepSpec, dropout: bool, early: bool) -> bytes:
    w = _Nodes([], [])
    grads = _gradients(w, dropout)
    if spec.accumulates > 1:
        share = w.constant(1 / spec.accumulates)
        grads = {name: w("Mul", w("Add", f"sum/{name}", grad), share) for name, grad in grads.items()}
    squares = [w("ReduceSumSquare", grad, keepdims=0) for grad in grads.values()]
    norm = w("Sqrt", w("Sum", *squares), to="grad_norm")
    scale = w("Min", w.constant(1.0), w("Div", "max_norm", w("Max", norm, w.constant(1e-12))))
    for name, grad in grads.items():
        if early and name == "w2":
            w("Add", w("Mul", f"momentum/{name}", "momentum"), grad, to=f"next/momentum/{name}")
            move = w("Add", f"momentum/{name}", f"next/momentum/{name}")
        else:
            old = w("Mul", f"momentum/{name}", "momentum")
            move = w("Add", old, w("Mul", grad, scale), to=f"next/momentum/{name}")
        decayed = w("Add", move, w("Mul", f"param/{name}", "weight_decay"))
        w("Sub", f"param/{name}", w("Mul", decayed, "learning_rate"), to=f"next/param/{name}")
        if spec.accumulates > 1:
            w("Mul", f"sum/{name}", w("Sub", scale, scale), to=f"next/sum/{name}")
    taken = [(v.name, v.dtype, v.shape) for v in spec.batch] + [(s.name, s.dtype, ()) for s in spec.scalars]
    taken += [(s.input, s.dtype, s.shape) for s in spec.states]
    given = [("loss", "float32", ()), ("grad_norm", "float32", ()), ("logits", "float32", ("batch", CLASSES))]
    return _model(w, taken, given + [(s.output, s.dtype, s.shape) for s in spec.states])


def _accumulate(spec: StepSpec, dropout: bool) -> bytes:
    w = _Nodes([], [])
    for name, grad in _gradients(w, dropout).items():
        w("Add", f"sum/{name}", grad, to=f"next/sum/{name}")
    taken = [(v.name, v.dtype, v.shape) for v in spec.batch] + [("seed", "int64", ())] * dropout
    states = [s for s in spec.states if s.input.startswith(("param/", "sum/"))]
    taken += [(s.input, s.dtype, s.shape) for s in states]
    sums = [(s.output, s.dtype, s.shape) for s in states if s.input.startswith("sum/")]
    return _model(w, taken, [("loss", "float32", ()), ("logits", "float32", ("batch", CLASSES)), *sums])


def _forward(spec: StepSpec) -> bytes:
    w = _Nodes([], [])
    hidden = w("Relu", w("Add", w("MatMul", "x", "param/w1"), "param/b1"))
    w("Add", w("MatMul", hidden, "param/w2"), "param/b2", to="logits")
    taken = [("x", "float32", ("batch", FEATURES))]
    taken += [(s.input, s.dtype, s.shape) for s in spec.states if s.role == "parameter"]
    return _model(w, taken, [("logits", "float32", ("batch", CLASSES))])


def _gradients(w: _Nodes, dropout: bool) -> dict[str, str]:
    before = w("Add", w("MatMul", "x", "param/w1"), "param/b1")
    hidden = w("Relu", before)
    mask = _positive(w, before)
    if dropout:
        kept = _kept(w)
        hidden, mask = w("Mul", hidden, kept), w("Mul", mask, kept)
    logits = w("Add", w("MatMul", hidden, "param/w2"), "param/b2", to="logits")
    logs = w("LogSoftmax", logits, axis=1)
    wanted = w("OneHot", "target", w.constant([CLASSES], "int64"), w.constant([0.0, 1.0]))
    rows = w("Cast", w("Shape", "target"), kind=TensorProto.FLOAT)
    count = w("ReduceSum", rows, keepdims=0)
    w("Neg", w("Div", w("ReduceSum", w("Mul", logs, wanted), keepdims=0), count), to="loss")
    d_logits = w("Div", w("Sub", w("Exp", logs), wanted), count)
    axis = w.constant([0], "int64")
    d_before = w("Mul", w("MatMul", d_logits, w("Transpose", "param/w2", perm=[1, 0])), mask)
    return {
        "w1": w("MatMul", w("Transpose", "x", perm=[1, 0]), d_before), "b1": w("ReduceSum", d_before, axis, keepdims=0),
        "w2": w("MatMul", w("Transpose", hidden, perm=[1, 0]), d_logits), "b2": w("ReduceSum", d_logits, axis, keepdims=0),
    }  # fmt: skip


def _positive(w: _Nodes, value: str) -> str:
    return w("Cast", w("Greater", value, w.constant(0.0)), kind=TensorProto.FLOAT)


def _kept(w: _Nodes) -> str:
    """A mask over the hidden units, half of them, that follows from the seed."""
    angle = w("Mul", w("Cast", "seed", kind=TensorProto.FLOAT), w.constant(0.37))
    at = w("Add", w.constant(np.arange(HIDDEN) * 1.7), angle)
    return w("Mul", _positive(w, w("Sin", at)), w.constant(2.0))


def _model(w: _Nodes, taken: list, given: list) -> bytes:
    def info(items: list) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, _ELEMENTS[dtype], shape) for name, dtype, shape in items]

    graph = helper.make_graph(w.nodes, "step", info(taken), info(given), w.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()

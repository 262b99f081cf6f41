"""Building a training step: forward, loss, backward, clipping and optimiser as one ONNX graph for the stock runtime."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgewise.autodiff.blocked import to_blocked
from edgewise.autodiff.differentiate import differentiate
from edgewise.bundle.safetensors import Array
from edgewise.errors import InputError
from edgewise.graph.opset import at_opset
from edgewise.graph.order import pruned
from edgewise.graph.walk import DTYPES, opsets
from edgewise.graph.writer import Writer
from edgewise.training.losses import Loss
from edgewise.training.optimizers import Optimizer, Slot
from edgewise.training.step_file import (
    BUFFER,
    OPTIMIZER,
    PARAMETER,
    ScalarSpec,
    StateSpec,
    StepSpec,
    TrainingStep,
    ValueSpec,
)

__all__ = ["OPSET", "build_step"]

#: Lowest opset of a step graph.
OPSET = 18
_IR = 10
_NO_CLIPPING = 1e38  # a norm that no gradient reaches


def build_step(
    model: ModelProto,
    loss: Loss,
    optimizer: Optimizer,
    parameters: Sequence[str],
    *,
    buffers: Mapping[str, str] | None = None,
    inference: ModelProto | None = None,
    accumulates: int = 1,
    batch: int | None = None,
    block: int = 0,
    outputs: bool = True,
) -> TrainingStep:
    """The step that trains ``parameters`` (initializers of ``model``) to lower ``loss``.

    model: an inference graph, training-mode pieces written in. buffers: initializer -> the value in the graph that replaces
    it after the step (running averages). inference: the graph to predict with; ``model`` itself where none is given.
    accumulates: batches per update. batch: fixes the batch size; the blocked layout (block > 0, channels of a block on this
    processor) needs it. outputs: whether the step gives the model's own outputs too.
    Raises InputError for parameters that are no initializers, UnsupportedError naming the nodes that have no gradient.
    """
    raised = at_opset(model, max(OPSET, opsets(model).get("", OPSET)))
    raised.ir_version = max(raised.ir_version, _IR)
    w = Writer(_fixed(raised, batch) if batch else raised)
    stored = _take_out(w, parameters, dict(buffers or {}))
    given = [value.name for value in w.graph.input]
    own = [(value.name, *_typed(value)) for value in w.graph.output]
    del w.graph.output[:]
    w.infer()
    first = _count(w)
    total = loss.write(w, {name: name for name, _, _ in own})
    targets = [_spec(value) for value in w.graph.input[first:]]
    w.infer()
    if block:
        to_blocked(w, block)
    gradients = differentiate(w, total, list(parameters), block=block)
    missing = [name for name in parameters if name not in gradients]
    if missing:
        raise InputError(
            f"the loss does not depend on {', '.join(missing[:5])}",
            remedy="Leave these parameters out.",
            parameters=missing,
        )
    spec = {
        "inputs": tuple(_spec(value) for value in w.graph.input[: len(given)] if value.name not in stored),
        "targets": tuple(targets), "accumulates": accumulates,
        "forward_outputs": tuple(ValueSpec(name, dtype, shape) for name, dtype, shape in own),
        "outputs": tuple(ValueSpec(name, dtype, shape) for name, dtype, shape in own) if outputs else (),
    }  # fmt: skip
    graphs, slots, norm, loss_name = _finish(
        w, total, gradients, optimizer, buffers or {}, own if outputs else [], accumulates
    )
    states = [*_states(stored, gradients, buffers or {}), *(_slot(slot) for slot in slots)]
    scalars = (
        ScalarSpec("learning_rate", "float32", optimizer.rate),
        ScalarSpec("weight_decay", "float32", optimizer.decay),
        ScalarSpec("max_norm", "float32", _NO_CLIPPING),
    )
    complete = StepSpec(states=tuple(states), loss=loss_name, grad_norm=norm, scalars=scalars, **spec)  # type: ignore[arg-type]
    initial = {state.input: _first(state, stored) for state in states}
    forward = _forward(inference or model, [state.input for state in states if state.role != OPTIMIZER])
    return TrainingStep(complete, graphs[0], forward, graphs[1], initial)


def _count(w: Writer) -> int:
    return len(w.graph.input)


def _fixed(model: ModelProto, batch: int) -> ModelProto:
    """``model`` for one batch size: the first dimension of every input, and whatever has the same name."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    names = set()
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in fixed.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in stored and dims and not dims[0].HasField("dim_value"):
            names.add(dims[0].dim_param)
            dims[0].dim_value = batch
    for value in fixed.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param in names:
                dim.dim_value = batch
    del fixed.graph.value_info[:]
    return fixed


def _take_out(w: Writer, parameters: Sequence[str], buffers: Mapping[str, str]) -> dict[str, Array]:
    """Make inputs of the initializers that a step changes, and give their values."""
    stored = {tensor.name: tensor for tensor in w.graph.initializer}
    unknown = [name for name in (*parameters, *buffers) if name not in stored]
    if unknown:
        raise InputError(f"the model has no initializer {', '.join(unknown[:5])}")
    states = [*parameters, *buffers]
    taken: dict[str, Array] = {name: numpy_helper.to_array(stored[name]) for name in states}
    rest = [tensor for tensor in w.graph.initializer if tensor.name not in taken]
    inputs = [value for value in w.graph.input if value.name not in stored]
    del w.graph.initializer[:], w.graph.input[:]
    w.graph.initializer.extend(rest)
    w.graph.input.extend(inputs)
    for name in states:
        tensor = stored[name]
        w.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
    w.forget(taken)
    return taken


def _finish(
    w: Writer, loss: str, gradients: dict[str, str], optimizer: Optimizer, buffers: Mapping[str, str],
    own: list[tuple[str, str, tuple[int | str, ...]]], accumulates: int,
) -> tuple[tuple[bytes, bytes | None], list[Slot], str, str]:  # fmt: skip
    extra: list[Slot] = []
    accumulate = None
    loss_name = w.output("loss", loss, w.dtype(loss) or "float32", ())
    for name, dtype, shape in own:
        w.graph.output.append(helper.make_tensor_value_info(name, _ELEMENTS[dtype], list(shape)))
    for name, value in buffers.items():
        w.output(f"next/{name}", value, w.dtype(name), w.shape(name))
    if accumulates > 1:
        gradients, extra, accumulate = _accumulated(w, gradients, accumulates)
    norm = _norm(w, gradients)
    norm_name = w.output("grad_norm", norm, "float32", ())
    # The update waits for this number, and it for every gradient: no parameter changes while something still reads it.
    rate, decay, most = (w.input(name, "float32", ()) for name in ("learning_rate", "weight_decay", "max_norm"))
    room = w.node("Div", most, w.node("Add", norm, w.constant(1e-6)))
    scale = w.node("Min", room, w.constant(1.0))
    update = optimizer.write(w, gradients, scale, rate, decay)
    for name, value in update.parameters.items():
        w.output(f"next/{name}", value, w.dtype(name), w.shape(name))
    graphs = (pruned(w.model).SerializeToString(), accumulate)
    return graphs, [*extra, *update.slots], norm_name, loss_name


def _accumulated(w: Writer, gradients: dict[str, str], count: int) -> tuple[dict[str, str], list[Slot], bytes]:
    """Add to the sums of the batches before; the graph that only does that; the mean, for the update."""
    slots: list[Slot] = []
    sums: dict[str, str] = {}
    for name, gradient in gradients.items():
        old = w.input(f"gradient_sum/{name}", w.dtype(name), w.shape(name) or ())
        sums[name] = w.node("Add", old, gradient)
        slots.append(Slot(old, f"next/{old}", w.dtype(name), tuple(w.shape(name) or ())))  # type: ignore[arg-type]
    only = Writer(w.model)
    norm = _norm(only, gradients)
    only.output("grad_norm", norm, "float32", ())
    for slot, name in zip(slots, gradients, strict=True):
        only.output(slot.output, sums[name], slot.dtype, slot.shape)
    means = {name: w.node("Mul", total, w.constant(1 / count, w.dtype(name))) for name, total in sums.items()}
    for slot, name in zip(slots, gradients, strict=True):
        w.output(
            slot.output,
            w.node("Expand", w.constant(0.0, w.dtype(name)), w.node("Shape", sums[name])),
            slot.dtype,
            slot.shape,
        )
    return means, slots, pruned(only.model, keep_inputs=False).SerializeToString()


def _norm(w: Writer, gradients: Mapping[str, str]) -> str:
    parts = []
    for gradient in gradients.values():
        flat = w.node("Reshape", gradient, w.ints(-1))
        square = w.node("ReduceSum", w.node("Mul", flat, flat), w.ints(0), keepdims=1)
        parts.append(square)
    total = parts[0] if len(parts) == 1 else w.node("Concat", *parts, axis=0)
    root = w.node("Sqrt", w.node("ReduceSum", total, keepdims=0))
    return w.node("Cast", root, to=TensorProto.FLOAT)


def _states(
    stored: Mapping[str, Array], gradients: Mapping[str, str], buffers: Mapping[str, str]
) -> Iterable[StateSpec]:
    for name, array in stored.items():
        role = BUFFER if name in buffers else PARAMETER
        if role == PARAMETER and name not in gradients:
            continue
        yield StateSpec(name, f"next/{name}", str(array.dtype), array.shape, role, name)


def _slot(slot: Slot) -> StateSpec:
    return StateSpec(slot.input, slot.output, slot.dtype, slot.shape, OPTIMIZER)


def _first(state: StateSpec, stored: Mapping[str, Array]) -> Array:
    return stored[state.input] if state.input in stored else np.zeros(state.shape, state.dtype)


def _forward(model: ModelProto, states: Sequence[str]) -> bytes:
    """The inference graph, with the trained values as inputs."""
    w = Writer(at_opset(model, max(OPSET, opsets(model).get("", OPSET))))
    w.model.ir_version = max(w.model.ir_version, _IR)
    known = {tensor.name for tensor in w.graph.initializer}
    lost = [name for name in states if name not in known]
    if lost:
        raise InputError(f"the graph to predict with has no initializer {', '.join(lost[:5])}")
    _take_out(w, states, {})
    return pruned(w.model).SerializeToString()


_ELEMENTS = {name: element for element, name in DTYPES.items()}


def _typed(value: ValueInfoProto) -> tuple[str, tuple[int | str, ...]]:
    tensor = value.type.tensor_type
    dims = tuple(
        d.dim_value if d.HasField("dim_value") else (d.dim_param or f"d{at}") for at, d in enumerate(tensor.shape.dim)
    )
    return DTYPES[tensor.elem_type], dims


def _spec(value: ValueInfoProto) -> ValueSpec:
    return ValueSpec(value.name, *_typed(value))

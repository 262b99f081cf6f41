"""Building a training step: forward, loss, backward, clipping and optimiser as one ONNX graph for the stock runtime."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from edgewise.autodiff.blocked import to_blocked
from edgewise.autodiff.differentiate import differentiate
from edgewise.bundle.safetensors import Array
from edgewise.errors import InputError
from edgewise.graph.opset import at_opset
from edgewise.graph.order import pruned
from edgewise.graph.walk import DTYPES, opsets
from edgewise.graph.writer import Writer
from edgewise.training.losses.registry import Loss
from edgewise.training.run.step_file import (
    BUFFER,
    OPTIMIZER,
    PARAMETER,
    ScalarSpec,
    StateSpec,
    StepSpec,
    TrainingStep,
    ValueSpec,
)
from edgewise.training.step.optimizers import Optimizer, Slot
from edgewise.training.step.update import Ending, tidied, write_update

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
    clip_each: bool = False,
    batch: int | None = None,
    block: int = 0,
    segments: int = 1,
    outputs: bool = True,
    leave_out: bool = False,
) -> TrainingStep:
    """The step that trains ``parameters`` (initializers of ``model``) to lower ``loss``.

    model: an inference graph, training-mode pieces written in. buffers: initializer -> the value in the graph that replaces
    it after the step (running averages). inference: the graph to predict with; ``model`` itself where none is given.
    accumulates: batches per update. clip_each: clip the gradient of every batch to ``max_norm`` before it is added to the sum,
    not the mean; with batches of one sample, these are the per-example gradients of DP-SGD (Abadi et al. 2016).
    batch: fixes the batch size; the blocked layout (block > 0, channels of a block on this processor) needs it.
    segments: above 1, only values between so many parts of the forward pass are kept, the rest is computed again for the
    backward pass: less memory, more time. outputs: whether the step gives the model's own outputs too. leave_out: parameters that
    the loss does not depend on stay as they are; else they are an error.
    Raises InputError for parameters that are no initializers or that the loss does not depend on, UnsupportedError naming
    every node that has no gradient.
    """
    w, stored, own = _opened(model, batch, parameters, buffers or {})
    ready = len(w.graph.input)
    answers = {value.name: value.name for value in own}
    declared = {target.name: target for target in loss.targets(w, answers)}
    total = loss.write(w, answers)
    given = [declared.get(value.name, _spec(value)) for value in w.graph.input if value.name not in stored]
    asked = {value.name for value in w.graph.input[ready:]}
    w.infer()
    if block:
        to_blocked(w, block)
    derivative = differentiate(w, total, list(parameters), block=block, frugal=segments > 1)
    if leave_out and 0 < len(derivative.gradients) < len(parameters):
        return build_step(
            model, loss, optimizer, [name for name in parameters if name in derivative.gradients], buffers=buffers,
            inference=inference, accumulates=accumulates, clip_each=clip_each, batch=batch, block=block,
            segments=segments, outputs=outputs)  # fmt: skip
    _require_all(parameters, derivative.gradients)
    rest = Ending(buffers or {}, own if outputs else [], accumulates, clip_each=clip_each)
    made = write_update(w, total, derivative, optimizer, rest)
    states = [*_states(stored, buffers or {}), *(_slot(slot) for slot in made.slots)]
    numbers = tuple(ScalarSpec(value.name, value.dtype, 0.0) for value in given if not value.shape)
    spec = StepSpec(
        inputs=tuple(value for value in given if value.shape and value.name not in asked),
        targets=tuple(value for value in given if value.name in asked),
        scalars=(*_scalars(optimizer), *numbers), states=tuple(states), loss=made.loss, grad_norm=made.norm,
        outputs=tuple(own) if outputs else (), forward_outputs=tuple(own), accumulates=accumulates,
    )  # fmt: skip
    forward = _forward(inference or model, [state.input for state in states if state.role != OPTIMIZER])
    initial = {state.input: _first(state, stored) for state in states}
    step, accumulate = (graph and tidied(graph, w, derivative, segments) for graph in (made.step, made.accumulate))
    return TrainingStep(spec, step or b"", forward, accumulate, initial)


def _opened(
    model: ModelProto, batch: int | None, parameters: Sequence[str], buffers: Mapping[str, str]
) -> tuple[Writer, dict[str, Array], list[ValueSpec]]:
    """The model ready to be extended, the values that the step changes, and its outputs, which are none of the graph's now."""
    raised = at_opset(model, max(OPSET, opsets(model).get("", OPSET)))
    raised.ir_version = max(raised.ir_version, _IR)
    w = Writer(_fixed(raised, batch) if batch else raised)
    stored = _take_out(w, parameters, buffers)
    own = [_spec(value) for value in w.graph.output]
    del w.graph.output[:]
    w.infer()
    return w, stored, own


def _require_all(parameters: Sequence[str], gradients: Mapping[str, str]) -> None:
    missing = [name for name in parameters if name not in gradients]
    if missing:
        raise InputError(
            f"the loss does not depend on {', '.join(missing[:5])}",
            remedy="Leave these parameters out.",
            parameters=missing,
        )


def _scalars(optimizer: Optimizer) -> tuple[ScalarSpec, ...]:
    return (
        ScalarSpec("learning_rate", "float32", optimizer.rate),
        ScalarSpec("weight_decay", "float32", optimizer.decay),
        ScalarSpec("max_norm", "float32", _NO_CLIPPING),
    )


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


def _states(stored: Mapping[str, Array], buffers: Mapping[str, str]) -> Iterable[StateSpec]:
    for name, array in stored.items():
        role = BUFFER if name in buffers else PARAMETER
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


def _typed(value: ValueInfoProto) -> tuple[str, tuple[int | str, ...]]:
    tensor = value.type.tensor_type
    dims = tuple(
        d.dim_value if d.HasField("dim_value") else (d.dim_param or f"d{at}") for at, d in enumerate(tensor.shape.dim)
    )
    return DTYPES[tensor.elem_type], dims


def _spec(value: ValueInfoProto) -> ValueSpec:
    return ValueSpec(value.name, *_typed(value))

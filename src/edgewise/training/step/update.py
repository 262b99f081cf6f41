"""The end of a training step: adding up, clipping, the optimiser, and the tidy file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from onnx import ModelProto, TensorProto, helper

from edgewise.autodiff.differentiate import Derivative
from edgewise.autodiff.recompute import recompute
from edgewise.autodiff.schedule import scheduled
from edgewise.graph.order import pruned
from edgewise.graph.walk import DTYPES
from edgewise.graph.writer import Writer
from edgewise.training.run.step_spec import ValueSpec
from edgewise.training.step.optimizers import Optimizer, Slot

__all__ = ["Ending", "Update", "tidied", "write_update"]

_ELEMENTS = {name: element for element, name in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Ending:
    """What a step gives besides new parameters. buffers: state -> its new value. outputs: the model's own.

    accumulates: batches per update. clip_each: clip each batch's gradient, not their mean.
    """

    buffers: Mapping[str, str]
    outputs: Sequence[ValueSpec]
    accumulates: int = 1
    clip_each: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """What was written. slots: the optimiser's memory. norm, loss: names of outputs. step, accumulate: the graphs."""

    slots: list[Slot]
    norm: str
    loss: str
    step: ModelProto
    accumulate: ModelProto | None


def write_update(w: Writer, loss: str, derivative: Derivative, optimizer: Optimizer, ending: Ending) -> Update:
    """Write the outputs of a step after its gradients.

    The update waits for the gradients' norm, and that for every gradient: no parameter changes while something reads it.
    """
    loss_name = w.output("loss", loss, w.dtype(loss) or "float32", ())
    for own in ending.outputs:
        w.graph.output.append(helper.make_tensor_value_info(own.name, _ELEMENTS[own.dtype], list(own.shape)))
    for name, value in ending.buffers.items():
        w.output(f"next/{name}", value, w.dtype(name), w.shape(name))
    rate, decay, most = (w.input(name, "float32", ()) for name in ("learning_rate", "weight_decay", "max_norm"))
    norm = _norm(w, derivative.gradients)
    w.output("grad_norm", norm, "float32", ())
    scale = w.node("Min", w.node("Div", most, w.node("Add", norm, w.constant(1e-6))), w.constant(1.0))
    slots: list[Slot] = []
    accumulate = None
    gradients = derivative.gradients
    if ending.accumulates > 1:
        gradients, slots, accumulate = _accumulated(w, gradients, ending, scale)
        scale = w.constant(1.0) if ending.clip_each else _scale(w, gradients, most)
    update = optimizer.write(w, gradients, scale, rate, decay)
    for name, value in update.parameters.items():
        w.output(f"next/{name}", value, w.dtype(name), w.shape(name))
    return Update([*slots, *update.slots], "grad_norm", loss_name, w.model, accumulate)


def _accumulated(
    w: Writer, gradients: Mapping[str, str], ending: Ending, scale: str
) -> tuple[dict[str, str], list[Slot], ModelProto]:
    """Add to the sums of the batches before; the graph that only does that; the mean, for the update."""
    slots: list[Slot] = []
    sums: dict[str, str] = {}
    for name, gradient in gradients.items():
        old = w.input(f"gradient_sum/{name}", w.dtype(name), w.shape(name) or ())
        if ending.clip_each:
            factor = scale if w.dtype(name) == "float32" else w.node("CastLike", scale, gradient)
            gradient = w.node("Mul", gradient, factor)  # noqa: PLW2901
        sums[name] = w.node("Add", old, gradient)
        slots.append(Slot(old, f"next/{old}", w.dtype(name), tuple(w.shape(name) or ())))  # type: ignore[arg-type]
    only = Writer(w.model)
    for slot, name in zip(slots, gradients, strict=True):
        only.output(slot.output, sums[name], slot.dtype, slot.shape)
    share = 1 / ending.accumulates
    means = {name: w.node("Mul", total, w.constant(share, w.dtype(name))) for name, total in sums.items()}
    for slot, name in zip(slots, gradients, strict=True):
        # Zeros that follow from the sum, so that they are not written over it before it was read.
        w.output(slot.output, w.node("Sub", sums[name], sums[name]), slot.dtype, slot.shape)
    return means, slots, pruned(only.model, keep_inputs=False)


def _scale(w: Writer, gradients: Mapping[str, str], most: str) -> str:
    room = w.node("Div", most, w.node("Add", _norm(w, gradients), w.constant(1e-6)))
    return w.node("Min", room, w.constant(1.0))


def _norm(w: Writer, gradients: Mapping[str, str]) -> str:
    parts = []
    for gradient in gradients.values():
        flat = w.node("Reshape", gradient, w.ints(-1))
        parts.append(w.node("ReduceSum", w.node("Mul", flat, flat), w.ints(0), keepdims=1))
    total = parts[0] if len(parts) == 1 else w.node("Concat", *parts, axis=0)
    root = w.node("Sqrt", w.node("ReduceSum", total, keepdims=0))
    return w.node("Cast", root, to=TensorProto.FLOAT)


def tidied(model: ModelProto, w: Writer, derivative: Derivative, segments: int) -> bytes:
    """Of all that was written what is needed, in an order that releases memory early; see ``recompute`` for ``segments``."""

    def size(name: str) -> int:
        return prod(dim if isinstance(dim, int) else 1 for dim in w.shape(name) or ())

    whole = pruned(model)
    if segments > 1:
        whole = recompute(whole, derivative.forward, size, segments)
    return scheduled(whole, derivative.forward, list(derivative.gradients.values())).SerializeToString()

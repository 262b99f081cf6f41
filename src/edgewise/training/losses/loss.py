"""What a loss is, and what all of them share: their inputs, and the mean over samples."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from onnx import NodeProto, helper

from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.writer import Dims, Writer
from edgewise.training.run.step_spec import ValueSpec

__all__ = [
    "SAMPLE_WEIGHT",
    "Loss",
    "ask",
    "behind",
    "chosen",
    "known",
    "named",
    "number",
    "number_of",
    "require",
    "sample_mean",
    "stopped",
    "weight_spec",
    "weighted_ratio",
]

#: Name of the input (N,) that says how much each sample counts; 0 leaves one out (the filling of a partial batch).
SAMPLE_WEIGHT = "sample_weight"
_LEAST = 1e-30  # a sum of weights below this counts as none at all: the loss is 0 then, not NaN


class Loss(Protocol):
    """How far a model's outputs are from what they should be. Losses are frozen values; writing one adds nodes to a graph.

    ``outputs`` maps the names of the model's outputs to the values behind them, in the graph of ``writer``.
    """

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """The inputs that ``write`` reads, by exactly these names. One that the model has already is shared with it."""
        ...

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Add the inputs and the nodes; gives the name of the loss, a scalar: a mean over the samples of the batch.

        Raises UnsupportedError where an output has no known type or shape, InputError where a name does not fit.
        """
        ...


def chosen(outputs: Mapping[str, str], name: str) -> str:
    """The value behind output ``name``; the empty name means the only output. Raises InputError where there is no such one."""
    if not name and len(outputs) == 1:
        return next(iter(outputs.values()))
    if name not in outputs:
        asked = f"no output {name!r}" if name else "more than one output, and the loss does not say which it is on"
        raise InputError(
            f"the model has {asked}; its outputs are {', '.join(outputs)}", remedy="Name the loss's output."
        )
    return outputs[name]


def known(writer: Writer, value: str, least_rank: int = 1) -> tuple[str, tuple[int | str, ...]]:
    """Dtype and shape of a value; a dimension without a name gets one. Raises UnsupportedError where they are not known."""
    dtype, shape = writer.dtype(value), writer.shape(value)
    if not dtype.startswith("float") or shape is None or len(shape) < least_rank:
        raise UnsupportedError(
            f"a loss needs a floating-point value with at least {least_rank} dimensions; {value!r} is {dtype or 'unknown'} {shape}",
            remedy="Take another output, or export the model with its output shapes.",
            value=value,
        )
    return dtype, named(shape)


def named(shape: Dims) -> tuple[int | str, ...]:
    """The shape with a name for every dimension that is not a number; the first one is the batch."""
    filled = ("batch" if at == 0 else f"axis_{at}" for at in range(len(shape)))
    return tuple(name if dim is None else dim for dim, name in zip(shape, filled, strict=True))


def number(size: int | str, what: str) -> int:
    """A dimension that must be a number. Raises UnsupportedError where it is not."""
    if isinstance(size, int):
        return size
    raise UnsupportedError(
        f"{what} must be a number, not {size!r}", remedy="Export the model with this dimension fixed."
    )


def number_of(writer: Writer, value: str, axis: int, dtype: str) -> str:
    """How long ``value`` is along ``axis``, as a scalar of ``dtype``."""
    size = writer.node("Gather", writer.node("Shape", value), writer.constant(axis, "int64"))
    return writer.node("Cast", size, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def ask(writer: Writer, spec: ValueSpec) -> str:
    """Declare an input, or share one of the same name, dtype and shape. Raises InputError where the name is something else's."""
    at = next((value for value in writer.graph.input if value.name == spec.name), None)
    if at is not None:
        shape = writer.shape(spec.name)
        if writer.dtype(spec.name) == spec.dtype and shape is not None and _fits(shape, spec.shape):
            return spec.name
        raise InputError(
            f"the loss needs an input {spec}, and the graph has {spec.name!r} as {writer.dtype(spec.name)} {shape}",
            remedy="Give the loss's target another name.",
        )
    name = writer.input(spec.name, spec.dtype, spec.shape)
    if name != spec.name:
        raise InputError(
            f"the name {spec.name!r} of a loss's input is taken in the model", remedy="Give the target another name."
        )
    return name


def _fits(first: Dims, second: Dims) -> bool:
    return len(first) == len(second) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in zip(first, second, strict=True)
    )


def behind(writer: Writer, value: str, operators: Iterable[str], axis: int | None = None) -> str:
    """What went into ``value`` where its last operator is one of ``operators`` (over ``axis``): the logits; else ``value``.

    A model made for inference often ends in Softmax or Sigmoid; a loss is more exact, and faster, on what is before it.
    """
    by_output = {name: node for node in writer.graph.node for name in node.output}
    node = by_output.get(value)
    while node is not None and node.op_type == "Identity":
        node = by_output.get(node.input[0])
    if node is None or node.op_type not in set(operators):
        return value
    rank = len(writer.shape(value) or ())
    own = next((a.i for a in node.attribute if a.name == "axis"), -1)
    if axis is not None and own % rank != axis % rank:
        return value
    return node.input[0] if writer.dtype(node.input[0]) else value


def weight_spec(dtype: str, batch: int | str) -> ValueSpec:
    """The input with one weight for each sample."""
    return ValueSpec(SAMPLE_WEIGHT, dtype, (batch,))


def sample_mean(writer: Writer, losses: str, rank: int, dtype: str, weight: str) -> str:
    """Mean of ``losses``, whose first axis is the sample; ``weight`` (N,) says how much each counts, "" all alike."""
    if not weight:
        return writer.node("ReduceMean", losses, keepdims=0)
    if rank > 1:
        losses = writer.node("ReduceMean", losses, writer.ints(*range(1, rank)), keepdims=0)
    return weighted_ratio(writer, writer.node("Mul", losses, weight), weight, dtype)


def weighted_ratio(writer: Writer, losses: str, weights: str, dtype: str) -> str:
    """Sum of ``losses`` over sum of ``weights``; 0 where the weights are all 0."""
    total = writer.node("ReduceSum", losses, keepdims=0)
    count = writer.node("Max", writer.node("ReduceSum", weights, keepdims=0), writer.constant(_LEAST, dtype))
    return writer.node("Div", total, count)


def stopped(writer: Writer, value: str) -> str:
    """``value``, but nothing flows back through it: an Identity whose name ends in /stop_gradient."""
    output = writer.fresh(f"{value}/stopped")
    node: NodeProto = helper.make_node("Identity", [value], [output], f"{output}/stop_gradient")
    writer.append(node)
    return writer.declare(output, writer.dtype(value), writer.shape(value))


def require(holds: bool, what: str) -> None:
    """Raise InputError with ``what`` where a choice is out of its range."""
    if not holds:
        raise InputError(what)

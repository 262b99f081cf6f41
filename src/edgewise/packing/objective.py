"""What a packed model is to learn by: the value in its graph that the loss is on, and the loss that its task asks for.

A packed graph ends in what an application wants: probabilities, the best few classes, a name. A loss wants the scores before
that, so the way back is followed through whatever only chooses or names.
"""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgewise.bundle.document import Document, Variant
from edgewise.errors import UnsupportedError
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.training.losses.registry import (
    BinaryCrossEntropy,
    CosineDistance,
    CrossEntropy,
    Huber,
    Loss,
    MeanSquaredError,
)
from edgewise.training.rewrites.opening import closed, opened

__all__ = ["Objective", "find_objective"]

_CHOOSE = {"TopK", "ArgMax"}
_MOVE = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
_SMALLEST = 1e-30  # a probability below this counts as this: the logarithm stays finite
_BY_TASK = {"multilabel": "binary-cross-entropy", "regression": "mse"}


@dataclass(frozen=True, slots=True)
class Objective:
    """model: the graph with the value that the loss is on among its outputs. inference: the graph that answers.

    name: what the loss is called. outputs: of ``inference``, in order.
    """

    model: ModelProto
    inference: ModelProto
    loss: Loss
    name: str
    outputs: tuple[str, ...]


def find_objective(model: ModelProto, document: Document, variant: Variant, asked: str = "") -> Objective:
    """The loss ``asked`` for (by the document's task where it is empty) on the output that decides.

    Outputs of text are left out of both graphs: a device names classes by the document's labels.
    Raises UnsupportedError for a task that has no loss of its own where none is asked for, for stateful models, and where
    the value to learn by is not found.
    """
    if document.states:
        raise UnsupportedError(
            f"{document.name} is stateful ({document.states[0].input}), and a step that carries states cannot be made",
            remedy="Pack it without --trainable, or the model without its states.",
        )
    decision = document.decision or document.outputs[0].name
    writer = opened(model)
    numbers = [value for value in writer.graph.output if writer.dtype(value.name) not in {"str", ""}]
    scores = _scores(writer, variant.outputs.get(decision, decision))
    inference = _with_outputs(writer, [value.name for value in numbers])
    if document.task == "classification":
        scores = _logits(writer, scores)
    loss, name = _loss(writer, scores, document.task, asked)
    outputs = tuple(value.name for value in numbers)
    whole = _with_outputs(writer, list(dict.fromkeys((*outputs, scores))))
    return Objective(whole, inference, loss, name, outputs)


def _scores(w: Writer, value: str) -> str:
    """The real numbers behind ``value``: what was chosen from, where it is a choice."""
    made = {name: node for node in w.graph.node for name in node.output if name}
    while (node := _maker(made, value)) is not None:
        if node.op_type in _CHOOSE:
            value = node.input[0]
        elif node.op_type == "Gather" and w.dtype(node.output[0]) == "str":
            value = node.input[1]
        elif node.op_type == "Cast" and not w.dtype(value).startswith("float"):
            value = node.input[0]
        else:
            break
    if not w.dtype(value).startswith("float") or w.shape(value) is None:
        raise UnsupportedError(
            f"the deciding output comes from {value!r} ({w.dtype(value) or 'unknown'}), which no loss can be on",
            remedy="Name an output of real numbers with --decision, or export the model with its scores.",
        )
    return value


def _maker(made: dict[str, NodeProto], value: str) -> NodeProto | None:
    node = made.get(value)
    while node is not None and node.op_type == "Identity":
        node = made.get(node.input[0])
    return node


def _logits(w: Writer, scores: str) -> str:
    """Probabilities that were moved behind their Softmax as their logarithms, whose Softmax they are.

    A loss looks through a Softmax itself where it is the last; on probabilities it would take them for scores.
    """
    made = {name: node for node in w.graph.node for name in node.output if name}
    node, moved = made.get(scores), False
    while node is not None and node.op_type in _MOVE:
        moved = moved or node.op_type != "Identity"
        node = made.get(node.input[0])
    if not moved or node is None or node.op_type != "Softmax":
        return scores
    dtype, shape = w.dtype(scores), w.shape(scores)
    logs = w.node("Log", w.node("Max", scores, w.constant(_SMALLEST, dtype)))
    return w.declare(logs, dtype, shape)


def _loss(w: Writer, scores: str, task: str, asked: str) -> tuple[Loss, str]:
    shape = w.shape(scores) or ()
    name = asked or _BY_TASK.get(task, "")
    if not name and task == "classification":
        single = len(shape) == 1 or all(dim == 1 for dim in shape[1:])
        name = "binary-cross-entropy" if single else "cross-entropy"
    if not name:
        raise UnsupportedError(
            f"the task {task} has no loss of its own", remedy="Name one with --loss, for instance --loss mse."
        )
    if name == "cross-entropy":
        if len(shape) < 2 or any(dim != 1 for dim in shape[2:]):
            raise UnsupportedError(
                f"cross-entropy needs scores (batch, classes), and {scores!r} is {shape}",
                remedy="Name another output with --decision, or another loss with --loss.",
            )
        return CrossEntropy(output=scores, axis=1), name
    losses: dict[str, Loss] = {
        "binary-cross-entropy": BinaryCrossEntropy(output=scores), "mse": MeanSquaredError(output=scores),
        "huber": Huber(output=scores), "cosine": CosineDistance(output=scores),
    }  # fmt: skip
    return losses[name], name


def _with_outputs(w: Writer, names: list[str]) -> ModelProto:
    """A copy of the model with exactly these outputs, and nothing that they do not need."""
    copy = ModelProto()
    copy.CopyFrom(closed(w))
    stated = {value.name: value for value in w.graph.output}
    del copy.graph.output[:]
    for name in names:
        shape = w.shape(name)
        plain = helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(w.dtype(name))), None if shape is None else list(shape)
        )
        copy.graph.output.append(stated.get(name, plain))
    return pruned(copy)

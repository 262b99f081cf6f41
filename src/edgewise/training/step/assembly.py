"""From a model and what is to be learnt of it to a training step, and from trained weights back to a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, numpy_helper

from edgewise.graph.walk import DTYPES
from edgewise.training.losses.registry import Loss
from edgewise.training.rewrites.batch_norm import train_batch_norm
from edgewise.training.rewrites.dequantize import dequantize
from edgewise.training.rewrites.dropout import train_dropout
from edgewise.training.rewrites.freezing import choose_trainable
from edgewise.training.rewrites.lora import Adapter, add_lora, merge
from edgewise.training.rewrites.opening import node_name
from edgewise.training.run.step_file import TrainingStep
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import Optimizer
from edgewise.training.step.processor import block_size

__all__ = ["Assembly", "Choice", "assemble", "choose", "in_floats", "with_weights"]

_QUANTIZED = ("Quant", "Integer")  # in the names of operators over integers that stand for numbers
#: Names that edgewise's own fragments and networks give to what is no weight: the Fourier basis, say.
_CONSTANTS = ("constant*", "*/constant_*")
_FLOATS = {"float16", "bfloat16", "float32", "float64"}


@dataclass(frozen=True, slots=True)
class Choice:
    """model: with its weights as initializers. parameters: those that are trained. adapters: of LoRA, with ``plain`` without.

    named: the caller said which; else those that the loss does not depend on stay as they are.
    """

    model: ModelProto
    parameters: tuple[str, ...]
    adapters: tuple[Adapter, ...] = ()
    plain: ModelProto | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class Assembly:
    """A step, and the model that it trains. batch: fixed in the step, or None."""

    step: TrainingStep
    choice: Choice
    batch: int | None

    def trained(self, weights: Mapping[str, npt.NDArray[np.generic]]) -> ModelProto:
        """The model with these weights (initializer -> array) in place of its own; adapters become part of the weights."""
        if self.choice.plain is None:
            return with_weights(self.choice.model, weights)
        names = {name for adapter in self.choice.adapters for name in (adapter.down, adapter.up)}
        plain = with_weights(self.choice.plain, {name: array for name, array in weights.items() if name not in names})
        return merge(plain, self.choice.adapters, {name: weights[name] for name in names})


def in_floats(model: ModelProto) -> ModelProto:
    """The model in floating point. Raises UnsupportedError, by operator and node, where integers have no exact float form."""
    if any(word in node.op_type for node in model.graph.node for word in _QUANTIZED):
        return dequantize(model).model
    return model


def choose(
    model: ModelProto, only: Sequence[str] = (), freeze: Sequence[str] = (), *, head: Sequence[str] = (), lora: int = 0,
    seed: int = 0,
) -> Choice:  # fmt: skip
    """What is trained: the weights that ``only`` means (all where it is empty) but not ``freeze``; both shell patterns.

    head: initializers of a new last layer, always trained. lora: rank of adapters that learn in place of the weights they
    stand beside, 0 for none. Raises InputError where a pattern matches nothing.
    """
    opened, chosen = choose_trainable(model, tuple(only) or ("*",), (*freeze, *_constants(model)))
    if not lora:
        return Choice(opened, tuple(dict.fromkeys((*chosen, *head))), named=bool(only))
    beside = [
        node_name(node) for node in opened.graph.node
        if node.op_type in {"MatMul", "Gemm", "Conv"} and len(node.input) > 1 and node.input[1] in chosen
        and node.input[1] not in head
    ]  # fmt: skip
    adapted = add_lora(opened, lora, beside or ("*",), seed=seed)
    return Choice(adapted.model, (*adapted.trainable, *head), adapted.adapters, opened, named=bool(only))


def assemble(
    choice: Choice, loss: Loss, optimizer: Optimizer, *, batch: int, accumulates: int = 1, segments: int = 1,
    layout: bool = True,
) -> Assembly:  # fmt: skip
    """The training step: normalisation and dropout as they train, in the layout that is fastest on this machine.

    batch: samples in a batch; the fast layout fixes it. layout: False for the plain layout, in which batches may differ.
    Raises UnsupportedError naming every node that has no gradient.
    """
    trained = set(choice.parameters)
    norms = [
        node_name(node) for node in choice.model.graph.node
        if node.op_type == "BatchNormalization" and node.input[1] in trained
    ]  # fmt: skip
    model, buffers = choice.model, dict[str, str]()
    if norms:
        ready = train_batch_norm(model, norms)
        model, buffers = ready.model, ready.buffers
    if any(node.op_type == "Dropout" for node in model.graph.node):
        model = train_dropout(model)
    block = block_size() if layout and _has_images(choice.model) else 0
    fixed = batch if block else None
    step = build_step(
        model, loss, optimizer, list(choice.parameters), buffers=buffers, inference=choice.model, accumulates=accumulates,
        batch=fixed, block=block, segments=segments, outputs=False, leave_out=not choice.named,
    )  # fmt: skip
    return Assembly(step, choice, fixed)


def _has_images(model: ModelProto) -> bool:
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    return any(node.op_type == "Conv" and ranks.get(node.input[1]) == 4 for node in model.graph.node)


def with_weights(model: ModelProto, weights: Mapping[str, npt.NDArray[np.generic]]) -> ModelProto:
    """A copy of ``model`` with these arrays in place of the initializers of their names; names that it has not are passed over."""
    changed = ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(weights[tensor.name]), tensor.name))
    return changed


def _constants(model: ModelProto) -> list[str]:
    if model.producer_name != "edgewise":
        return []
    floats = [tensor.name for tensor in model.graph.initializer if DTYPES.get(tensor.data_type) in _FLOATS]
    return [name for name in floats if any(fnmatchcase(name, pattern) for pattern in _CONSTANTS)]

"""Fragments for the edges of any model: scores to probabilities or the best few, integers to floats, other layouts."""

from collections.abc import Sequence
from typing import Literal

from onnx import ModelProto

from edgewise.errors import InputError
from edgewise.graph.draft import Draft

__all__ = ["Shape", "dequantize", "labels", "sigmoid", "softmax", "temperature", "top_k", "transpose", "unsqueeze"]

Shape = Sequence[int | str]
_SCORES: Shape = ("batch", "classes")


def softmax(
    input_name: str = "logits",
    output_name: str = "probabilities",
    *,
    shape: Shape = _SCORES,
    axis: int = -1,
    divisor: float = 1.0,
) -> ModelProto:
    """float32 scores to probabilities along ``axis``. divisor: a temperature; above 1 the probabilities even out."""
    draft = Draft("softmax")
    value = input_name if divisor == 1 else _divided(draft, input_name, divisor)
    return _same_shape(draft, input_name, output_name, shape, draft.node("Softmax", value, axis=axis))


def sigmoid(input_name: str = "logits", output_name: str = "probabilities", *, shape: Shape = _SCORES) -> ModelProto:
    """float32 scores to a probability each, for labels that do not exclude each other."""
    draft = Draft("sigmoid")
    return _same_shape(draft, input_name, output_name, shape, draft.node("Sigmoid", input_name))


def temperature(
    divisor: float, input_name: str = "logits", output_name: str = "tempered", *, shape: Shape = _SCORES
) -> ModelProto:
    """float32 scores divided by a temperature (Guo et al., "On calibration of modern neural networks", 2017)."""
    draft = Draft("temperature")
    return _same_shape(draft, input_name, output_name, shape, _divided(draft, input_name, divisor))


def top_k(
    k: int,
    input_name: str = "probabilities",
    *,
    values_name: str = "values",
    indices_name: str = "indices",
    shape: Shape = _SCORES,
) -> ModelProto:
    """The ``k`` largest along the last axis, largest first: float32 values and their int64 indices, (..., k).

    Of equal values the one with the lower index comes first, as the operator TopK has it.
    """
    if k < 1 or (isinstance(shape[-1], int) and k > shape[-1]):
        raise InputError(f"cannot take the {k} largest of {shape[-1]}")
    draft = Draft("top_k")
    results = draft.split("TopK", 2, input_name, draft.ints(k), axis=-1, largest=1, sorted=1)
    found = [*shape[:-1], k]
    outputs = {values_name: ("float32", found), indices_name: ("int64", found)}
    return draft.finish({input_name: ("float32", shape)}, outputs, results)


def labels(
    names: Sequence[str],
    input_name: str = "probabilities",
    *,
    scores_name: str = "scores",
    label_name: str = "label",
    shape: Shape = _SCORES,
) -> ModelProto:
    """The scores as they are, float32 (batch, classes), and the name of the highest, a text (batch)."""
    if not names or (isinstance(shape[-1], int) and shape[-1] != len(names)):
        raise InputError(f"there are {len(names)} names for {shape[-1]} classes")
    draft = Draft("labels")
    best = draft.node("ArgMax", input_name, axis=-1, keepdims=0)
    found = draft.node("Gather", draft.texts(*names), best)
    outputs = {scores_name: ("float32", [*shape[:-1], len(names)]), label_name: ("str", shape[:-1])}
    return draft.finish({input_name: ("float32", [*shape[:-1], len(names)])}, outputs, [input_name, found])


def dequantize(
    scale: float,
    zero_point: int,
    dtype: Literal["int8", "uint8"],
    shape: Shape,
    input_name: str = "quantized",
    output_name: str = "real",
) -> ModelProto:
    """Integers to float32: ``(q - zero_point) * scale``. In front of a float model, for callers with integers."""
    lowest, highest = (-128, 127) if dtype == "int8" else (0, 255)
    if not lowest <= zero_point <= highest or not scale > 0:
        raise InputError(f"a scale of {scale} with the zero point {zero_point} cannot be for {dtype}")
    draft = Draft("dequantize")
    value = draft.node("DequantizeLinear", input_name, draft.constant(scale), draft.constant(zero_point, dtype))
    return draft.finish({input_name: (dtype, shape)}, {output_name: ("float32", shape)}, [value])


def transpose(
    order: Sequence[int],
    shape: Shape,
    dtype: str = "float32",
    input_name: str = "before",
    output_name: str = "after",
) -> ModelProto:
    """Another layout: axis ``i`` of the output is axis ``order[i]`` of the input, whose shape is ``shape``."""
    if sorted(order) != list(range(len(shape))):
        raise InputError(f"{list(order)} is no order of {len(shape)} axes")
    draft = Draft("transpose")
    value = draft.node("Transpose", input_name, perm=list(order))
    outputs = {output_name: (dtype, [shape[axis] for axis in order])}
    return draft.finish({input_name: (dtype, shape)}, outputs, [value])


def unsqueeze(
    axis: int, shape: Shape, dtype: str = "float32", input_name: str = "before", output_name: str = "after"
) -> ModelProto:
    """One more axis, of length 1, at place ``axis``: the channel of a model that wants one."""
    if not 0 <= axis <= len(shape):
        raise InputError(f"there is no place {axis} for an axis among {len(shape)}")
    draft = Draft("unsqueeze")
    value = draft.node("Unsqueeze", input_name, draft.ints(axis))
    wider = [*shape[:axis], 1, *shape[axis:]]
    return draft.finish({input_name: (dtype, shape)}, {output_name: (dtype, wider)}, [value])


def _divided(draft: Draft, value: str, divisor: float) -> str:
    if not divisor > 0:
        raise InputError(f"a temperature of {divisor} is not above 0")
    return draft.node("Div", value, draft.constant(divisor))


def _same_shape(draft: Draft, input_name: str, output_name: str, shape: Shape, value: str) -> ModelProto:
    return draft.finish({input_name: ("float32", shape)}, {output_name: ("float32", shape)}, [value])

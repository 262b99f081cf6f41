"""Small changes to a model's interface."""

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, numpy_helper

from edgewise.errors import InputError, TensorError
from edgewise.graph.inspect import checked, describe

__all__ = ["freeze_input"]


def freeze_input(model: ModelProto, name: str, value: npt.ArrayLike) -> ModelProto:
    """A copy of ``model`` with the input ``name`` turned into the constant ``value``: a sample rate, a threshold.

    A scalar fills a shape whose dimensions are all 1. Raises InputError where there is no such input, or no other one;
    TensorError where ``value`` does not fit its dtype or shape.
    """
    inputs = {item.name: item for item in describe(model).inputs}
    if name not in inputs or len(inputs) < 2:
        raise InputError(
            f"{name!r} cannot be frozen; the model's inputs are {', '.join(inputs)}, and one has to remain"
        )
    wanted = inputs[name]
    array = np.asarray(value)
    shape = wanted.shape
    if shape is not None and array.ndim == 0 and all(dim == 1 for dim in shape):
        array = array.reshape([1] * len(shape))
    fits = shape is None or (
        len(shape) == array.ndim and all(isinstance(d, str) or d == n for d, n in zip(shape, array.shape, strict=True))
    )
    if array.dtype.name != wanted.dtype or not fits:
        raise TensorError(f"{name} is {wanted.dtype} {shape}; the value is {array.dtype.name} {array.shape}", name=name)
    frozen = ModelProto()
    frozen.CopyFrom(model)
    kept = [item for item in model.graph.input if item.name != name]
    del frozen.graph.input[:]
    frozen.graph.input.extend(kept)
    frozen.graph.initializer.append(numpy_helper.from_array(array, name))
    return checked(frozen)

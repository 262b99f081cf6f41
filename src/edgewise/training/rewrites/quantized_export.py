"""From a model trained with rounding to one that stores and computes integers: QuantizeLinear and DequantizeLinear."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, helper

from edgewise.errors import InputError
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.fake_quant import Quantizer
from edgewise.training.rewrites.opening import opened, remove

__all__ = ["write_qdq"]

_LEAST = 1e-8


def write_qdq(
    model: ModelProto, quantizers: Sequence[Quantizer], values: Mapping[str, npt.NDArray[np.generic]] | None = None
) -> ModelProto:
    """The model with every quantizer as QuantizeLinear and DequantizeLinear; weights stored as int8, with their scales.

    model: as ``fake_quantize`` gave it. values: trained initializers, by name, that take the place of the stored ones. The
    outputs are those of the rounding model. Raises InputError where the model is not the one the quantizers are of.
    """
    writer = opened(model)
    makers = {name: node for node in writer.graph.node for name in node.output}
    arrays = dict(values or {})
    known = {tensor.name for tensor in writer.graph.initializer}
    lost = [name for name in arrays if name not in known] + [q.output for q in quantizers if q.output not in makers]
    if lost:
        raise InputError(f"the model has no {', '.join(lost[:5])}", remedy="Pass the model that fake_quantize gave.")
    for tensor in [t for t in writer.graph.initializer if t.name in arrays]:
        writer.graph.initializer.remove(tensor)
    for name, array in arrays.items():
        writer.store(name, np.asarray(array))
    remove(writer, [makers[q.output] for q in quantizers])
    for quantizer in quantizers:
        _write(writer, quantizer)
    return pruned(writer.model)


def _write(w: Writer, q: Quantizer) -> None:
    scale = w.array(q.scale)
    assert scale is not None, q.scale
    scale = np.maximum(scale, np.asarray(_LEAST, scale.dtype))
    zero = np.full(scale.shape, q.zero_point, q.dtype)
    names = [w.store(w.fresh(f"{q.output}/{part}"), value) for part, value in (("scale", scale), ("zero_point", zero))]
    axis = {} if q.axis is None else {"axis": q.axis}
    stored = w.array(q.value)
    if stored is None:
        integers = w.fresh(f"{q.output}/integers")
        w.append(helper.make_node("QuantizeLinear", [q.value, *names], [integers], integers, **axis))
    else:
        low, high = q.limits
        shape = [-1 if at == q.axis else 1 for at in range(stored.ndim)]
        column = scale.reshape(shape) if q.axis is not None else scale
        whole = np.clip(np.round(np.asarray(stored) / column), low, high) + q.zero_point
        integers = w.store(w.fresh(f"{q.value}/integers"), whole.astype(q.dtype))
    w.append(helper.make_node("DequantizeLinear", [integers, *names], [q.output], w.fresh("DequantizeLinear"), **axis))

"""The range of values inside a model, measured over samples."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, ValueInfoProto

from edgewise.errors import InputError
from edgewise.graph.order import captured

__all__ = ["activation_ranges"]


def activation_ranges(
    model: ModelProto,
    values: Sequence[str],
    batches: Iterable[Mapping[str, npt.NDArray[np.generic]]],
    *,
    share: float = 1.0,
) -> dict[str, tuple[float, float]]:
    """Lowest and highest of each value over all batches (feeds of the model's inputs).

    share: below 1, each batch's outermost (1 - share)/2 on either side are left out, and the bounds are averaged over the
    batches: outliers then cost no precision. Raises InputError where a value is not in the model, or there is no batch.
    """
    read = {name for node in model.graph.node for name in (*captured(node), *node.output)}
    lost = [name for name in values if name not in read]
    if lost:
        raise InputError(f"the model has no value {', '.join(lost[:5])}")
    watched = ModelProto()
    watched.CopyFrom(model)
    inputs = {item.name for item in model.graph.input}
    outputs = {item.name for item in model.graph.output}
    inner = [name for name in values if name not in inputs]
    watched.graph.output.extend(ValueInfoProto(name=name) for name in inner if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in values}
    edges = ((1 - share) / 2, (1 + share) / 2)
    for batch in batches:
        computed = dict(zip(inner, session.run(inner, dict(batch)), strict=True)) if inner else {}
        for name, bounds in found.items():
            array = np.asarray(computed[name] if name in computed else batch[name])
            low, high = (array.min(), array.max()) if share >= 1 else np.quantile(array, edges)
            bounds.append((float(low), float(high)))
    if not all(found.values()):
        raise InputError("no batch to measure ranges on")
    if share >= 1:
        return {name: (min(b[0] for b in bounds), max(b[1] for b in bounds)) for name, bounds in found.items()}
    return {
        name: (float(np.mean([b[0] for b in bounds])), float(np.mean([b[1] for b in bounds])))
        for name, bounds in found.items()
    }

"""What a unit is worth: its weights, what the loss would feel without it, how much it says. Their mean in a family is one."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import onnxruntime
from onnx import ModelProto, ValueInfoProto

from edgewise.autodiff.differentiate import differentiate
from edgewise.compress.cutting import Cut
from edgewise.compress.prune.coupling import Coupling, Family, Unit
from edgewise.compress.samples import Samples, feed_of
from edgewise.compress.tuning import Tuning, loss_for
from edgewise.measure.npz import Array
from edgewise.training.data.conversion import FrontGraph
from edgewise.training.rewrites.opening import closed, opened
from edgewise.training.step.assembly import choose

__all__ = ["Importance", "Scores", "fed", "gradients_squared", "importance"]

Importance = Literal["magnitude", "taylor", "activation"]
#: Key of a unit -> what it is worth, one on average in its family.
Scores = Mapping[int, float]
_AT_ONCE = 32
_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN"}


def importance(coupling: Coupling, parts: Cut, samples: Samples, how: Importance, count: int = 512) -> Scores:
    """A score for every unit. count: samples looked at.

    magnitude: sum of squared weights over the unit (Li et al. 2017, over coupled layers as in Fang et al. 2023). taylor: sum of
    (gradient x weight)^2 over the unit, added up over batches (Molchanov et al. 2019). activation: mean absolute value that layers
    read of it (Hu et al. 2016 count zeros instead).
    """
    if how == "activation":
        means = _activations(coupling, parts, samples, count)
        return _normalised(coupling.families, lambda unit: _over(unit, means))
    if how == "taylor":
        worth = gradients_squared(coupling.model, parts, samples, count)
    else:
        writer = opened(coupling.model)
        arrays = {name: writer.array(name) for name in choose(coupling.model).parameters}
        worth = {name: np.square(array.astype(np.float64)) for name, array in arrays.items() if array is not None}
    totals = _totals(coupling, worth)
    return _normalised(coupling.families, lambda unit: _sum(unit, totals))


def gradients_squared(model: ModelProto, parts: Cut, samples: Samples, count: int) -> dict[str, Array]:
    """(gradient x weight)^2 of each weight of ``model``, the core of ``parts`` or what it was made into, summed over batches."""
    choice = choose(model)
    writer = opened(choice.model)
    loss = loss_for(samples, Tuning(label_smoothing=0.0), taught=False)
    answers = {value.name: value.name for value in writer.graph.output}
    loss.targets(writer, answers)
    total = loss.write(writer, answers)
    writer.infer()
    found = differentiate(writer, total, list(choice.parameters)).gradients
    del writer.graph.output[:]
    writer.graph.output.extend(ValueInfoProto(name=name) for name in dict.fromkeys(found.values()))
    weights = {name: array for name in found if (array := writer.array(name)) is not None}
    session = _session(closed(writer))
    sums: dict[str, Array] = {name: np.zeros(array.shape) for name, array in weights.items()}
    for feed in fed(parts, samples, count, targets=True):
        for (name, _), gradient in zip(found.items(), session.run(list(found.values()), feed), strict=True):
            sums[name] += np.square(gradient.astype(np.float64) * weights[name])
    return sums


def fed(parts: Cut, samples: Samples, count: int, *, targets: bool = False) -> list[dict[str, Array]]:
    """Batches of what the core takes, from ``count`` samples. targets: with the truth."""
    front = None if parts.front is None else FrontGraph(parts.front.SerializeToString())
    rows, chance = samples.rows(count), np.random.default_rng(samples.seed)
    batches = []
    for at in range(0, len(rows), _AT_ONCE):
        x = samples.data.x[rows[at : at + _AT_ONCE]]
        batch = feed_of(x, parts.seam) if front is None else {parts.seam: front(np.ascontiguousarray(x), chance)}
        if targets:
            y = samples.data.y[rows[at : at + _AT_ONCE]]
            batch["target"] = y.astype(np.int64 if samples.task == "classification" else np.float32)
        batches.append(batch)
    return batches


def _session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _totals(coupling: Coupling, worth: Mapping[str, Array]) -> dict[tuple[str, int], Array]:
    """Worth of each index along each axis of each weight."""
    return {
        (name, at): array.sum(axis=tuple(k for k in range(array.ndim) if k != at))
        for name, array in worth.items() if name in coupling.axes.known for at in range(array.ndim)
    }  # fmt: skip


def _sum(unit: Unit, totals: Mapping[tuple[str, int], Array]) -> float:
    return float(
        sum(totals[place.tensor, place.axis][list(place.indices)].sum()
            for place in unit.places if (place.tensor, place.axis) in totals)
    )  # fmt: skip


def _over(unit: Unit, means: Mapping[tuple[str, int], Array]) -> float:
    found = [
        float(means[place.tensor, place.axis][list(place.indices)].mean())
        for place in unit.places if (place.tensor, place.axis) in means
    ]  # fmt: skip
    return float(np.mean(found)) if found else 0.0


def _activations(coupling: Coupling, parts: Cut, samples: Samples, count: int) -> dict[tuple[str, int], Array]:
    """Mean absolute value of each channel of the values that layers read."""
    read = {name for node in coupling.model.graph.node if node.op_type in _LAYERS for name in node.input}
    wanted = {
        (place.tensor, place.axis) for family in coupling.families for unit in family.units for place in unit.places
        if not place.stored and place.tensor in read
    }  # fmt: skip
    names = sorted({name for name, _ in wanted})
    watched = ModelProto()
    watched.CopyFrom(coupling.model)
    outputs = {value.name for value in watched.graph.output}
    watched.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in outputs)
    session, sums, seen = _session(watched), dict[tuple[str, int], Array](), 0
    for batch in fed(parts, samples, count) if names else []:
        values = dict(zip(names, session.run(names, batch), strict=True))
        size = len(next(iter(batch.values())))
        seen += size
        for name, at in wanted:
            value = np.abs(np.asarray(values[name], np.float64))
            mean = value.mean(axis=tuple(k for k in range(value.ndim) if k != at)) * size
            sums[name, at] = sums.get((name, at), np.zeros(mean.shape)) + mean
    return {key: total / max(seen, 1) for key, total in sums.items()}


def _normalised(families: tuple[Family, ...], worth: Callable[[Unit], float]) -> Scores:
    scores = {}
    for family in families:
        own = np.array([worth(unit) for unit in family.units])
        mean = own.mean()
        for unit, score in zip(family.units, own / mean if mean > 0 else np.ones(len(own)), strict=True):
            scores[unit.key] = float(score)
    return scores

"""What pruning is held against: the same model with zeros in place of what was taken out."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, numpy_helper

from edgewise.compress.prune.coupling import Coupling
from edgewise.training.step.assembly import choose, with_weights


def some(coupling: Coupling, share: float, seed: int, *, exact: bool = True) -> set[int]:
    """Keys of a random share of every family, never of all of it. exact: only of those that zeros stand for."""
    chance, gone = np.random.default_rng(seed), set[int]()
    for family in coupling.families:
        count = min(int(np.ceil(len(family.units) * share)), len(family.units) - 1)
        for at in chance.permutation(len(family.units))[:count]:
            if family.units[at].exact or not exact:
                gone.add(family.units[at].key)
    return gone


def masked(coupling: Coupling, gone: Iterable[int]) -> ModelProto:
    """The whole model, with every weight of the units ``gone`` at zero."""
    weights = choose(coupling.model).parameters
    arrays = {name: array.copy() for name in weights if (array := coupling.axes.writer.array(name)) is not None}
    taken = set(gone)
    for unit in (unit for family in coupling.families for unit in family.units if unit.key in taken):
        for place in unit.places:
            if place.tensor in arrays:
                where: list[slice | list[int]] = [slice(None)] * arrays[place.tensor].ndim
                where[place.axis] = list(place.indices)
                arrays[place.tensor][tuple(where)] = 0
    return with_weights(coupling.model, arrays)


def run(model: ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, dict(feeds)
    )


def noisy(model: ModelProto, seed: int) -> ModelProto:
    """Weights with noise on all of them: networks start with zeros and ones that would hide a mistake."""
    chance, arrays = np.random.default_rng(seed), {}
    choice = choose(model)
    for tensor in choice.model.graph.initializer:
        if tensor.name in choice.parameters:
            array = numpy_helper.to_array(tensor)
            arrays[tensor.name] = (array + chance.normal(size=array.shape) * 0.1).astype(array.dtype)
    return with_weights(choice.model, arrays)

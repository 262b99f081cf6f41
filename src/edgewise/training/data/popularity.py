"""What everybody chose lately, as the part of a recommendation that needs no learning.

What a user chooses is for the most part what everybody chooses at that moment, and that moment passes. A bias for each item that
is learnt over a long time is wrong at its end; one that is learnt from the last days alone leaves nothing to learn tastes from. So
each sample is learnt against the popularity of its own moment, as a fixed offset of the scores, and what is learnt is how
tastes differ from it. The model that is shipped has the popularity of the last moment as its bias.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from edgewise.errors import InputError
from edgewise.measure.npz import Array
from edgewise.training.data.batches import Batches

__all__ = ["BIAS", "MOMENT", "MomentBatches", "Popularity", "bias_as_input", "popularity", "with_bias"]

#: Name of the recommender's bias, and of the input that stands in for it.
BIAS = "items.bias"
#: Name of the array with each sample's row of the table.
MOMENT = "moment"
_DAY = 86_400  # seconds
_NEVER = -30.0  # of the padding: exp of it is nothing
_SLOTS = 0.5  # days between two rows of the table


@dataclass(frozen=True, slots=True)
class Popularity:
    """table: (moments, items + 1) logarithms. slot: (N,) which row each sample is learnt against. last: (items + 1,) at the end."""

    table: Array
    slot: Array
    last: Array

    def for_all(self, count: int) -> Array:
        """The last moment's, for each of ``count`` samples; a view."""
        return np.broadcast_to(self.last, (count, len(self.last)))


@dataclass(frozen=True, slots=True)
class MomentBatches:
    """Batches in which the number of a moment is replaced by the popularity at it."""

    batches: Batches
    table: Array

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        for batch in self.batches.epoch(seed, epoch, start):
            yield {**{name: array for name, array in batch.items() if name != MOMENT}, BIAS: self.table[batch[MOMENT]]}


def popularity(
    item: Array, time: Array, sample: Array, *, items: int, half_life: float = 2.0, least: float = 0.02
) -> Popularity:  # fmt: skip
    """Logarithm of how often each item was chosen before each moment, a choice counting half after ``half_life`` days.

    item, time: (M,) choices up to the end, in the order of time (seconds). sample: (N,) moments of what is learnt. least: added
    to every count, so that a new item has a chance. Raises InputError for a half-life or a ``least`` of 0.
    """
    if half_life <= 0 or least <= 0:
        raise InputError("the half-life of popularity and what is added to it are above 0")
    end = float(time[-1]) + 1
    grid = np.append(np.arange(float(sample.min()), end, _SLOTS * _DAY), end)
    table = np.empty((len(grid), items + 1), np.float32)
    counts, now, at = np.zeros(items + 1), float(time[0]), 0
    for row, moment in enumerate(grid):
        upto = int(np.searchsorted(time, moment, side="left"))
        counts *= 0.5 ** ((moment - now) / _DAY / half_life)
        np.add.at(counts, item[at:upto], 0.5 ** ((moment - time[at:upto]) / _DAY / half_life))
        now, at = moment, upto
        table[row] = np.log(counts + least)
    table[:, 0] = _NEVER
    slot = np.searchsorted(grid, sample, side="right") - 1
    return Popularity(table, slot.clip(0, len(grid) - 1), table[-1])


def bias_as_input(model: ModelProto) -> ModelProto:
    """The recommender with a bias for each sample, (N, items + 1), as an input in place of the stored one."""
    changed = ModelProto()
    changed.CopyFrom(model)
    stored = [tensor for tensor in changed.graph.initializer if tensor.name != BIAS]
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == BIAS)
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(stored)
    batch = changed.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    changed.graph.input.append(helper.make_tensor_value_info(BIAS, bias.data_type, [batch, bias.dims[0]]))
    return changed


def with_bias(model: ModelProto, values: Array) -> ModelProto:
    """The inverse: ``values`` (items + 1,) stored, and no input."""
    changed = ModelProto()
    changed.CopyFrom(model)
    kept = [value for value in changed.graph.input if value.name != BIAS]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    changed.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), BIAS))
    return changed

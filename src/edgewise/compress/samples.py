"""The samples that passes may look at: to measure ranges on, to learn from. Never those that the result is judged by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array
from edgewise.training.augment.step import Step
from edgewise.training.data.chance import chance
from edgewise.training.recipes.judging import Task

__all__ = ["Samples", "feed_of", "joined_inputs"]

_AT_ONCE = 32  # samples in a batch of ranges


@dataclass(frozen=True, slots=True)
class Samples:
    """data: x (N, ...) as the model takes it, y the truth. input: the model's input that takes x. output: the one that decides.

    Of a model with several inputs x has a field for each (see ``joined_inputs``), and ``input`` is the first one's name.
    steps: augmentation of x while something learns. seed: of every draw.
    """

    data: Dataset
    task: Task
    input: str
    output: str
    steps: tuple[Step, ...] = ()
    seed: int = 0

    def rows(self, count: int) -> Array:
        """Indices of ``count`` samples (all where there are fewer), drawn by the seed; every class in proportion, none left out."""
        total, draw = len(self.data), chance(self.seed, 0)
        order = draw.permutation(total)
        if count >= total:
            return order
        if self.data.y.ndim != 1 or self.data.y.dtype.kind not in "iub":
            return order[:count]
        # Samples of each class spread evenly over the whole, so that any beginning has them all in proportion.
        classes = self.data.y[order]
        place = np.empty(total)
        for each in np.unique(classes):
            own = np.flatnonzero(classes == each)
            place[own] = (np.arange(len(own)) + 0.5) / len(own)
        return order[np.argsort(place, kind="stable")][:count]

    def feeds(self, count: int) -> Iterator[dict[str, Array]]:
        """Batches of ``count`` samples in all, without augmentation: the model's input -> (n, ...)."""
        rows = self.rows(count)
        for at in range(0, len(rows), _AT_ONCE):
            yield self.feed(self.data.x[rows[at : at + _AT_ONCE]])

    def feed(self, x: Array) -> dict[str, Array]:
        """What the model takes for ``x``: input -> (n, ...)."""
        return feed_of(x, self.input)


def joined_inputs(arrays: Mapping[str, Array]) -> Array:
    """Several inputs' arrays (N, ...) as one array (N,) with a field for each, so that samples stay one thing to draw and split."""
    first = next(iter(arrays.values()))
    joined = np.empty(len(first), [(name, array.dtype, array.shape[1:]) for name, array in arrays.items()])
    for name, array in arrays.items():
        joined[name] = array
    return joined


def feed_of(x: Array, name: str) -> dict[str, Array]:
    """Each field of ``x`` for the input of its name; an ``x`` without fields for the input ``name``."""
    fields = x.dtype.names
    return {each: np.ascontiguousarray(x[each]) for each in fields} if fields else {name: np.ascontiguousarray(x)}

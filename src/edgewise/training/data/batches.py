"""Batches of samples, the same ones whenever they are asked for: what a training loop is fed with.

A batch is a pure function of (seed, epoch, number of the batch). So a run that was killed continues with the batch that came
next, without drawing all those before it, and without a generator's state in the checkpoint.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import Literal, Protocol

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array
from edgewise.training.augment.step import Encoder, Step, apply_steps
from edgewise.training.data.chance import chance
from edgewise.training.data.ordering import Order, Shuffled, endless

__all__ = ["SAMPLE_WEIGHT", "ArrayBatches", "Batches", "MixedBatches", "Part", "StreamBatches", "arrays_of"]

#: The name of the input (N,) that says how much each sample of a batch counts.
SAMPLE_WEIGHT = "sample_weight"
_ORDER, _BATCH, _PART = 0, 1, 2  # first step of a path of chance: what the draw is for


class Batches(Protocol):
    """What a loop takes: so many batches an epoch, each a mapping of input and target names to arrays."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        """The batches of one epoch from number ``start`` on. The same arguments give the same bytes."""
        ...


def arrays_of(data: Dataset, input: str = "x", target: str = "target") -> dict[str, Array]:  # noqa: A002
    """``data`` under the names of a model's input and a loss's target; classes as int64, other targets as float32."""
    y = data.y.astype(np.int64 if data.y.dtype.kind in "iub" else np.float32, copy=False)
    return {input: data.x, target: y}


@dataclass(frozen=True, slots=True)
class ArrayBatches:
    """Batches out of arrays in memory.

    arrays: name -> (N, ...). size: samples in a batch. order: how an epoch goes through them. last: what becomes of the samples
    that do not fill a batch: ``keep`` them as a smaller one, ``drop`` them, or ``pad`` with other samples that weigh 0 (every
    batch then has ``sample_weight``). steps: augmentation and conversion of the array ``input`` (the first one where no name
    is given), in turn; those that mix labels change ``target`` too. encoder: makes the model's inputs out of what the steps
    left of that array, and takes its place.
    """

    arrays: Mapping[str, Array]
    size: int = 64
    order: Order = field(default_factory=Shuffled)
    last: Literal["keep", "drop", "pad"] = "keep"
    steps: tuple[Step, ...] = ()
    input: str = ""
    target: str = "target"
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        total = _length_of(self.arrays)
        if self.size < 1:
            raise DataError(f"a batch has at least one sample, not {self.size}", rule="batches-size")
        if self.input and self.input not in self.arrays:
            raise DataError(f"there is no array {self.input}; there are {', '.join(self.arrays)}", rule="batches-name")
        if not len(self):
            raise DataError(
                f"{total} samples do not fill one batch of {self.size}",
                remedy="Use a smaller batch, or keep the last batch though it is smaller.", rule="batches-few",
            )  # fmt: skip

    def __len__(self) -> int:
        rows = self.order.count(_length_of(self.arrays))
        return rows // self.size if self.last == "drop" else ceil(rows / self.size)

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        rows = self.order.rows(_length_of(self.arrays), chance(seed, epoch, _ORDER))
        for at in range(start, len(self)):
            chosen = rows[at * self.size : (at + 1) * self.size]
            missing = self.size - len(chosen) if self.last == "pad" else 0
            batch = _taken(self.arrays, np.concatenate([chosen, np.resize(rows, missing)]) if missing else chosen)
            if self.last == "pad":
                weights = batch.get(SAMPLE_WEIGHT, np.ones(self.size, np.float32))
                weights[self.size - missing :] = 0
                batch[SAMPLE_WEIGHT] = weights
            yield _changed(batch, self, self.input, self.target, chance(seed, epoch, _BATCH, at))


@dataclass(frozen=True, slots=True)
class Part:
    """One source of a mixture. arrays: name -> (N, ...). share: its part of each batch. steps, encoder: as in ArrayBatches."""

    arrays: Mapping[str, Array]
    share: float
    steps: tuple[Step, ...] = ()
    encoder: Encoder | None = None


@dataclass(frozen=True, slots=True)
class MixedBatches:
    """Every batch from several sources in fixed shares: new samples beside replayed old ones, so that the old stay known.

    (Replay against forgetting: Rolnick et al. 2019, arXiv 1811.11682.) An epoch goes once through the first part; each part is
    drawn in shuffles of its own that go on over the epochs, so that a large old part is seen whole in time. All batches are full.
    """

    parts: tuple[Part, ...]
    size: int = 64
    input: str = ""
    target: str = "target"

    def __post_init__(self) -> None:
        if not self.parts or any(not 0 < part.share < float("inf") for part in self.parts):
            raise DataError("a mixture needs parts with shares above 0", rule="batches-shares")
        if self.size < len(self.parts):
            raise DataError(f"a batch of {self.size} has no room for {len(self.parts)} parts", rule="batches-size")
        first = _form_of(self.parts[0].arrays)
        for at, part in enumerate(self.parts):
            _length_of(part.arrays)
            # Shapes may differ before the steps: old samples are perhaps kept in another form than new ones.
            if list(_form_of(part.arrays)) != list(first):
                raise DataError(
                    f"part {at} of the mixture has the arrays {', '.join(part.arrays)}; part 0 has {', '.join(first)}",
                    rule="batches-parts",
                )

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples of each part in a batch: the shares by largest remainder, and at least one."""
        whole = sum(part.share for part in self.parts)
        exact = [part.share / whole * self.size for part in self.parts]
        counts = [max(1, int(count)) for count in exact]
        by_need = sorted(range(len(exact)), key=lambda at: (counts[at] - exact[at], at))
        while sum(counts) < self.size:
            counts[by_need[0]] += 1
            by_need = [*by_need[1:], by_need[0]]
        while sum(counts) > self.size:
            counts[counts.index(max(counts))] -= 1
        return tuple(counts)

    def __len__(self) -> int:
        return ceil(_length_of(self.parts[0].arrays) / self.counts[0])

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        counts = self.counts
        for at in range(start, len(self)):
            number = epoch * len(self) + at
            drawn = []
            for which, (part, count) in enumerate(zip(self.parts, counts, strict=True)):
                rows = endless(_length_of(part.arrays), number * count, count, seed, _PART, which)
                rng = chance(seed, epoch, _BATCH, at, which)
                drawn.append(_changed(_taken(part.arrays, rows), part, self.input, self.target, rng))
            yield {name: _joined(name, [batch[name] for batch in drawn]) for name in drawn[0]}


@dataclass(frozen=True, slots=True)
class StreamBatches:
    """Batches that somebody else makes, for data that does not fit in memory.

    make: (seed, epoch) -> the batches of that epoch; resuming gives the same bits only if it gives the same batches for the same
    arguments. count: how many an epoch has. Skipping draws and discards.
    """

    make: Callable[[int, int], Iterable[Mapping[str, Array]]]
    count: int

    def __len__(self) -> int:
        return self.count

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        given = start
        for batch in islice(self.make(seed, epoch), start, self.count):
            given += 1
            yield dict(batch)
        if given < self.count:
            raise DataError(
                f"the stream of epoch {epoch} ended after {given} batches; {self.count} were announced",
                remedy="Give the number of batches that an epoch really has.", rule="batches-stream",
            )  # fmt: skip


def _length_of(arrays: Mapping[str, Array]) -> int:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "none"
        raise DataError(f"arrays to train with need the same number of samples: {shown}", rule="batches-lengths")
    return next(iter(lengths.values()))


def _form_of(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: arrays[name].shape[1:] for name in sorted(arrays)}


def _taken(arrays: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    return {name: array[rows] for name, array in arrays.items()}


def _changed(
    batch: dict[str, Array], how: ArrayBatches | Part, name: str, target: str, rng: np.random.Generator
) -> dict[str, Array]:
    name = name or next(iter(batch))
    if how.steps:
        batch[name], mixed = apply_steps(how.steps, batch[name], batch.get(target), rng)
        if mixed is not None:
            batch[target] = mixed
    if how.encoder is not None:
        batch = {**how.encoder(batch.pop(name), rng), **batch}
    return {name: np.ascontiguousarray(array) for name, array in batch.items()}


def _joined(name: str, arrays: list[Array]) -> Array:
    forms = {(array.shape[1:], array.dtype) for array in arrays}
    if len(forms) > 1:
        shown = " and ".join(f"{dtype} {shape}" for shape, dtype in sorted(forms, key=str))
        raise DataError(f"the parts of the mixture differ in {name}: {shown}", rule="batches-parts")
    return np.concatenate(arrays)

"""Holding data out: by chance with the classes in proportion, or whole groups at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array
from edgewise.training.augment.step import need
from edgewise.training.data.chance import chance

__all__ = ["Split", "each_group_out", "split", "split_groups"]

_DRAWS = 200  # orders of the groups that are tried; the best of them is taken


@dataclass(frozen=True, slots=True)
class Split:
    """What is trained with, and what is held out."""

    train: Dataset
    evaluation: Dataset


def split(data: Dataset, share: float = 0.2, seed: int = 0) -> Split:
    """Holds out about ``share`` of the samples of each class (of all samples where ``y`` is no class).

    Of a class with two samples or more, one at least is on each side. Samples that are alike because they come from one
    source end up on both sides: where that is known, use ``split_groups``. Raises DataError where nothing would be left.
    """
    need("split", (0 < share < 1, f"the share is in 0..1, not {share}"))
    rng = chance(seed)
    classes = _classes(data)
    held = np.zeros(len(data), bool)
    for value in range(int(classes.max()) + 1):
        rows = rng.permutation(np.flatnonzero(classes == value))
        count = round(share * len(rows))
        held[rows[: min(max(count, 1), len(rows) - 1)]] = True
    if not held.any() and len(data) > 1:
        raise DataError(
            "one sample of every class is too few to hold any out",
            remedy="Add samples; or is y no class at all?",
            rule="split-few",
        )
    return _halves(data, held)


def split_groups(data: Dataset, share: float = 0.2, seed: int = 0) -> Split:
    """Holds out whole groups, about ``share`` of the samples: the honest test where samples of one group are alike.

    Of many orders of the groups, the one is taken whose held-out part is nearest to ``share`` of each class. Raises DataError
    where the data has no groups, or where no choice leaves every class something to train with.
    """
    need("split", (0 < share < 1, f"the share is in 0..1, not {share}"))
    names, groups, classes = *_groups(data), _classes(data)
    counts = np.zeros((len(names), int(classes.max()) + 1), np.int64)
    np.add.at(counts, (groups, classes), 1)
    total, best, rng = counts.sum(axis=0), (np.inf, np.empty(0, np.int64)), chance(seed)
    for _ in range(_DRAWS):
        order = rng.permutation(len(names))
        sizes = np.cumsum(counts[order].sum(axis=1))[:-1]
        for taken in (int(np.abs(sizes - share * len(data)).argmin()) + 1, 1):
            out = counts[order[:taken]].sum(axis=0)
            far = float(np.abs(out - share * total).sum()) if (out < total).all() else np.inf
            if far < best[0]:
                best = (far, order[:taken])
    if not np.isfinite(best[0]):
        raise DataError(
            "no choice of groups leaves every class something to train with: a class has all its samples in one group",
            remedy="Record more groups of the rare class, or leave it out.",
            rule="split-groups",
        )
    return _halves(data, np.isin(groups, best[1]))


def each_group_out(data: Dataset) -> Iterator[tuple[str, Split]]:
    """Each group's name, and the split that holds out that group alone: leave one person (machine, recording) out, in turn."""
    names, groups = _groups(data)
    for at, name in enumerate(names):
        yield str(name), _halves(data, groups == at)


def _groups(data: Dataset) -> tuple[Array, Array]:
    if data.group is None:
        raise DataError(
            f"{data.name or 'the data'} has no groups to keep on one side",
            remedy="Add an array (a column) group that says what each sample comes from, or split by chance.",
            rule="split-groups",
        )
    names, groups = np.unique(data.group, return_inverse=True)
    if len(names) < 2:
        raise DataError("all samples are of one group: there is none to hold out", rule="split-groups")
    return names, groups


def _classes(data: Dataset) -> Array:
    if data.y.ndim != 1 or data.y.dtype.kind not in "iub":
        return np.zeros(len(data), np.int64)
    return np.unique(data.y, return_inverse=True)[1]


def _halves(data: Dataset, held: Array) -> Split:
    if held.all() or not held.any():
        raise DataError(f"{len(data)} samples are too few to hold some out", remedy="Add samples.", rule="split-few")
    return Split(data.take(~held), data.take(held))

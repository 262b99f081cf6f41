"""A promise for each class that a variant decides, so that a rare one is not sacrificed."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.routing.rejection import Test
from edgewise.routing.risk import Promise, fit_groups, fit_threshold, least_samples

__all__ = ["fit_classes", "large_enough"]


def large_enough(group: Array, promise: Promise, block: Array | None = None) -> list[str]:
    """Labels of which there are enough samples (or blocks) for a promise of their own, if they share delta among themselves.

    Which labels these are hangs on how often each is decided, and not on what is lost: choosing them costs nothing.
    """
    names, counts = np.unique(group, return_counts=True)
    if block is not None:
        counts = np.array([len(np.unique(block[group == name])) for name in names])
    ranked = np.argsort(-counts, kind="stable")
    for many in range(len(names), 0, -1):
        if counts[ranked[many - 1]] >= least_samples(replace(promise, delta=promise.delta / many)):
            return sorted(str(name) for name in names[ranked[:many]])
    return []


def fit_classes(
    score: Array, loss: Array, group: Array, promise: Promise, test: Test, *, block: Array | None = None, seed: int = 0
) -> Mapping[str, float]:
    """Label -> threshold; infinity, so never kept, for one of which there are too few samples. All promises hold together.

    Raises DataError where no label has enough.
    """
    names = large_enough(group, promise, block)
    if not names:
        labels, counts = np.unique(group, return_counts=True)
        raise DataError(
            f"no class has enough samples for a promise of its own; the most, {counts.max()}, are of {labels[counts.argmax()]}",
            remedy=f"{least_samples(promise)} of a class are the least at this promise; or promise for all classes together.",
        )
    among = np.isin(group, names)
    own = None if block is None else block[among]
    rows = np.arange(int(among.sum()))
    # fit_groups hands the losses of one group on: with them goes which rows they are, for the blocks.
    fitted = fit_groups(
        score[among], rows, group[among], promise,
        lambda scores, part, shared: fit_threshold(
            scores, loss[among][part], shared, test, block=None if own is None else own[part], seed=seed
        ),
    )  # fmt: skip
    return {str(name): fitted[name].threshold if name in names else math.inf for name in np.unique(group).tolist()}

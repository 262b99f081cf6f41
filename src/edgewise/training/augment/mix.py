"""Augmentation that mixes samples with each other, and their targets with them."""

from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.training.augment.step import as_float, like, need, sides

__all__ = ["Mixup", "soft_labels"]


@dataclass(frozen=True, slots=True)
class Mixup:
    """Each sample and its target mixed with another one's: l x_i + (1 - l) x_j, l drawn from Beta(alpha, alpha).

    (Zhang et al. 2018, arXiv 1710.09412.) Targets must be numbers that can be mixed: ``soft_labels``, or values of a regression.
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        need("mixup", (self.alpha > 0, f"alpha is above 0, not {self.alpha}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        """The samples alone; the same as ``mix`` gives for the same generator."""
        share, other = self._drawn(len(x), rng)
        return _mixed(x, share, other)

    def mix(self, x: Array, y: Array, rng: np.random.Generator, /) -> tuple[Array, Array]:
        if y.dtype.kind != "f":
            raise DataError(
                f"mixup needs soft labels (N, classes), not class numbers ({y.dtype} {y.shape})",
                remedy="Use soft labels and a loss that takes them.", rule="augment-labels",
            )  # fmt: skip
        share, other = self._drawn(len(x), rng)
        return _mixed(x, share, other), _mixed(y, share, other)

    def _drawn(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        share = rng.beta(self.alpha, self.alpha, n)
        return np.maximum(share, 1 - share), rng.permutation(n)  # the sample itself keeps the larger share


def soft_labels(y: Array, classes: int, smoothing: float = 0.0) -> Array:
    """Class numbers (N,) as float32 (N, classes); the share ``smoothing`` is spread over all classes (Szegedy et al. 2016)."""
    if y.ndim != 1 or y.dtype.kind not in "iub" or not len(y) or y.min() < 0 or y.max() >= classes:
        raise DataError(f"labels are to be (N,) numbers in 0..{classes - 1}", rule="augment-labels")
    need("label smoothing", (0 <= smoothing < 1, f"it is in 0..1, not {smoothing}"))
    return (np.eye(classes, dtype=np.float32) * (1 - smoothing) + np.float32(smoothing / classes))[y.astype(np.int64)]


def _mixed(x: Array, share: Array, other: Array) -> Array:
    values = as_float(x)
    weight = share.reshape(-1, *sides(x)).astype(values.dtype)
    return like(values * weight + values[other] * (1 - weight), x.dtype)

"""Augmentation of text that is ids already: (N, length) integers, 0 is padding (Wei and Zou 2019, arXiv 1901.11196)."""

from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.training.augment.step import need

__all__ = ["TokenDropout", "TokenSwap"]


@dataclass(frozen=True, slots=True)
class TokenDropout:
    """Each id becomes padding with the probability ``rate``, in its place; one of each text always stays."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        need("drop", (0 <= self.rate <= 1, f"a rate is in 0..1, not {self.rate}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        draws = np.where(_ids(x) != 0, rng.random(x.shape), -1.0)
        kept = (draws >= self.rate) | (draws == draws.max(axis=1, keepdims=True))
        return np.where(kept, x, np.zeros((), x.dtype))


@dataclass(frozen=True, slots=True)
class TokenSwap:
    """Each id changes places with its neighbour with the probability ``rate``; for models that mind the order."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        need("swap", (0 <= self.rate <= 1, f"a rate is in 0..1, not {self.rate}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        out = _ids(x).copy()
        # Pairs (0, 1), (2, 3), ... or (1, 2), (3, 4), ... for each text, so that no id is moved twice.
        first = rng.integers(0, 2, len(x))[:, None]
        places = np.arange(x.shape[1] - 1)
        left, right = out[:, :-1], out[:, 1:]
        swapped = ((places - first) % 2 == 0) & (rng.random(left.shape) < self.rate) & (left != 0) & (right != 0)
        rows, at = np.nonzero(swapped)
        out[rows, at], out[rows, at + 1] = x[rows, at + 1], x[rows, at]
        return out


def _ids(x: Array) -> Array:
    if x.ndim != 2 or x.dtype.kind not in "iu":
        raise DataError(
            f"text ids are (N, length) integers, not {x.dtype} {x.shape}",
            remedy="Choose the augmentation of another kind of data, or none.", rule="augment-shape",
        )  # fmt: skip
    return x

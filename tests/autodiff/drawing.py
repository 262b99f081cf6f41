"""Random shapes and values for cases. Values keep away from each other and from 0, so that differences meet no kink."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.autodiff.finite_differences import Case

__all__ = ["Builder", "Draw", "apart", "broadcastable", "flag", "positive", "random_of", "shape_of", "side"]

Array = np.ndarray[Any, Any]
Draw = Callable[..., Any]
Builder = Callable[[Draw], Case]


def random_of(draw: Draw) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**16)))


def flag(draw: Draw) -> bool:
    return bool(draw(st.booleans()))


def side(draw: Draw, low: int = 1, high: int = 4) -> int:
    return int(draw(st.integers(low, high)))


def shape_of(draw: Draw, low: int = 1, high: int = 4, largest: int = 4) -> tuple[int, ...]:
    rank = draw(st.integers(low, high))
    return tuple(draw(st.integers(1, largest)) for _ in range(rank))


def broadcastable(draw: Draw, count: int = 2) -> Sequence[tuple[int, ...]]:
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=3))
    return list(shapes.input_shapes)


def apart(random: np.random.Generator, shape: Sequence[int], reach: float = 2.0) -> Array:
    """All different, none 0, between -reach and reach."""
    count = int(np.prod(shape))
    ranks = random.permutation(count) - count // 2 + 0.3
    return np.asarray(ranks * (2 * reach / max(count + 1, 4))).reshape(shape)


def positive(random: np.random.Generator, shape: Sequence[int], low: float = 0.3, high: float = 2.0) -> Array:
    """All different, between low and high."""
    count = int(np.prod(shape))
    return np.asarray(low + (random.permutation(count) + 0.5) * ((high - low) / count)).reshape(shape)

"""Starting values of weights. Each draws from the generator it is given, in float32."""

from math import prod

import numpy as np
import numpy.typing as npt

from edgewise.errors import InputError

__all__ = ["Weights", "glorot", "he", "normal", "orthogonal"]

_LARGEST = 1 << 28  # values of one weight: 1 GiB, and an ONNX file holds 2
Weights = npt.NDArray[np.float32]


def he(random: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Weights:
    """Normal with variance 2 / fan_in: keeps the size of signals through ReLU (He et al. 2015, arXiv 1502.01852, eq. 10)."""
    return normal(random, shape, (2 / fan_in) ** 0.5)


def glorot(random: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Weights:
    """Uniform within sqrt(6 / (fan_in + fan_out)): for layers without ReLU behind them (Glorot and Bengio 2010, eq. 16)."""
    limit = (6 / (fan_in + fan_out)) ** 0.5
    _within_reach(shape)
    return random.uniform(-limit, limit, shape).astype(np.float32)


def orthogonal(random: np.random.Generator, size: int) -> Weights:
    """A random rotation (size, size), for recurrent weights (Saxe et al. 2014, arXiv 1312.6120)."""
    _within_reach((size, size))
    q, r = np.linalg.qr(random.standard_normal((size, size)))
    return (q * np.sign(np.diagonal(r))).astype(
        np.float32
    )  # the signs make it uniform over all rotations (Mezzadri 2007)


def normal(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Weights:
    """Normal around 0."""
    _within_reach(shape)
    return (random.standard_normal(shape) * deviation).astype(np.float32)


def _within_reach(shape: tuple[int, ...]) -> None:
    if prod(shape) > _LARGEST:
        raise InputError(
            f"a weight of the shape {shape} takes {prod(shape) * 4 / 2**30:.3g} GiB",
            remedy="Make the network smaller (--set), or number tokens and items from 0 without gaps.",
        )

"""Starting values of weights. Each draws from the generator it is given, in float32."""

from math import prod

import numpy as np
import numpy.typing as npt

from edgewise.errors import InputError

__all__ = ["Weights", "glorot", "he", "normal", "orthogonal"]

_MOST_BYTES = 1 << 31  # protobuf's limit for a message, and so for an ONNX file
Weights = npt.NDArray[np.float32]


def he(random: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Weights:
    """Normal with variance 2 / fan_in: keeps the size of signals through ReLU (He et al. 2015, arXiv 1502.01852, eq. 10)."""
    return normal(random, shape, (2 / fan_in) ** 0.5)


def glorot(random: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Weights:
    """Uniform within sqrt(6 / (fan_in + fan_out)): for layers without ReLU behind them (Glorot and Bengio 2010, eq. 16)."""
    _refuse_too_large(shape)
    limit = (6 / (fan_in + fan_out)) ** 0.5
    return random.uniform(-limit, limit, shape).astype(np.float32)


def orthogonal(random: np.random.Generator, size: int) -> Weights:
    """A random rotation (size, size), for recurrent weights (Saxe et al. 2014, arXiv 1312.6120)."""
    _refuse_too_large((size, size))
    q, r = np.linalg.qr(random.standard_normal((size, size)))
    return (q * np.sign(np.diagonal(r))).astype(
        np.float32
    )  # the signs make it uniform over all rotations (Mezzadri 2007)


def normal(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Weights:
    """Normal around 0."""
    _refuse_too_large(shape)
    return (random.standard_normal(shape) * deviation).astype(np.float32)


def _refuse_too_large(shape: tuple[int, ...]) -> None:
    if (size := 4 * prod(shape)) >= _MOST_BYTES:
        raise InputError(
            f"one weight would have the shape {shape} and take {size / 2**30:.0f} GiB, and a model is at most 2 GiB",
            remedy="Make widths (--set) or, where ids of tokens or items decide, the highest id smaller.",
        )

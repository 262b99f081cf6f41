"""Layers over images (N, C, H, W) and signals (N, C, T)."""

from typing import Literal

import numpy as np

from edgewise.graph.writer import Dims
from edgewise.networks.builder import Builder
from edgewise.networks.initial import he

__all__ = [
    "Pooling",
    "batch_norm",
    "conv",
    "conv_block",
    "dropout",
    "global_pool",
    "pool",
    "relu",
    "separable_block",
    "upsample",
]

#: What is kept of a feature map over all positions: its mean, its largest value, or both side by side.
Pooling = Literal["mean", "max", "mean+max"]
_EPSILON, _MOMENTUM = 1e-5, 0.9  # ONNX's defaults; torch calls the same momentum 0.1


def conv(
    net: Builder, x: str, channels: int, name: str, *,
    kernel: tuple[int, ...], stride: tuple[int, ...] | int = 1, groups: int = 1, bias: bool = False,
) -> str:  # fmt: skip
    """Convolution whose output has ceil(size / stride) positions; the kernel's length says over how many axes.

    Padding is the same on both sides, as torch writes it, except for an even kernel with stride 1, where the extra row goes to
    the end. Weights (channels, C / groups, *kernel), He-initialised.
    """
    strides = (stride,) * len(kernel) if isinstance(stride, int) else stride
    batch, entering, *sizes = net.shape(x)
    assert isinstance(entering, int)
    pads = [_pads(*axis) for axis in zip(sizes, kernel, strides, strict=True)]
    shape = (entering // groups, *kernel)
    weight = net.parameter(f"{name}.weight", he(net.random, (channels, *shape), int(np.prod(shape))))
    inputs = [x, weight, net.parameter(f"{name}.bias", np.zeros(channels))] if bias else [x, weight]
    return net.node(
        name, "Conv", *inputs, shape=(batch, channels, *_strided(sizes, strides)), kernel_shape=list(kernel),
        strides=list(strides), pads=[low for low, _ in pads] + [high for _, high in pads], group=groups,
    )  # fmt: skip


def batch_norm(net: Builder, x: str, name: str) -> str:
    """BatchNormalization in its inference form: ``scale``, ``bias`` and the running ``mean`` and ``var`` (0 and 1 at first)."""
    channels = net.known(x, 1)
    stored = [
        net.parameter(f"{name}.{part}", np.full(channels, start))
        for part, start in (("scale", 1), ("bias", 0), ("mean", 0), ("var", 1))
    ]
    return net.node(name, "BatchNormalization", x, *stored, shape=net.shape(x), epsilon=_EPSILON, momentum=_MOMENTUM)


def relu(net: Builder, x: str, name: str) -> str:
    """max(x, 0)."""
    return net.node(name, "Relu", x, shape=net.shape(x))


def conv_block(
    net: Builder, x: str, channels: int, name: str, *,
    kernel: tuple[int, ...], stride: tuple[int, ...] | int = 1, depthwise: bool = False,
) -> str:  # fmt: skip
    """Convolution, batch normalisation, ReLU. ``depthwise``: every channel by itself."""
    groups = channels if depthwise else 1
    x = conv(net, x, channels, f"{name}.conv", kernel=kernel, stride=stride, groups=groups)
    return relu(net, batch_norm(net, x, f"{name}.bn"), f"{name}.relu")


def separable_block(
    net: Builder, x: str, channels: int, name: str, *, kernel: tuple[int, ...], stride: tuple[int, ...] | int = 1
) -> str:
    """Depthwise block, then a pointwise one (Howard et al. 2017, arXiv 1704.04861, figure 3)."""
    entering = net.known(x, 1)
    x = conv_block(net, x, entering, f"{name}.depthwise", kernel=kernel, stride=stride, depthwise=True)
    return conv_block(net, x, channels, f"{name}.pointwise", kernel=(1,) * len(kernel))


def pool(net: Builder, x: str, name: str, how: Literal["max", "mean"] = "max") -> str:
    """Every two neighbours along each axis to one; an odd last row is left out."""
    batch, channels, *sizes = net.shape(x)
    two = [2] * len(sizes)
    shape = (batch, channels, *(size // 2 if isinstance(size, int) else None for size in sizes))
    return net.node(name, "MaxPool" if how == "max" else "AveragePool", x, shape=shape, kernel_shape=two, strides=two)


def global_pool(net: Builder, x: str, name: str, how: Pooling = "mean") -> str:
    """(N, C, ...) to (N, C), or (N, 2 C) for both kinds, the mean first."""
    batch, channels, *sizes = net.shape(x)
    assert isinstance(channels, int)
    kept: Dims = (batch, channels, *(1 for _ in sizes))
    parts = []
    for part in how.split("+"):
        operator = "GlobalAveragePool" if part == "mean" else "GlobalMaxPool"
        pooled = net.node(f"{name}.{part}", operator, x, shape=kept)
        parts.append(net.node(f"{name}.{part}.flat", "Flatten", pooled, shape=(batch, channels), axis=1))
    if len(parts) == 1:
        return parts[0]
    return net.node(name, "Concat", *parts, shape=(batch, len(parts) * channels), axis=1)


def upsample(net: Builder, x: str, channels: int, name: str) -> str:
    """Twice the positions along each axis by a transposed convolution of kernel 2 (Ronneberger et al. 2015, "up-convolution")."""
    batch, entering, *sizes = net.shape(x)
    assert isinstance(entering, int)
    two = [2] * len(sizes)
    # With a stride as wide as the kernel each output sees one input position: the fan-in is the number of channels.
    weight = net.parameter(f"{name}.weight", he(net.random, (entering, channels, *two), entering))
    bias = net.parameter(f"{name}.bias", np.zeros(channels))
    shape = (batch, channels, *(size * 2 if isinstance(size, int) else None for size in sizes))
    return net.node(name, "ConvTranspose", x, weight, bias, shape=shape, kernel_shape=two, strides=two)


def dropout(net: Builder, x: str, rate: float, name: str) -> str:
    """Dropout, which does nothing at inference; without a node where ``rate`` is 0 (Srivastava et al. 2014)."""
    if not rate:
        return x
    return net.node(name, "Dropout", x, net.writer.constant(rate), shape=net.shape(x))


def _pads(size: int | str | None, kernel: int, stride: int) -> tuple[int, int]:
    if not isinstance(size, int):
        return (kernel - 1) // 2, kernel // 2  # ceil(size / stride) for any size
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    if stride == 1:
        return total // 2, total - total // 2
    return (total + 1) // 2, (total + 1) // 2  # one more than needed is lost in the division by the stride


def _strided(sizes: list[int | str | None], strides: tuple[int, ...]) -> list[int | None]:
    return [-(-size // stride) if isinstance(size, int) else None for size, stride in zip(sizes, strides, strict=True)]

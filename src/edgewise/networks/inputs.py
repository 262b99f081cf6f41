"""What a network takes, and the nodes that bring it from the form of a data set to float32."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from edgewise.errors import InputError
from edgewise.networks.builder import Builder

__all__ = ["Derived", "ImageInput", "SequenceInput", "TokenInput", "one_of", "problems_refused"]

#: Channels computed from those that are there: the length of the vector at each step; each channel less its mean over time.
Derived = Literal["magnitude", "centred"]
_DTYPES = ("float32", "uint8", "int8", "int16")
_FAINT = 1e-3  # a sample of one value stays 0 rather than become noise
_SMALL = 1e-6  # keeps the slope of the square root finite at 0


def problems_refused(what: str, rules: Iterable[tuple[bool, str]]) -> None:
    """Raises InputError naming every rule of ``what`` that does not hold; a rule is (holds, what was asked for)."""
    broken = [text for holds, text in rules if not holds]
    if broken:
        raise InputError(f"{what}: " + "; ".join(broken), problems=broken)


def one_of(what: str, value: object, *choices: Any) -> tuple[bool, str]:
    """The rule that ``value`` is among the strings of ``choices``, each a Literal or a string."""
    allowed = [name for choice in choices for name in ([choice] if isinstance(choice, str) else get_args(choice))]
    return value in allowed, f"{what} is {', '.join(allowed)}, not {value!r}"


@dataclass(frozen=True, slots=True)
class ImageInput:
    """Images of a fixed size.

    layout: ``nchw``, ``nhwc``, or ``nhw`` for one channel. What the network sees is (x * scale - mean) / std; mean and std
    have one number, or one per channel, in scaled units. standardised: then every sample by itself is brought to mean 0 and
    deviation 1, which takes loudness or exposure away. A spectrogram (N, T, F) is an ``nhw`` image.
    """

    height: int
    width: int
    channels: int = 1
    dtype: str = "float32"
    layout: str = "nchw"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    standardised: bool = False
    name: str = "x"

    def __post_init__(self) -> None:
        problems_refused("image input", (
            (min(self.height, self.width, self.channels) > 0, "height, width and channels must be positive"),
            one_of("layout", self.layout, "nchw", "nhwc", "nhw"),
            (self.layout != "nhw" or self.channels == 1, f"layout nhw has one channel, not {self.channels}"),
            *_numbers(self.dtype, self.channels, self.scale, self.mean, self.std),
        ))  # fmt: skip

    def write(self, net: Builder) -> str:
        """Declare the input; gives the float32 value (N, C, H, W)."""
        planes = (self.channels, self.height, self.width)
        shape = {"nchw": planes, "nhwc": (*planes[1:], self.channels), "nhw": planes[1:]}[self.layout]
        x = net.input(self.name, self.dtype, shape)
        batch = net.shape(x)[0]
        whole = (batch, *planes)
        # Before the cast: bytes are cheaper to turn than floats.
        if self.layout == "nhwc":
            x = net.node("front.planes", "Transpose", x, shape=whole, dtype=self.dtype, perm=[0, 3, 1, 2])
        if self.layout == "nhw":
            x = net.node("front.planes", "Unsqueeze", x, net.writer.ints(1), shape=whole, dtype=self.dtype)
        x = _normalised(net, x, self.dtype, self.scale, self.mean, self.std, (-1, 1, 1))
        return _standardised(net, x) if self.standardised else x


@dataclass(frozen=True, slots=True)
class SequenceInput:
    """Sequences (N, T, C): sensor windows, feature frames. ``steps`` None leaves the length open, where the network can.

    layout ``ntc``, ``nct``, or ``nt`` for one channel. scale, mean, std and standardised as for images. derived: further channels,
    after those of the input and from their scaled values; ``rest`` is subtracted from the magnitude (1 for acceleration in g).
    """

    steps: int | None
    channels: int = 1
    dtype: str = "float32"
    layout: str = "ntc"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    standardised: bool = False
    derived: tuple[Derived, ...] = ()
    rest: float = 0.0
    name: str = "x"

    def __post_init__(self) -> None:
        problems_refused("sequence input", (
            (self.steps is None or self.steps > 0, "steps must be positive"),
            (self.channels > 0, "channels must be positive"),
            one_of("layout", self.layout, "ntc", "nct", "nt"),
            (self.layout != "nt" or self.channels == 1, f"layout nt has one channel, not {self.channels}"),
            *(one_of("derived", kind, Derived) for kind in self.derived),
            *_numbers(self.dtype, self.channels, self.scale, self.mean, self.std),
        ))  # fmt: skip

    def write(self, net: Builder) -> str:
        """Declare the input; gives the float32 value (N, T, C)."""
        steps = "steps" if self.steps is None else self.steps
        shape = {"ntc": (steps, self.channels), "nct": (self.channels, steps), "nt": (steps,)}[self.layout]
        x = net.input(self.name, self.dtype, shape)
        whole = (net.shape(x)[0], steps, self.channels)
        if self.layout == "nct":
            x = net.node("front.steps", "Transpose", x, shape=whole, dtype=self.dtype, perm=[0, 2, 1])
        if self.layout == "nt":
            x = net.node("front.steps", "Unsqueeze", x, net.writer.ints(2), shape=whole, dtype=self.dtype)
        x = _normalised(net, x, self.dtype, self.scale, self.mean, self.std, (-1,))
        x = _standardised(net, x) if self.standardised else x
        parts = [x, *(self._derive(net, x, kind) for kind in self.derived)]
        if len(parts) == 1:
            return x
        width = sum(net.known(part, 2) for part in parts)
        return net.node("front.derived", "Concat", *parts, shape=(*whole[:2], width), axis=2)

    def _derive(self, net: Builder, x: str, kind: Derived) -> str:
        batch, steps, channels = net.shape(x)
        if kind == "centred":
            mean = net.node("front.mean", "ReduceMean", x, net.writer.ints(1), shape=(batch, 1, channels), keepdims=1)
            return net.node("front.centred", "Sub", x, mean, shape=(batch, steps, channels))
        one = (batch, steps, 1)
        squares = net.node("front.squares", "ReduceSumSquare", x, net.writer.ints(2), shape=one, keepdims=1)
        squares = net.node("front.squares.least", "Add", squares, net.writer.constant(_SMALL), shape=one)
        root = net.node("front.magnitude", "Sqrt", squares, shape=one)
        return net.node("front.magnitude.rest", "Sub", root, net.writer.constant(self.rest), shape=one)


@dataclass(frozen=True, slots=True)
class TokenInput:
    """Token ids int64 (N, T) below ``vocabulary``; 0 is padding, which every layer leaves out."""

    vocabulary: int
    steps: int
    name: str = "ids"

    def __post_init__(self) -> None:
        problems_refused("token input", (
            (self.vocabulary > 1, "the vocabulary needs an id beside the padding"), (self.steps > 0, "steps must be positive"),
        ))  # fmt: skip

    def write(self, net: Builder) -> str:
        """Declare the input; gives the ids."""
        return net.input(self.name, "int64", (self.steps,))


def _numbers(
    dtype: str, channels: int, scale: float, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[bool, str], ...]:
    return (
        one_of("dtype", dtype, *_DTYPES),
        (len(mean) in {0, 1, channels}, f"{len(mean)} numbers for mean, but {channels} channels"),
        (len(std) in {0, 1, channels}, f"{len(std)} numbers for std, but {channels} channels"),
        (bool(np.all(np.isfinite([scale, *mean, *std]))), "scale, mean and std must be finite"),
        (scale != 0 and all(std), "scale and std cannot be 0"),
    )


def _normalised(
    net: Builder, x: str, dtype: str, scale: float, mean: tuple[float, ...], std: tuple[float, ...], turn: tuple[int, ...]
) -> str:  # fmt: skip
    shape = net.shape(x)
    if dtype != "float32":
        x = net.node("front.float", "Cast", x, shape=shape, to=TensorProto.FLOAT)
    # One product and one sum: x * (scale / std) - mean / std.
    deviation: npt.NDArray[np.float64] = np.asarray(std or (1.0,))
    factor, offset = scale / deviation, -np.asarray(mean or (0.0,)) / deviation
    if np.any(factor != 1):
        x = net.node("front.scaled", "Mul", x, net.writer.constant(factor.reshape(turn)), shape=shape)
    if np.any(offset != 0):
        x = net.node("front.shifted", "Add", x, net.writer.constant(offset.reshape(turn)), shape=shape)
    return x


def _standardised(net: Builder, x: str) -> str:
    shape = net.shape(x)
    axes = net.writer.ints(*range(1, len(shape)))
    one = (shape[0], *(1 for _ in shape[1:]))
    mean = net.node("front.sample.mean", "ReduceMean", x, axes, shape=one, keepdims=1)
    centred = net.node("front.sample.centred", "Sub", x, mean, shape=shape)
    squares = net.node("front.sample.squares", "Mul", centred, centred, shape=shape)
    variance = net.node("front.sample.variance", "ReduceMean", squares, axes, shape=one, keepdims=1)
    deviation = net.node("front.sample.deviation", "Sqrt", variance, shape=one)
    deviation = net.node("front.sample.least", "Add", deviation, net.writer.constant(_FAINT), shape=one)
    return net.node("front.sample", "Div", centred, deviation, shape=shape)

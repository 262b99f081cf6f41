"""What a layer reads, as rows: every output of a Conv, Gemm or MatMul is a row times the weights.

Of the rows only means and covariances are kept (groups, inputs, inputs), so that any number of samples costs the same memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto

from edgewise.compress.quantize.ranges import Batches, watched
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute

__all__ = ["Layer", "Moments", "layer_of", "moments"]

_ROWS = 256  # of each sample at most: neighbouring positions say nearly the same


@dataclass(frozen=True, slots=True)
class Layer:
    """operator: Conv, Gemm or MatMul. weight: as it is stored. turned: Gemm's weight is (channels, inputs)."""

    operator: str
    weight: Array
    turned: bool = False
    group: int = 1
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] | str = ()

    @property
    def channels(self) -> int:
        """Channels that it gives."""
        return int(self.weight.shape[0 if self.operator == "Conv" or self.turned else 1])

    def rows(self, weight: Array) -> Array:
        """A weight, or what has its shape, as (groups, channels of a group, inputs of a channel)."""
        if self.operator == "Conv":
            return weight.reshape(self.group, weight.shape[0] // self.group, -1)
        return (weight if self.turned else weight.T)[None]

    def weight_of(self, rows: Array) -> Array:
        """``rows`` backwards."""
        if self.operator == "Conv":
            return rows.reshape(self.weight.shape)
        return rows[0] if self.turned else rows[0].T

    def outputs(self, rows: Array, mean: Array) -> Array:
        """(channels,) of the mean input (groups, inputs)."""
        return np.asarray(np.einsum("goi,gi->go", rows, mean)).reshape(-1)

    def read(self, x: Array, rng: np.random.Generator) -> Array:
        """Rows (groups, n, inputs) of a batch of the layer's input; where there are many, some of them, drawn from ``rng``."""
        if self.operator != "Conv":
            flat = x.reshape(-1, x.shape[-1])
            return flat[_some(len(flat), len(x), rng)][None].astype(np.float64)
        rank = x.ndim - 2
        kernel = [1 + (size - 1) * step for size, step in zip(self.weight.shape[2:], self.dilations, strict=True)]
        padded = np.pad(x, [(0, 0), (0, 0), *_padding(self.pads, x.shape[2:], kernel, self.strides)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, tuple(range(2, 2 + rank)))
        steps = [slice(None, None, stride) for stride in self.strides]
        inner = [slice(None, None, step) for step in self.dilations]
        windows = windows[(slice(None), slice(None), *steps, *inner)]
        places = windows.shape[2 : 2 + rank]
        chosen = np.unravel_index(_some(len(x) * int(np.prod(places)), len(x), rng), (len(x), *places))
        taken = np.moveaxis(windows, 1, 1 + rank)[chosen]  # (n, channels, kernel)
        rows = taken.reshape(len(taken), self.group, -1)
        return np.moveaxis(rows, 1, 0).astype(np.float64)


def layer_of(writer: Writer, node: NodeProto) -> Layer | None:
    """How ``node`` reads its input; None where that is not by rows times a stored matrix."""
    weight = writer.array(node.input[1])
    if weight is None:
        return None
    if node.op_type != "Conv":
        plain = weight.ndim == 2 and not attribute(node, "transA", 0)
        return Layer(node.op_type, np.asarray(weight), bool(attribute(node, "transB", 0))) if plain else None
    rank = weight.ndim - 2
    ones = [1] * rank

    def numbers(name: str, default: Sequence[int]) -> tuple[int, ...]:
        return tuple(int(number) for number in attribute(node, name, default))  # type: ignore[attr-defined]  # a list

    auto = str(attribute(node, "auto_pad", "NOTSET"))
    pads = auto if auto.startswith("SAME") else numbers("pads", [0] * 2 * rank) if auto == "NOTSET" else (0,) * 2 * rank
    group = int(attribute(node, "group", 1))  # type: ignore[call-overload]  # an int
    return Layer("Conv", np.asarray(weight), False, group, numbers("strides", ones), numbers("dilations", ones), pads)


@dataclass(frozen=True, slots=True)
class Moments:
    """mean, rounded_mean: (groups, inputs), of what the float layer and what the rounded one reads.

    rounded: (groups, inputs, inputs), second moments of the latter; mixed: of the former (first) with it. About the means where
    ``centred``.
    """

    mean: Array
    rounded_mean: Array
    rounded: Array
    mixed: Array


def moments(layer: Layer, models: tuple[ModelProto, ModelProto], batches: Batches, *, centred: bool) -> Moments:
    """Of the only outputs of two models, the float one and the rounded one: what ``layer`` reads in each."""
    sessions = [_Only(model) for model in models]
    rng, count = np.random.default_rng(0), 0
    sums: list[Array] = []
    for batch in batches():
        state = rng.bit_generator.state
        real = layer.read(sessions[0](batch), rng)
        rng.bit_generator.state = state  # the same places in both
        rounded = layer.read(sessions[1](batch), rng)
        turned = np.swapaxes(real, 1, 2), np.swapaxes(rounded, 1, 2)
        part = [real.sum(axis=1), rounded.sum(axis=1), turned[1] @ rounded, turned[0] @ rounded]
        sums = [a + b for a, b in zip(sums, part, strict=True)] if sums else part
        count += real.shape[1]
    mean, rounded_mean, second, mixed = (total / count for total in sums)
    if centred:
        second = second - rounded_mean[:, :, None] * rounded_mean[:, None, :]
        mixed = mixed - mean[:, :, None] * rounded_mean[:, None, :]
    return Moments(mean, rounded_mean, second, mixed)


class _Only:
    """The only output of a model, which may be what it is fed."""

    def __init__(self, model: ModelProto) -> None:
        self.name = model.graph.output[0].name
        fed = self.name in {value.name for value in model.graph.input}
        self.session = None if fed else watched(model, [self.name])[0]

    def __call__(self, batch: object) -> Array:
        feeds = dict(batch)  # type: ignore[call-overload]  # a mapping of arrays
        return np.asarray(feeds[self.name] if self.session is None else self.session.run([self.name], feeds)[0])


def _some(count: int, samples: int, rng: np.random.Generator) -> Array:
    most = _ROWS * samples
    return np.arange(count) if count <= most else rng.choice(count, most, replace=False)


def _padding(
    pads: tuple[int, ...] | str, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    if not isinstance(pads, str):
        half = len(pads) // 2
        return list(zip(pads[:half], pads[half:], strict=True))
    found = []
    for size, span, stride in zip(sizes, kernel, strides, strict=True):
        missing = max((-(-size // stride) - 1) * stride + span - size, 0)
        less, more = missing // 2, missing - missing // 2
        found.append((less, more) if pads == "SAME_UPPER" else (more, less))
    return found

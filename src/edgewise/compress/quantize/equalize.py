"""Cross-layer equalisation: channels of neighbouring layers scaled to equal ranges, which changes no answer.

Relu(s x) = s Relu(x) for s > 0, so a channel can be made smaller in one layer and larger in the next. With the ranges r1 and r2
of the weights that make and that read it, s = sqrt(r1 r2) / r2 leaves both at sqrt(r1 r2), where one scale for a whole tensor
wastes least: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (ICCV 2019), section 4.1. Pairs
are gone through until nothing moves; a depthwise layer is the reader of one pair and the maker of the next.
"""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.order import captured
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute, closed, opened
from edgewise.training.step.assembly import with_weights

__all__ = ["Equalize", "equalized"]

#: What a scale goes through unchanged, channel by channel.
_HOMOGENEOUS = {
    "Relu",
    "LeakyRelu",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Dropout",
    "Identity",
}
_ROUNDS = 40
_STILL = 1e-3  # of the logarithm of the largest scale, in a round that ends it
_DEAD = 1e-3
_MOST = 1e4  # factor in one round: a nearly dead channel stays finite


@dataclass(frozen=True, slots=True)
class Equalize:
    """The pass of ``equalized``, for a static quantization with one scale for each tensor to follow."""

    @property
    def name(self) -> str:
        return "equalize"

    def describe(self) -> str:
        return "weights of neighbouring layers scaled to equal ranges, channel by channel"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:  # noqa: ARG002  (the protocol)
        """Raises UnsupportedError where no layer reads what one makes through Relu or pooling alone."""
        prepared = prepare(model)
        core, pairs = equalized(prepared.core)
        if not pairs:
            raise UnsupportedError("no Conv or Gemm feeds another one through Relu or pooling alone")
        return prepared.parts.whole(core)


@dataclass(frozen=True, slots=True)
class _Pair:
    first: NodeProto
    second: NodeProto


def equalized(core: ModelProto) -> tuple[ModelProto, int]:
    """``core``, simplified, with equalised weights, and how many pairs of layers there were."""
    writer = opened(core)
    pairs = _pairs(writer)
    arrays = {tensor.name: np.array(numpy_helper.to_array(tensor), np.float32) for tensor in writer.graph.initializer}
    for _ in range(_ROUNDS):
        moved = [_equalize(pair, arrays) for pair in pairs]
        if max(moved, default=0.0) < _STILL:
            break
    changed = {name for pair in pairs for node in (pair.first, pair.second) for name in node.input[1:3] if name}
    return with_weights(closed(writer), {name: arrays[name] for name in changed}), len(pairs)


def _equalize(pair: _Pair, arrays: dict[str, Array]) -> float:
    made, read = _made(pair.first, arrays), _read(pair.second, arrays)
    ranges = [np.abs(view).max(axis=1) for view in (made, read)]
    if len(pair.first.input) > 2 and pair.first.input[2]:
        ranges[0] = np.maximum(ranges[0], np.abs(arrays[pair.first.input[2]]))
    alive = (ranges[0] > _DEAD * ranges[0].max()) & (ranges[1] > _DEAD * ranges[1].max())
    scale = np.sqrt(np.where(alive, ranges[0], 1) / np.where(alive, ranges[1], 1))
    scale = np.where(alive, np.clip(scale, 1 / _MOST, _MOST), 1).astype(np.float32)
    made /= scale[:, None]  # views: the stored arrays change
    read *= scale[:, None]
    _store(pair, arrays, made, read)
    if len(pair.first.input) > 2 and pair.first.input[2]:
        arrays[pair.first.input[2]] = arrays[pair.first.input[2]] / scale
    return float(np.abs(np.log(scale)).max())


def _made(node: NodeProto, arrays: dict[str, Array]) -> Array:
    """Weights by output channel: (channels, rest), a copy."""
    weight = arrays[node.input[1]]
    by_channel = weight if node.op_type == "Conv" or attribute(node, "transB", 0) else weight.T
    return np.array(by_channel.reshape(len(by_channel), -1))


def _read(node: NodeProto, arrays: dict[str, Array]) -> Array:
    """Weights by input channel: (channels, rest), a copy. Input channel c of group g is row c of that group's columns."""
    weight = arrays[node.input[1]]
    if node.op_type != "Conv":
        return np.array(weight.T if attribute(node, "transB", 0) else weight)
    return np.array(_grouped(weight, _groups(node)).swapaxes(1, 2).reshape(_groups(node) * weight.shape[1], -1))


def _store(pair: _Pair, arrays: dict[str, Array], made: Array, read: Array) -> None:
    first, second = (arrays[node.input[1]] for node in (pair.first, pair.second))
    plain = pair.first.op_type == "Conv" or attribute(pair.first, "transB", 0)
    arrays[pair.first.input[1]] = made.reshape(first.shape) if plain else made.T.copy()
    if pair.second.op_type != "Conv":
        arrays[pair.second.input[1]] = read.T.copy() if attribute(pair.second, "transB", 0) else read
        return
    grouped = _grouped(second, _groups(pair.second)).swapaxes(1, 2)
    arrays[pair.second.input[1]] = read.reshape(grouped.shape).swapaxes(1, 2).reshape(second.shape).copy()


def _grouped(weight: Array, groups: int) -> Array:
    """(groups, outputs of each, inputs of each, positions)."""
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def _groups(node: NodeProto) -> int:
    groups = attribute(node, "group", 1)
    assert isinstance(groups, int)
    return groups


def _pairs(writer: Writer) -> list[_Pair]:
    readers: dict[str, list[NodeProto]] = {value.name: [] for value in writer.graph.output}
    outputs = set(readers)
    for node in writer.graph.node:
        for name in captured(node):
            readers.setdefault(name, []).append(node)

    def follower(name: str) -> NodeProto | None:
        """The one layer behind ``name``; None where there is none or the channels go elsewhere too."""
        while name not in outputs and len(readers.get(name, [])) == 1:
            (node,) = readers[name]
            if _is_layer(writer, node, readers) and node.input[0] == name:
                return node
            if node.op_type not in _HOMOGENEOUS and not _flattens_channels(writer, node):
                return None
            name = node.output[0]
        return None

    layers = [node for node in writer.graph.node if _is_layer(writer, node, readers)]
    found = [(node, follower(node.output[0])) for node in layers]
    return [_Pair(node, second) for node, second in found if second is not None]


def _is_layer(writer: Writer, node: NodeProto, readers: dict[str, list[NodeProto]]) -> bool:
    if node.op_type not in {"Conv", "Gemm"} or attribute(node, "transA", 0):
        return False
    if (attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)) != (1.0, 1.0):
        return False
    stored = [name for name in node.input[1:] if name]
    if any(writer.dtype(name) != "float32" or writer.array(name) is None or len(readers[name]) > 1 for name in stored):
        return False
    # A bias that is not one number for each channel would be stretched by the scales.
    channels = writer.shape(node.input[1])
    assert channels is not None
    count = channels[0] if node.op_type == "Conv" or attribute(node, "transB", 0) else channels[1]
    return len(stored) < 2 or writer.shape(stored[1]) == (count,)


def _flattens_channels(writer: Writer, node: NodeProto) -> bool:
    """Flatten, Reshape or Squeeze of (N, C, 1, 1) to (N, C)."""
    if node.op_type not in {"Flatten", "Reshape", "Squeeze"}:
        return False
    before, after = writer.shape(node.input[0]), writer.shape(node.output[0])
    if before is None or after is None or len(before) < 3 or len(after) != 2:
        return False
    return all(dim == 1 for dim in before[2:]) and before[1] == after[1]

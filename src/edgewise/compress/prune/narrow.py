"""Writing a space in fewer directions: makers give them, readers take them back, biases take what does not vary."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgewise.compress.prune.linear_layers import Maker, Reader
from edgewise.compress.prune.passages import normalisation
from edgewise.compress.prune.projection import Basis, Moments
from edgewise.compress.prune.rules import GATES
from edgewise.compress.prune.spaces import Space
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import closed, opened

__all__ = ["narrowed"]


def narrowed(core: ModelProto, plans: Sequence[tuple[Space, Basis, int]], moments: Mapping[str, Moments]) -> ModelProto:
    """``core``, opened, with each space of ``plans`` in the first so many directions of its basis."""
    work = _Writing(opened(core))
    # Makers first: of a layer that reads one space and makes another, the bias that it gets as a reader is narrow already.
    for space, basis, rank in plans:
        for maker in space.makers:
            work.make(maker, basis.first(rank)[0])
    for space, basis, rank in plans:
        for reader in space.readers:
            work.read(reader, *basis.first(rank), moments[reader.value].mean)
        for result in space.drawn:
            work.take_out(work.node(result))
    made = closed(work.writer)
    del made.graph.value_info[:]  # of the old widths
    return pruned(made)


class _Writing:
    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.arrays: dict[str, Array] = {}  # what was written anew: a layer may read one space and make another

    def node(self, result: str) -> NodeProto:
        return next(node for node in self.writer.graph.node if result in node.output)

    def array(self, name: str) -> Array:
        return self.arrays[name] if name in self.arrays else np.asarray(self.writer.array(name), np.float64)

    def write(self, name: str, array: Array) -> None:
        self.arrays[name] = array
        tensor = next(tensor for tensor in self.writer.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))

    def make(self, maker: Maker, into: Array) -> None:
        node, weight = self.node(maker.result), np.moveaxis(self.array(maker.weight), maker.axis, -1)
        bias = self.bias(node)
        if maker.norm:
            norm = self.node(maker.norm)
            scale, offset = normalisation(self.writer, norm) or (1.0, 0.0)
            weight, bias = weight * scale, np.asarray(offset if bias is None else bias * scale + offset)
            self.take_out(norm)
        self.write(maker.weight, np.moveaxis(weight @ into, -1, maker.axis))
        if bias is not None:
            self.set_bias(node, bias @ into)

    def read(self, reader: Reader, into: Array, back: Array, mean: Array) -> None:
        node, seen = self.node(reader.result), reader.seen
        whole = self.array(reader.weight)
        shown = np.moveaxis(whole, reader.axis, -1)
        # z ~ m + back (z' - into^T m), m the mean of z; the value is scale * z + offset, of mean ``mean``.
        still = mean - seen.scale * (back @ (into.T @ _over(mean - seen.offset, seen.scale)))
        added = shown.reshape(-1, shown.shape[-1]) @ still
        self.write(reader.weight, np.moveaxis((shown * seen.scale) @ back, -1, reader.axis))
        if np.abs(added).max() > 0:
            if node.op_type in GATES:
                self.start_gates(node, whole.shape, added)
                return
            bias = self.bias(node)
            self.set_bias(node, added if bias is None else added + bias)

    def bias(self, node: NodeProto) -> Array | None:
        return self.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None

    def set_bias(self, node: NodeProto, bias: Array) -> None:
        """A bias of the node's own; behind a MatMul, which has none, a sum."""
        name = self.writer.store(self.writer.fresh(f"{node.output[0]}.offset"), np.asarray(bias, np.float32))
        self.arrays[name] = bias
        if node.op_type != "MatMul":
            node.input[:] = [*node.input[:2], name]
            return
        result, product = node.output[0], self.writer.fresh(f"{node.output[0]}.product")
        node.output[0] = product
        self.writer.append(helper.make_node("Add", [product, name], [result], self.writer.fresh(f"{result}.add")))

    def start_gates(self, node: NodeProto, shape: tuple[int, ...], added: Array) -> None:
        """The biases of a recurrent layer's input, the first half of what it stores: (directions, 2 * gates * units)."""
        inputs = [*node.input, *[""] * (4 - len(node.input))]
        before = self.array(inputs[3]) if inputs[3] else np.zeros((shape[0], 2 * shape[1]))
        both = before + np.concatenate([added.reshape(shape[:2]), np.zeros(shape[:2])], axis=1)
        inputs[3] = self.writer.store(self.writer.fresh(f"{inputs[1]}.offset"), both.astype(np.float32))
        node.input[:] = inputs

    def take_out(self, node: NodeProto) -> None:
        """What read the node reads what it read."""
        (passed, *_), result = [name for name in node.input if self.writer.array(name) is None], node.output[0]
        node.CopyFrom(helper.make_node("Identity", [passed], [result], node.name))
        for other in self.writer.graph.node:
            other.input[:] = [passed if name == result else name for name in other.input]


def _over(value: Array, scale: Array) -> Array:
    return np.divide(value, scale, out=np.zeros_like(value), where=scale != 0)

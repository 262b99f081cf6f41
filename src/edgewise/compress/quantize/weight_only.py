"""Weights in fewer bits, everything computed in floats: fewer bytes for any layer, where integers would cost too much.

Two forms. *Blocks* of com.microsoft (MatMulNBits): 4 or 8 bits with a scale for each 16 to 128 weights, unpacked as the product
runs; written here, since onnxruntime's quantizer for them imports a package that it does not bring along. *Storage* in standard
operators: integers, made floats again by Cast and Mul, which onnxruntime computes once when it opens the file, so that runs take as
long as before; any runtime reads it, for convolutions, recurrent layers and tables of embeddings too. (A DequantizeLinear, the
obvious form, is never computed ahead: it runs at every call, and keeps convolutions from the fast layout.)
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.dynamic import as_matmul
from edgewise.compress.quantize.grids import weight_grid
from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.opset import at_opset
from edgewise.graph.order import captured
from edgewise.graph.walk import is_default_domain, opsets
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute, closed, opened

__all__ = ["Blocks", "Storage", "in_blocks", "stored", "weights_in"]

#: Operator -> inputs that hold weights, each with the axis of what has a scale of its own.
_WEIGHTS: dict[str, tuple[tuple[int, int], ...]] = {
    "Conv": ((1, 0),), "ConvTranspose": ((1, 1),), "MatMul": ((1, -1), (0, -2)), "Gather": ((0, 0),), "LSTM": ((1, 1), (2, 1)),
    "GRU": ((1, 1), (2, 1)), "RNN": ((1, 1), (2, 1)), "Gemm": ((1, -1),), "Add": ((0, -2), (1, -2)),
}  # fmt: skip
_INT4_OPSET = 21  # of int4 in DequantizeLinear
_MASK = -1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The pass of blocks for MatMul and Gemm, in operators of com.microsoft. bits: 4 or 8. block: weights to a scale."""

    bits: Literal[4, 8] = 4
    block: Literal[16, 32, 64, 128] = 32
    symmetric: bool = False

    @property
    def name(self) -> str:
        return f"int{self.bits}-blocks:{self.block}{',symmetric' * self.symmetric}"

    def describe(self) -> str:
        return f"weights of MatMul and Gemm in {self.bits} bits, a scale for each {self.block}, as com.microsoft.MatMulNBits"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:  # noqa: ARG002  (the protocol)
        """Raises UnsupportedError where no MatMul or Gemm has a stored weight."""
        prepared = prepare(model)
        return prepared.parts.whole(in_blocks(as_matmul(prepared.core), self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The pass of stored integers, in standard operators. bits: 8, or 4 (opset 21). least: smallest weight that it pays for, in
    values. searched: scales of the least squared error. dequantized: as DequantizeLinear, which other runtimes keep small in
    memory, and onnxruntime computes at every run.
    """

    bits: Literal[4, 8] = 8
    least: int = 128
    searched: bool = True
    dequantized: bool = False

    @property
    def name(self) -> str:
        return f"int{self.bits}-storage:least={self.least}{',max' * (not self.searched)}{',dequantized' * self.dequantized}"

    def describe(self) -> str:
        return f"weights stored as int{self.bits} per channel, computed with in float32"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:  # noqa: ARG002  (the protocol)
        """Raises UnsupportedError where no layer or table of that size is stored in float32."""
        prepared = prepare(model)
        return prepared.parts.whole(stored(prepared.core, self, prepared.fixed))


def in_blocks(core: ModelProto, settings: Blocks) -> ModelProto:
    """``core`` with each MatMul by a stored (K, N) as MatMulNBits. Raises UnsupportedError where there is none."""
    writer = opened(core)
    nodes, found = writer.take_nodes(), False
    for node in nodes:
        weight = writer.array(node.input[1]) if node.op_type == "MatMul" and is_default_domain(node.domain) else None
        if weight is None or weight.ndim != 2 or weight.dtype != np.float32:
            writer.append(node)
            continue
        found = True
        parts = [node.input[0], *_blocks(writer, node.input[1], np.asarray(weight), settings)]
        sizes = {"K": weight.shape[0], "N": weight.shape[1], "bits": settings.bits, "block_size": settings.block}
        writer.append(helper.make_node("MatMulNBits", parts, node.output, node.name, domain="com.microsoft", **sizes))
    if not found:
        operators = sorted({node.op_type for node in nodes})
        raise UnsupportedError(f"no MatMul or Gemm has a stored float32 weight; there are {', '.join(operators[:8])}")
    writer.require_domain("com.microsoft")
    return closed(writer)


def _blocks(writer: Writer, name: str, weight: Array, settings: Blocks) -> list[str]:
    """The packed weight (N, blocks, bytes), scales (N, blocks) and zero points: ContribOperators.md of onnxruntime."""
    (inner, outer), size, top = weight.shape, settings.block, (1 << settings.bits) - 1
    count = -(-inner // size)
    padded = np.zeros((outer, count * size), np.float32)
    padded[:, :inner] = weight.T
    by_block = padded.reshape(outer, count, size)
    if settings.symmetric:
        # The extreme, of either sign, is the lowest integer, which has no counterpart.
        extreme = np.take_along_axis(by_block, np.abs(by_block).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
        scale = -extreme / ((top + 1) // 2)
        zero = np.full((outer, count), (top + 1) // 2)
    else:
        low, high = (np.minimum(by_block.min(axis=2), 0), np.maximum(by_block.max(axis=2), 0))
        scale = (high - low) / top
        zero = np.round(-low / np.where(scale == 0, 1, scale)).astype(np.int64)
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    whole = np.clip(np.round(by_block / scale[:, :, None]) + zero[:, :, None], 0, top).astype(np.uint8)
    stem = [writer.fresh(f"{name}/{part}") for part in ("blocks", "scales", "zeros")]
    parts = [writer.store(stem[0], _packed(whole, settings.bits)), writer.store(stem[1], scale)]
    if not settings.symmetric:
        parts.append(writer.store(stem[2], _packed(zero.astype(np.uint8), settings.bits)))
    return parts


def _packed(integers: Array, bits: int) -> Array:
    """Two integers of 4 bits in a byte along the last axis, the first one low."""
    if bits == 8:
        return integers
    odd = integers.shape[-1] % 2
    even = np.concatenate([integers, np.zeros((*integers.shape[:-1], odd), np.uint8)], axis=-1)
    return even[..., ::2] | (even[..., 1::2] << 4)


def stored(core: ModelProto, settings: Storage, keep: Collection[str] = ()) -> ModelProto:
    """``core`` with its weights, but for those in ``keep``, as integers. Raises UnsupportedError where there is none."""
    if settings.bits == 4:
        core = at_opset(core, max(_INT4_OPSET, opsets(core)[""]))
    found = weights_in(core, settings.least, keep)
    if not found:
        operators = ", ".join(sorted(_WEIGHTS))
        raise UnsupportedError(f"no {operators} has a weight of {settings.least} or more values stored in float32")
    writer = opened(core)
    arrays = {name: np.asarray(writer.array(name)) for name in found}
    kept = [tensor for tensor in writer.graph.initializer if tensor.name not in found]
    del writer.graph.initializer[:]
    writer.graph.initializer.extend(kept)
    for name, axis in found.items():
        _store(writer, name, arrays[name], axis, settings)
    return closed(writer)


def weights_in(core: ModelProto, least: int, keep: Collection[str] = ()) -> dict[str, int]:
    """Names of the float32 weights of ``least`` or more values, but for those in ``keep``; each with the axis of its scales."""
    writer = opened(core)
    found: dict[str, int] = {}
    for name, axis in _weights(writer):
        # A weight that two layers read along different axes keeps the first one's scales: any are right.
        array = writer.array(name)
        if array is not None and array.dtype == np.float32 and array.size >= least and array.ndim >= 2:
            found.setdefault(name, axis % array.ndim)
    fixed = {name for node in writer.graph.node for name in captured(node) - set(node.input)} | set(keep)
    fixed |= {value.name for value in writer.graph.output}
    # What hides a score is far down, and would take the scale of everything beside it.
    return {name: axis for name, axis in found.items() if name not in fixed and np.min(_array(writer, name)) > _MASK}


def _array(writer: Writer, name: str) -> Array:
    array = writer.array(name)
    assert array is not None, name
    return np.asarray(array)


def _weights(writer: Writer) -> Iterator[tuple[str, int]]:
    for node in writer.graph.node:
        if not is_default_domain(node.domain):
            continue
        for at, axis in _WEIGHTS.get(node.op_type, ()):
            if at < len(node.input) and writer.array(node.input[at]) is not None:
                yield node.input[at], _axis(node, at, axis)


def _axis(node: NodeProto, at: int, axis: int) -> int:
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    if node.op_type == "Gather" and at == 0:
        along = attribute(node, "axis", 0)
        return along if isinstance(along, int) else 0
    return axis


def _store(writer: Writer, name: str, array: Array, axis: int, settings: Storage) -> None:
    grid = weight_grid(array, axis, bits=settings.bits, searched=settings.searched)
    whole = grid.integers(array)
    integers = writer.store(writer.fresh(f"{name}/q"), whole.astype(ml_dtypes.int4) if settings.bits == 4 else whole)
    if settings.dequantized:
        parts = [integers, writer.constant(grid.scale)]
        writer.append(helper.make_node("DequantizeLinear", parts, [name], writer.fresh("DequantizeLinear"), axis=axis))
        return
    scale = writer.constant(grid.scale.reshape([-1 if at == axis else 1 for at in range(array.ndim)]))
    numbers = writer.node("Cast", integers, to=TensorProto.FLOAT)
    writer.append(helper.make_node("Mul", [numbers, scale], [name], writer.fresh("Mul")))

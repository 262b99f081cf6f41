"""Dynamic int8: weights stored as int8, each activation's range found anew at every call. No samples are needed.

By onnxruntime.quantization.quantize_dynamic, for what it is good at: the large products of encoders (MiniLM: a quarter of the
bytes, 0.27-0.49 of the time). Never for Conv: its dynamic form has no fast kernel for depthwise layers
(a net of 1.03 ms took 8.15).
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.quantize.quiet import quiet
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, closed, node_name, opened

__all__ = ["Dynamic", "as_matmul"]

_LAYERS = ("MatMul", "LSTM")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic:
    """The pass. weights: a scale for each output channel or each tensor. weight_type: s8, or u8, which old x86 sums exactly."""

    weights: Literal["channel", "tensor"] = "channel"
    weight_type: Literal["s8", "u8"] = "s8"

    @property
    def name(self) -> str:
        return f"int8-dynamic:{self.weight_type},{self.weights}"

    def describe(self) -> str:
        return f"weights of MatMul, Gemm and LSTM as int8 per {self.weights}, activations rounded at each call"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:  # noqa: ARG002  (the protocol)
        """Raises UnsupportedError where no MatMul, Gemm or LSTM has stored weights, naming what there is instead."""
        prepared = prepare(model)
        core = as_matmul(prepared.core)
        writer = opened(core)
        chosen = [node_name(node) for node in core.graph.node if _is_layer(writer, node)]
        if not chosen:
            _refuse(core)
        with TemporaryDirectory() as folder, quiet():
            path = Path(folder) / "model.onnx"
            quantize_dynamic(
                core, path, op_types_to_quantize=list(_LAYERS), nodes_to_quantize=chosen, per_channel=self.weights == "channel",
                weight_type=QuantType.QInt8 if self.weight_type == "s8" else QuantType.QUInt8,
            )  # fmt: skip
            result = onnx.load(str(path))
        result.ir_version = core.ir_version
        result.producer_name, result.producer_version = core.producer_name, core.producer_version
        return prepared.parts.whole(pruned(result))


def as_matmul(core: ModelProto) -> ModelProto:
    """``core`` with each plain Gemm of a stored weight as MatMul and Add, and a name for each node: what quantizers look for."""
    writer = opened(core)
    for node in writer.take_nodes():
        if node.op_type == "Gemm" and _is_plain(writer, node):
            _split(writer, node)
        else:
            node.name = node.name or writer.fresh(node.op_type)
            writer.append(node)
    return closed(writer)


def _is_plain(writer: Writer, node: NodeProto) -> bool:
    plain = (attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0), attribute(node, "transA", 0)) == (1.0, 1.0, 0)
    return plain and writer.array(node.input[1]) is not None


def _split(writer: Writer, node: NodeProto) -> None:
    weight = writer.array(node.input[1])
    assert weight is not None, node.input[1]
    name = node.input[1]
    if attribute(node, "transB", 0):
        name = writer.store(writer.fresh(f"{name}/T"), np.ascontiguousarray(weight.T))
    biased = len(node.input) > 2 and bool(node.input[2])
    product = writer.fresh(f"{node.output[0]}/product") if biased else node.output[0]
    writer.append(helper.make_node("MatMul", [node.input[0], name], [product], node.name or writer.fresh("MatMul")))
    if biased:
        writer.append(helper.make_node("Add", [product, node.input[2]], node.output, writer.fresh("Add")))


def _is_layer(writer: Writer, node: NodeProto) -> bool:
    weight = writer.array(node.input[1]) if node.op_type in _LAYERS else None
    return weight is not None and weight.dtype == np.float32 and weight.ndim >= 2


def _refuse(core: ModelProto) -> None:
    conv = next((node for node in core.graph.node if node.op_type.startswith("Conv")), None)
    if conv is not None:
        raise UnsupportedError(
            f"{conv.op_type} {node_name(conv)!r}: its dynamic form is slower than floats, and there is no other layer",
            remedy="Quantize it statically.",
        )
    found = sorted({node.op_type for node in core.graph.node})
    raise UnsupportedError(f"no MatMul, Gemm or LSTM has stored float32 weights; there are {', '.join(found[:8])}")

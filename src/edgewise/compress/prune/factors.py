"""A layer as two thin ones: its answers lie near few directions (Zhang et al. 2015, arXiv 1505.06798).

The best rank r of a layer for what it is fed is not that of its weight but of its answers: y ~ mean + U U^T (y - mean), U the first
eigenvectors of their covariance. The first layer has the kernel and the weights U^T W, the second one is a product with U.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgewise.compress.prune.linear_layers import Maker, makers_of
from edgewise.compress.prune.projection import Moments
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import closed, opened

__all__ = ["Wide", "split", "wide_layers"]


@dataclass(frozen=True, slots=True)
class Wide:
    """result: of the layer. axis: of its channels there. inputs, outputs: of the weight as a matrix."""

    result: str
    maker: Maker
    axis: int
    inputs: int
    outputs: int

    def share(self, rank: int) -> float:
        """Of the weights, and of the work, that two layers of ``rank`` between them have."""
        return rank * (1 / self.outputs + 1 / self.inputs)


def wide_layers(writer: Writer, taken: AbstractSet[str]) -> tuple[Wide, ...]:
    """Layers with a matrix of their own whose results are not ``taken``."""
    nodes = {name: node for node in writer.graph.node for name in node.output}
    found = []
    for result, made in makers_of(writer).items():
        weight = writer.array(made.maker.weight)
        if weight is not None and result not in taken and nodes[result].op_type != "Gather":
            found.append(Wide(result, made.maker, made.axis, prod(weight.shape) // made.width, made.width))
    return tuple(found)


def split(core: ModelProto, plans: Sequence[tuple[Wide, int]], moments: Mapping[str, Moments]) -> ModelProto:
    """``core``, opened, with each layer of ``plans`` as two of that rank."""
    writer = opened(core)
    nodes = writer.take_nodes()
    makers = {name: node for node in nodes for name in node.output if name}
    second = {
        plan.result: _divided(writer, makers[plan.result], plan, rank, moments[plan.result]) for plan, rank in plans
    }
    for node in nodes:
        writer.append(node)
    for plan, _ in plans:
        writer.graph.node.extend(second[plan.result])
    made = closed(writer)
    del made.graph.value_info[:]
    return pruned(made)


def _divided(writer: Writer, node: NodeProto, wide: Wide, rank: int, moments: Moments) -> list[NodeProto]:
    """Makes the first of the two of ``node``, and gives the second."""
    _, vectors = np.linalg.eigh(moments.spread)
    kept = vectors[:, ::-1][:, :rank]
    weight = np.asarray(writer.array(wide.maker.weight), np.float64)
    thin = np.moveaxis(np.moveaxis(weight, wide.maker.axis, -1) @ kept, -1, wide.maker.axis)
    bias = np.asarray(writer.array(node.input[2]), np.float64) if len(node.input) > 2 and node.input[2] else 0.0
    still = moments.mean + kept @ (kept.T @ (bias - moments.mean))
    result, between = node.output[0], writer.fresh(f"{node.output[0]}.thin")
    node.input[:] = [node.input[0], _store(writer, f"{wide.maker.weight}.thin", thin)]
    node.output[0] = between
    offset = _store(writer, f"{result}.offset", still)
    if node.op_type == "Conv":
        kernel = _store(writer, f"{result}.wide", kept.reshape(*kept.shape, *[1] * (weight.ndim - 2)))
        return [helper.make_node("Conv", [between, kernel, offset], [result], writer.fresh(f"{result}.conv"))]
    back = _store(writer, f"{result}.wide", kept.T)
    if node.op_type == "Gemm":
        return [helper.make_node("Gemm", [between, back, offset], [result], writer.fresh(f"{result}.gemm"))]
    product = writer.fresh(f"{result}.product")
    return [
        helper.make_node("MatMul", [between, back], [product], writer.fresh(f"{result}.matmul")),
        helper.make_node("Add", [product, offset], [result], writer.fresh(f"{result}.add")),
    ]


def _store(writer: Writer, stem: str, array: Array) -> str:
    return writer.store(writer.fresh(stem), np.ascontiguousarray(array, np.float32))

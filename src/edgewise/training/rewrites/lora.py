"""Low-rank adapters: a layer's weight stays, and a product of two thin matrices beside it learns.

Hu et al., LoRA (ICLR 2022): y = x W + (alpha / rank) (x A) B, A random, B zero, so that training starts from the model as it is.
The side branch is computed as two thin products, never as a full matrix. For a convolution A is a convolution to ``rank``
channels in the geometry of the layer, and B one of 1 x 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgewise.errors import InputError
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, closed, node_name, opened, users
from edgewise.training.rewrites.patterns import matching

__all__ = ["Adapted", "Adapter", "add_lora", "merge"]

_OPERATORS = ("MatMul", "Gemm", "Conv")
_GEOMETRY = {"auto_pad", "dilations", "kernel_shape", "pads", "strides"}


@dataclass(frozen=True, slots=True)
class Adapter:
    """One layer's adapter. node, weight: whose it is. down, up: its initializers A and B. scale: alpha / rank."""

    node: str
    weight: str
    down: str
    up: str
    scale: float


@dataclass(frozen=True, slots=True)
class Adapted:
    """model: the graph with side branches. trainable: their initializers. adapters: where they are, for ``merge``."""

    model: ModelProto
    trainable: tuple[str, ...]
    adapters: tuple[Adapter, ...]


def add_lora(
    model: ModelProto, rank: int, nodes: Sequence[str] = ("*",), *, alpha: float | None = None, seed: int = 0
) -> Adapted:
    """Put an adapter beside MatMul, Gemm and Conv nodes with a stored weight (by shell patterns of their names).

    alpha: the paper's; ``rank`` where None is given. seed: of A, normal with deviation 1/sqrt(inputs). Nodes chosen by a
    wildcard that have no stored weight as second input are passed over.
    Raises InputError for a rank below 1 or a pattern that matches nothing.
    """
    if rank < 1:
        raise InputError(f"the rank of an adapter must be at least 1, not {rank}")
    writer = opened(model)
    found = [node for node in writer.graph.node if _adaptable(writer, node)]
    wanted = set(
        matching(nodes, [node_name(node) for node in found], "MatMul, Gemm or Conv nodes with a stored weight")
    )
    chosen = [node for node in found if node_name(node) in wanted]
    if not chosen:
        raise InputError("the model has no MatMul, Gemm or Conv node with a stored weight")
    shapes = [array.shape for node in chosen if (array := writer.array(node.input[1])) is not None]
    full = max(min(shape[0], int(np.prod(shape[1:]))) for shape in shapes)
    if rank > full:
        raise InputError(
            f"adapters of rank {rank} are larger than every layer: the highest rank of one is {full}",
            remedy="Choose a small rank, as 4 or 8, or train the weights themselves.",
        )
    scale = (rank if alpha is None else alpha) / rank
    random = np.random.default_rng(seed)
    adapters = tuple(_beside(writer, node, rank, scale, random) for node in chosen)
    return Adapted(closed(writer), tuple(name for a in adapters for name in (a.down, a.up)), adapters)


def merge(model: ModelProto, adapters: Sequence[Adapter], values: Mapping[str, npt.NDArray[np.generic]]) -> ModelProto:
    """The plain model with W + scale B A in place of each adapted weight.

    model: as it was before ``add_lora``. values: the adapters' trained arrays by name. A weight that other nodes use as well
    stays for them. Raises InputError where a node or an array is missing.
    """
    writer = opened(model)
    by_name = {node_name(node): node for node in writer.graph.node}
    lost = [a.node for a in adapters if a.node not in by_name or a.weight not in by_name[a.node].input]
    lost += [name for a in adapters for name in (a.down, a.up) if name not in values]
    if lost:
        raise InputError(
            f"nothing to merge with: {', '.join(lost[:5])}", remedy="Pass the model before add_lora, and all arrays."
        )
    for adapter in adapters:
        node = by_name[adapter.node]
        old = writer.array(adapter.weight)
        assert old is not None, adapter.weight
        new = old.astype(np.float64) + _delta(
            node, np.asarray(values[adapter.down]), np.asarray(values[adapter.up]), adapter.scale
        )
        if len(users(writer, adapter.weight)) == 1:
            tensor = next(t for t in writer.graph.initializer if t.name == adapter.weight)
            tensor.CopyFrom(numpy_helper.from_array(new.astype(old.dtype), adapter.weight))
        else:
            node.input[1] = writer.store(writer.fresh(f"{adapter.weight}/merged"), new.astype(old.dtype))
    return closed(writer)


def _adaptable(writer: Writer, node: NodeProto) -> bool:
    if node.op_type not in _OPERATORS or node.domain not in {"", "ai.onnx"}:
        return False
    weight = writer.array(node.input[1])
    return (
        weight is not None
        and weight.dtype.kind == "f"
        and weight.ndim >= 2
        and (node.op_type == "Conv" or weight.ndim == 2)
    )


def _beside(w: Writer, node: NodeProto, rank: int, scale: float, random: np.random.Generator) -> Adapter:
    weight = w.array(node.input[1])
    assert weight is not None, node.input[1]
    x, y, dtype = node.input[0], node.output[0], weight.dtype.name
    group = int(str(attribute(node, "group", 1)))
    if node.op_type == "Conv":
        down_shape: tuple[int, ...] = (rank * group, *weight.shape[1:])
        up_shape: tuple[int, ...] = (weight.shape[0], rank, *[1] * (weight.ndim - 2))
        inputs = int(np.prod(weight.shape[1:]))
    else:
        turned = node.op_type == "Gemm" and bool(attribute(node, "transB", 0))
        inputs, outputs = weight.shape[::-1] if turned else weight.shape
        down_shape, up_shape = (inputs, rank), (rank, outputs)
    stem = node_name(node)
    down = w.store(w.fresh(f"{stem}/lora_down"), (random.standard_normal(down_shape) / np.sqrt(inputs)).astype(dtype))
    up = w.store(w.fresh(f"{stem}/lora_up"), np.zeros(up_shape, dtype))
    if node.op_type == "Conv":
        kept = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name in _GEOMETRY}
        thin = w.node("Conv", x, down, group=group, **kept)
    else:
        if node.op_type == "Gemm" and attribute(node, "transA", 0):
            x = w.node("Transpose", x, perm=[1, 0])
        thin = w.node("MatMul", x, down)
        # Gemm's own factor belongs to its weight, and so to the adapter as well: then merging is a plain sum.
        scale_here = scale * float(str(attribute(node, "alpha", 1.0))) if node.op_type == "Gemm" else scale
        thin = w.node("Mul", thin, w.constant(scale_here, dtype)) if scale_here != 1 else thin
    if node.op_type == "Conv" and scale != 1:
        thin = w.node("Mul", thin, w.constant(scale, dtype))
    side = w.node("Conv", thin, up, group=group) if node.op_type == "Conv" else w.node("MatMul", thin, up)
    node.output[0] = w.fresh(f"{y}/without_adapter")
    w.append(helper.make_node("Add", [node.output[0], side], [y], w.fresh(f"{stem}/lora")))
    return Adapter(stem, node.input[1], down, up, scale)


def _delta(
    node: NodeProto, down: npt.NDArray[np.generic], up: npt.NDArray[np.generic], scale: float
) -> npt.NDArray[np.float64]:
    a, b = down.astype(np.float64), up.astype(np.float64)
    if node.op_type == "Conv":
        group = int(str(attribute(node, "group", 1)))
        # Each group's outputs see its own ``rank`` channels.
        outputs = b.reshape(group, -1, b.shape[1])
        inputs = a.reshape(group, b.shape[1], -1)
        return scale * (outputs @ inputs).reshape(b.shape[0], *a.shape[1:])
    product = scale * (a @ b)
    turned = node.op_type == "Gemm" and bool(attribute(node, "transB", 0))
    return product.T if turned else product

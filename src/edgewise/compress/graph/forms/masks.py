"""Padding masks that a row of zeros does without.

Ids of a text are filled up with 0, and what the table has in row 0 is kept out of the sum by weights that a comparison makes 0.
With zeros in that row the sum is the same without the comparison.
"""

import numpy as np
from onnx import ModelProto, NodeProto

from edgewise.compress.graph.forms.links import Links
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, closed, opened

__all__ = ["masks_left_out"]


def masks_left_out(model: ModelProto) -> ModelProto:
    """``model`` with a row of zeros in place of a mask over weighted sums of a table's rows."""
    writer = opened(model)
    links, changed = Links(writer), False
    for node in writer.graph.node:
        if node.op_type == "MatMul":
            changed = _one(writer, links, node) or changed
    return pruned(closed(writer)) if changed else model


def _one(writer: Writer, links: Links, product: NodeProto) -> bool:
    gather, spread = links.maker(product.input[1], "Gather"), links.maker(product.input[0], "Unsqueeze")
    weighted = None if spread is None else links.maker(spread.input[0], "Mul")
    if gather is None or spread is None or weighted is None or attribute(gather, "axis", 0) != 0:
        return False
    table = writer.array(gather.input[0])
    readers = [node for node in writer.graph.node if gather.input[0] in node.input]
    if table is None or table.ndim != 2 or table.dtype != np.float32 or len(readers) != 1 or table.shape[0] < 1:
        return False
    for weights, mask in (weighted.input, reversed(weighted.input)):
        # Row by row of the sum: weights (N, length) as (N, 1, length), each beside the id that it weighs.
        if not _same_pairs(writer, weights, gather.input[1]) or _spread_axis(writer, spread) not in (1, -2):
            continue
        if _is_mask(writer, links, mask, gather.input[1]):
            rows = np.array(table)
            rows[0] = 0
            gather.input[0] = writer.store(writer.fresh(gather.input[0]), rows)
            spread.input[0] = weights
            return True
    return False


def _is_mask(writer: Writer, links: Links, name: str, ids: str) -> bool:
    """Whether ``name`` is 1 where ``ids`` are not 0, else 0. It may be read by others: they keep it."""
    cast = links.makers.get(name)
    refusal = links.makers.get(cast.input[0]) if cast is not None and cast.op_type == "Cast" else None
    equal = links.makers.get(refusal.input[0]) if refusal is not None and refusal.op_type == "Not" else None
    if equal is None or equal.op_type != "Equal" or ids not in equal.input:
        return False
    other = writer.array(next((value for value in equal.input if value != ids), ""))
    return other is not None and other.size == 1 and not other.any()


def _same_pairs(writer: Writer, weights: str, ids: str) -> bool:
    """Whether both are known to have one shape of two dimensions."""
    first, second = writer.shape(weights), writer.shape(ids)
    return first is not None and len(first) == 2 and None not in first and first == second


def _spread_axis(writer: Writer, node: NodeProto) -> int | None:
    axes = writer.array(node.input[1])
    return int(axes.flat[0]) if axes is not None and axes.size == 1 else None

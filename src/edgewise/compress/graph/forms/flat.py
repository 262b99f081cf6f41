"""Pooled channels laid side by side once: Concat, then one Flatten, in place of a Flatten for each."""

from onnx import ModelProto

from edgewise.compress.graph.forms.links import Links
from edgewise.training.rewrites.opening import attribute, closed, opened, remove

__all__ = ["flattened_once"]


def flattened_once(model: ModelProto) -> ModelProto:
    """``model`` with one Flatten behind each Concat of flattened (N, C, 1, ...)."""
    writer, changed = opened(model), False
    concats = [
        node.output[0] for node in writer.graph.node if node.op_type == "Concat" and attribute(node, "axis", 0) == 1
    ]
    for made in concats:
        links = Links(writer)
        node = links.makers[made]
        parts = [links.maker(name, "Flatten") for name in node.input]
        whole = [part for part in parts if part is not None and attribute(part, "axis", 1) == 1]
        shapes = [writer.shape(part.input[0]) for part in whole]
        pooled = all(shape is not None and len(shape) > 2 and set(shape[2:]) == {1} for shape in shapes)
        if len(whole) < max(len(parts), 2) or not pooled or len({len(shape or ()) for shape in shapes}) != 1:
            continue
        joined = writer.fresh(f"{made}/pooled")
        sources = [part.input[0] for part in whole]
        remove(writer, [*whole, node])
        writer.append_named("Concat", sources, [joined], axis=1)
        writer.append_named("Flatten", [joined], [made], axis=1)
        changed = True
    return closed(writer) if changed else model

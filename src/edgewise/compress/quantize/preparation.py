"""What the quantization passes start from: the part that learnt, simplified, and what is fed to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto

from edgewise.compress.cutting import Cut, cut
from edgewise.compress.graph.simplify import simplified
from edgewise.compress.quantize.ranges import Batches
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.order import captured
from edgewise.measure.npz import Array
from edgewise.training.data.conversion import FrontGraph

__all__ = ["Prepared", "prepare"]

_BYTES = 4 << 20  # of samples in a batch that is measured


@dataclass(frozen=True, slots=True)
class Prepared:
    """parts: the model, cut. core: what learnt, simplified; its input is ``parts.seam``.

    fixed: stored values of the core that preprocessing reads, where it could not be cut off.
    """

    parts: Cut
    core: ModelProto
    fixed: frozenset[str] = frozenset()

    def batches(self, samples: Samples, count: int) -> Batches:
        """Feeds of the core, of ``count`` samples in all.

        Raises UnsupportedError where the model takes more than what samples are fed to.
        """
        stored = {tensor.name for tensor in self.core.graph.initializer}
        given = {self.parts.seam, *samples.feed(samples.data.x[:1]), *stored}
        others = [value.name for value in self.core.graph.input if value.name not in given]
        if others:
            raise UnsupportedError(
                f"the model takes {', '.join(others)} besides {samples.input}, of which there are no samples",
                remedy="Choose a form that measures nothing: weight-only, dynamic or halves.",
            )
        return lambda: _feeds(self.parts, samples, count)


def prepare(model: ModelProto, *, whole: bool = False) -> Prepared:
    """``model`` cut and simplified. whole: with its preprocessing. Raises UnsupportedError where onnxruntime does not open it.

    A model with integers in it stays whole and as it is: simplifying would undo the forms that other passes gave it.
    """
    if any(_is_integer(node) for node in model.graph.node):
        return Prepared(Cut(None, model, model.graph.input[0].name), model, frozenset(_before_integers(model)))
    if whole:
        core = simplified(model)
        return Prepared(Cut(None, core, core.graph.input[0].name), core)
    parts = cut(model)
    return Prepared(parts, simplified(parts.core))


def _is_integer(node: NodeProto) -> bool:
    return any(word in node.op_type for word in ("QuantizeLinear", "Integer", "NBits", "DynamicQuantize"))


def _before_integers(model: ModelProto) -> set[str]:
    """What nodes read that nothing with integers is behind the inputs of: preprocessing, mostly."""
    behind = {name for node in model.graph.node if _is_integer(node) for name in node.output}
    found: set[str] = set()
    for node in model.graph.node:
        read = captured(node)
        if read & behind:
            behind.update(node.output)
        elif not _is_integer(node):
            found |= read
    return found


def _feeds(parts: Cut, samples: Samples, count: int) -> Iterable[Mapping[str, Array]]:
    size = _fixed_batch(parts.core if parts.front is None else parts.front, samples.input)
    batches = _split(samples.feeds(count)) if size is None else _in_batches(samples, count, size)
    if parts.front is None:
        yield from batches
        return
    front, nobody = FrontGraph(parts.front.SerializeToString()), np.random.default_rng(0)
    for batch in batches:
        yield {parts.seam: front(batch[samples.input], nobody)}


def _split(batches: Iterable[Mapping[str, Array]]) -> Iterable[Mapping[str, Array]]:
    """Smaller batches where samples are large: all that a network makes of a batch is kept at once, a hundred times its bytes."""
    for batch in batches:
        total = len(next(iter(batch.values())))
        rows = max(1, _BYTES * total // max(sum(x.nbytes for x in batch.values()), 1))
        for at in range(0, total, rows):
            yield {name: x[at : at + rows] for name, x in batch.items()}


def _fixed_batch(model: ModelProto, name: str) -> int | None:
    """How many samples the model takes at once, where it says so."""
    value = next(value for value in model.graph.input if value.name == name)
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims and dims[0].HasField("dim_value") else None


def _in_batches(samples: Samples, count: int, size: int) -> Iterable[Mapping[str, Array]]:
    """What does not fill a batch is filled up with samples that were there before: no range is narrower for it."""
    x = samples.data.x[samples.rows(count)]
    for at in range(0, len(x), size):
        yield samples.feed(x[np.arange(at, at + size) % len(x)])

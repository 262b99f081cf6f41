"""Leaving whole residual blocks out: Add(x, f(x)) becomes x, and everything that only f needed goes with it."""

from dataclasses import dataclass, field

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, helper

from edgewise.compress.cutting import Cut, cut
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.prune.importance import fed
from edgewise.compress.prune.taught import relearnt, words
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.order import captured, pruned
from edgewise.graph.walk import is_default_domain
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import node_name, opened
from edgewise.training.step.assembly import choose

__all__ = ["Block", "LeaveOut", "harms", "residual_blocks", "without"]


@dataclass(frozen=True, slots=True)
class Block:
    """node: the Add. skip: what goes past the block. made: what the Add gives. weights: those of the block alone, in numbers."""

    node: str
    skip: str
    made: str
    weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOut:
    """``blocks`` residual blocks out, one after the other, that change the answers least. count: samples it is measured on."""

    blocks: int = 1
    count: int = 256
    tuning: Tuning | None = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        if self.blocks < 1 or self.count < 1:
            raise InputError("at least one block is left out, judged by at least one sample")

    @property
    def name(self) -> str:
        return f"leave-out:{self.blocks}-blocks,by-{self.count},{words(self.tuning)}"

    def describe(self) -> str:
        tuned = "" if self.tuning is None else f", tuned for {self.tuning.epochs} epochs from the model as it came"
        return f"{self.blocks} residual blocks left out that changed the answers least{tuned}"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError where there are not as many blocks that keep their shape."""
        parts = cut(model)
        core = parts.core
        for done in range(self.blocks):
            watch("leaving out", done + 1, self.blocks)
            found = residual_blocks(core)
            if not found:
                raise UnsupportedError(
                    f"{done} of {self.blocks} blocks left out: no other Add joins a value to what was made of it in the same shape"
                )
            felt = harms(core, found, parts, samples, self.count)
            core = without(core, min(found, key=lambda block: (felt[block.node], block.node)))
        if self.tuning is not None:
            core = relearnt(Cut(parts.front, core, parts.seam), samples, self.tuning, model, watch)
        return parts.whole(core)


def residual_blocks(model: ModelProto) -> tuple[Block, ...]:
    """Every Add of a value and of what was made of it by weights, in one shape."""
    writer = opened(model)
    makers = {name: node for node in writer.graph.node for name in node.output if name}
    sizes = {name: int(np.prod([*array.shape, 1])) for name in choose(writer.model).parameters
             if (array := writer.array(name)) is not None}  # fmt: skip
    found = []
    for node in writer.graph.node:
        if node.op_type != "Add" or not is_default_domain(node.domain):
            continue
        for skip, branch in (tuple(node.input), tuple(reversed(node.input))):
            shape = writer.shape(skip)
            if (
                branch not in makers
                or skip not in makers
                or shape is None
                or None in shape
                or shape != writer.shape(branch)
            ):
                continue
            inner = _between(branch, skip, makers)
            weights = sum(sizes.get(name, 0) for name in {name for part in inner for name in captured(part)})
            if weights and any(skip in captured(part) for part in inner):
                found.append(Block(node_name(node), skip, node.output[0], weights))
                break
    return tuple(found)


def without(model: ModelProto, block: Block) -> ModelProto:
    """``model`` with what goes past the block in place of what the block gives."""
    result = opened(model).model
    node = next(node for node in result.graph.node if block.made in node.output)
    node.CopyFrom(helper.make_node("Identity", [block.skip], [block.made], node.name))
    return pruned(result)


def harms(core: ModelProto, blocks: tuple[Block, ...], parts: Cut, samples: Samples, count: int) -> dict[str, float]:
    """Node of a block -> mean squared change of the deciding output without it, over that output's variance."""
    batches = fed(parts, samples, count)
    before = _answers(core, batches, samples.output)
    spread = float(before.var()) or 1.0
    return {
        block.node: float(np.square(_answers(without(core, block), batches, samples.output) - before).mean()) / spread
        for block in blocks
    }


def _between(name: str, end: str, makers: dict[str, NodeProto]) -> list[NodeProto]:
    """The nodes that make ``name``, back to ``end``."""
    found: dict[int, NodeProto] = {}
    waiting = [name]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and id(node) not in found and end not in node.output:
            found[id(node)] = node
            waiting += captured(node)
    return list(found.values())


def _answers(model: ModelProto, batches: list[dict[str, Array]], output: str) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(session.run([output], batch)[0], np.float64) for batch in batches])

"""The blocked layout: convolutions in the order of memory in which onnxruntime's CPU kernels are fastest.

onnxruntime keeps images as (N, C/B, H, W, B), B channels (16 with AVX-512, 8 with AVX2) side by side: NCHWc. It uses that layout
only for weights that are constant, which in training they are not; but the operators are in the stock wheel (domain
``com.microsoft.nchwc``) and take computed weights. So the forward graph is rewritten to them before it is differentiated, and
the gradients are written in the same operators (``blocked_rules``): a convolution's gradient in x is a convolution; that of a
depthwise weight is a depthwise convolution whose kernel is the error; scaling and shifting by channel is a depthwise 1x1
convolution in one pass. Measured against torch on one core: forward and input gradients at 0.5 to 1.0 of the time, depthwise
ones at 0.2 to 0.5; plain Conv and ConvTranspose take 1 to 5 times torch's.

A blocked value has the logical shape (N, C', H, W), C' the channels rounded up to whole blocks; extra channels hold what zero
weights give and never reach a result. The batch must be a number. Such a graph is for the processor it was made for; it is
not shipped.
"""

from collections.abc import Callable

from onnx import NodeProto, helper

from edgewise.autodiff.blocked_rules import NCHWC, OWN, Blocks
from edgewise.autodiff.call import Call, Tape
from edgewise.autodiff.convolution import Geometry, geometry
from edgewise.graph.writer import Writer

__all__ = ["to_blocked"]

_UNARY = {"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSwish", "HardSigmoid", "Elu", "Softplus"}
_BINARY = {"Add", "Mul", "Sub"}


def to_blocked(w: Writer, block: int) -> None:
    """Rewrite the convolutions of the forward graph in ``w``, and what lies between them, to the blocked layout.

    Values that something else reads too are brought back to plain order under their own names. ``block``: channels of a block.
    """
    outputs = {value.name for value in w.graph.output}
    nodes = w.take_nodes()
    layout = _Layout(w, Blocks(w, block), nodes, outputs)
    for node in nodes:
        if not layout.convert(node):
            layout.keep(node)
    layout.finish()


class _Layout:
    def __init__(self, w: Writer, blocks: Blocks, nodes: list[NodeProto], outputs: set[str]) -> None:
        self.w, self.blocks, self.outputs = w, blocks, outputs
        self.twins: dict[str, str] = {}  # value -> its blocked form
        self.plain: set[str] = set()  # values with a blocked form that exist in plain order too
        self.merged: set[str] = set()  # outputs of nodes that were taken into the one before
        self.readers: dict[str, list[NodeProto]] = {}
        for node in nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def convert(self, node: NodeProto) -> bool:
        if node.output[0] in self.merged:
            return True
        take: Callable[[NodeProto], bool] | None = {
            "Conv": self._conv, "BatchNormalization": self._batch_norm, "GlobalAveragePool": self._average,
        }.get(node.op_type)  # fmt: skip
        if node.domain not in {"", "ai.onnx"}:
            return False
        if take:
            return take(node)
        if node.op_type in _UNARY and node.input[0] in self.twins:
            return self._element(node, [self.twins[node.input[0]], *node.input[1:]])
        if node.op_type in _BINARY and any(name in self.twins for name in node.input):
            same = all(self.w.shape(name) == self.w.shape(node.output[0]) for name in node.input)
            return same and self._element(node, [self._twin(name) for name in node.input])
        return False

    def keep(self, node: NodeProto) -> None:
        for name in node.input:
            self._materialise(name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                for name in list(self.twins):
                    self._materialise(name)
        self.w.graph.node.append(node)

    def finish(self) -> None:
        for name in self.outputs:
            self._materialise(name)

    def _materialise(self, name: str) -> None:
        if name in self.twins and name not in self.plain:
            self.plain.add(name)
            channels = self.blocks.channels(name)
            self.w.append(
                helper.make_node(
                    "ReorderOutput", [self.twins[name]], [name], f"{name}/plain", domain=NCHWC, channels=channels
                )
            )
            self.w.require_domain(NCHWC)

    def _twin(self, name: str) -> str:
        if name not in self.twins:
            self.twins[name] = self.blocks.enter(name)
            self.plain.add(name)
        return self.twins[name]

    def _element(self, node: NodeProto, inputs: list[str]) -> bool:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        twin = self.w.node(node.op_type, *inputs, **attributes)
        self.twins[node.output[0]] = self.blocks.declare(twin, node.output[0])
        return True

    def _conv(self, node: NodeProto) -> bool:
        call = Call(node, self.w, Tape())
        try:
            g = geometry(call, node.input[0], node.output[0])
            filters, batch = call.size(node.output[0], 1), call.size(node.output[0], 0)
            channels = call.size(node.input[0], 1)
        except LookupError:
            return False
        depthwise = g.groups > 1 and g.groups == channels == filters
        small = channels < self.blocks.size and node.input[0] not in self.twins and not depthwise
        half = self.blocks.size // 2
        worth = filters >= half and (depthwise or g.groups == 1) and (small or channels >= half) and batch > 0
        if not worth or len(g.kernel) != 2 or not _returns(g) or self.w.dtype(node.input[0]) != "float32":
            return False
        source = node.input[0] if small else self._twin(node.input[0])
        if small:
            self._materialise(node.input[0])
        weight = self.blocks.weight(node.input[1], depthwise=depthwise, small=small)
        bias = [self.blocks.vector(node.input[2])] if len(node.input) > 2 and node.input[2] else []
        twin = self.w.node(
            "Conv", source, weight, *bias, domain=NCHWC, kernel_shape=g.kernel, strides=g.stride, dilations=g.dilation,
            pads=[*g.before, *g.after], group=self.blocks.whole(channels) if depthwise else 1,
        )  # fmt: skip
        self.twins[node.output[0]] = self.blocks.declare(twin, node.output[0])
        return True

    def _batch_norm(self, node: NodeProto) -> bool:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.input[0] not in self.twins or not attributes.get("training_mode"):
            return False
        readers = self.readers.get(node.output[0], [])
        alone = len(readers) == 1 and readers[0].op_type == "Relu" and node.output[0] not in self.outputs
        result = readers[0].output[0] if alone else node.output[0]
        twin = self.w.fresh(f"{result}/blocked")
        parts = [self.blocks.vector(node.input[1]), self.blocks.vector(node.input[2]), *node.input[3:5]]
        new = helper.make_node(
            "BatchNormalization", [self.twins[node.input[0]], *parts], [twin, *node.output[1:]], f"{twin}/norm", domain=OWN,
            epsilon=float(attributes.get("epsilon", 1e-5)), momentum=float(attributes.get("momentum", 0.9)),
            channels=self.blocks.channels(node.input[0]), relu=int(alone),
        )  # fmt: skip
        self.w.append(new)
        self.twins[result] = self.blocks.declare(twin, result)
        if alone:
            self.merged.add(result)
        return True

    def _average(self, node: NodeProto) -> bool:
        name = node.input[0]
        if name not in self.twins:
            return False
        shape = self.w.shape(name)
        assert shape is not None
        batch, channels = int(shape[0]), int(shape[1])  # type: ignore[arg-type]
        rows = self.blocks.rows(self.twins[name])  # (N, C'/B, L, B)
        b = self.blocks
        mean = b.say(
            self.w.node("ReduceMean", rows, self.w.ints(2), keepdims=0), (batch, b.whole(channels) // b.size, b.size)
        )
        flat = b.say(self.w.node("Reshape", mean, self.w.ints(batch, b.whole(channels))), (batch, b.whole(channels)))
        if b.whole(channels) != channels:
            flat = b.say(
                self.w.node("Slice", flat, self.w.ints(0), self.w.ints(channels), self.w.ints(1)), (batch, channels)
            )
        self.w.append_named("Reshape", [flat, self.w.ints(batch, channels, 1, 1)], [node.output[0]])
        return True


def _returns(g: Geometry) -> bool:
    """True where the gradient in x fits a convolution over the errors spread out by the stride."""
    after = [
        n - m * s + d * (k - 1) - (d * (k - 1) - b)
        for n, m, s, d, k, b in zip(g.source, g.target, g.stride, g.dilation, g.kernel, g.before, strict=True)
    ]
    before = [d * (k - 1) - b for d, k, b in zip(g.dilation, g.kernel, g.before, strict=True)]
    return min(after) >= 0 and min(before) >= 0

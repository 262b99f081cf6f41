"""The blocked layout gives the gradients of the plain one, over random small convolutional networks."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper
from tests.autodiff.drawing import Draw, flag, random_of, side
from tests.autodiff.finite_differences import reference, run

from edgewise.autodiff.blocked import to_blocked
from edgewise.autodiff.differentiate import differentiate
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.training.step.processor import block_size

BLOCK = block_size()
pytestmark = pytest.mark.skipif(BLOCK == 0, reason="this processor's onnxruntime has no blocked layout")

Array = np.ndarray[Any, Any]
QUICK: Any = settings(
    max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
ROUNDING = 1e-6  # of a few operations in float32
LONG: Any = settings(QUICK, max_examples=800, phases=[Phase.generate])


@dataclass
class Network:
    """Nodes written one after the other; ``at`` is the last value, of shape (batch, channels, *space)."""

    random: np.random.Generator
    batch: int
    channels: int
    space: tuple[int, int]
    at: str = "x"
    nodes: list[NodeProto] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.values:
            self.values["x"] = self.noise(self.batch, self.channels, *self.space)

    def noise(self, *shape: int) -> Array:
        return self.random.standard_normal(shape).astype(np.float32)

    def parameter(self, array: Array) -> str:
        name = f"p{len(self.values)}"
        self.values[name] = array.astype(np.float32)
        return name

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}" if at == 0 else f"v{len(self.nodes)}/{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, names[0], **attributes))
        return names[0]

    def conv(
        self, filters: int, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int],
        pads: tuple[int, int, int, int], *, depthwise: bool = False, bias: bool = False,
    ) -> bool:  # fmt: skip
        ends = zip(self.space, kernel, stride, dilation, pads[:2], pads[2:], strict=True)
        space = [(n + p + q - (k - 1) * d - 1) // s + 1 for n, k, s, d, p, q in ends]
        if min(space) < 1:
            return False
        filters = self.channels if depthwise else filters
        inner = 1 if depthwise else self.channels
        weight = self.parameter(self.noise(filters, inner, *kernel) / np.sqrt(inner * kernel[0] * kernel[1]))
        more = [self.parameter(self.noise(filters))] if bias else []
        given: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads}
        self.at = self.add("Conv", self.at, weight, *more, group=filters if depthwise else 1, **given)
        self.channels, self.space = filters, (space[0], space[1])
        return True

    def batch_norm(self) -> None:
        if self.batch * self.space[0] * self.space[1] < 4:
            return  # hardly anything but noise is left of so few
        scale, shift = (self.parameter(self.random.uniform(0.5, 1.5, self.channels)) for _ in "ab")
        mean, var = (self.parameter(np.ones(self.channels)) for _ in "mv")
        self.at = self.add(
            "BatchNormalization", self.at, scale, shift, mean, var, outputs=3, training_mode=1, epsilon=1e-3
        )

    def model(self) -> ModelProto:
        inputs = [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in self.values.items()
        ]
        graph = helper.make_graph(self.nodes, "net", inputs, [])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def network(draw: Draw) -> Network:
    random = random_of(draw)
    channels = draw(st.sampled_from([1, 2, 3, BLOCK, BLOCK + 3, 2 * BLOCK]))
    net = Network(random, side(draw, 1, 3), channels, (draw(st.integers(5, 12)), draw(st.integers(5, 12))))
    for _ in range(draw(st.integers(1, 3))):
        layer(draw, net)
        if draw(st.integers(0, 3)) == 0:  # read in plain order too
            net.outputs.append(net.add("ReduceMax", net.at, keepdims=0))
        if draw(st.integers(0, 2)) == 0:
            residual(draw, net)
    how = draw(st.sampled_from(["average", "average", "pool", "flatten", "itself"]))
    if how == "average":
        if net.nodes[-1].op_type != "Relu":  # the mean of a normalised value is fixed: all gradients would be noise
            net.at = net.add("Mul", net.at, net.at)
        net.at = net.add("GlobalAveragePool", net.at)
    elif how == "pool" and min(net.space) > 1:
        net.at = net.add("MaxPool", net.at, kernel_shape=[2, 2], strides=[2, 2])
    elif how == "flatten":
        net.at = net.add("Flatten", net.at)
    net.outputs.append(net.at)
    return net


def layer(draw: Draw, net: Network) -> None:
    filters = draw(st.sampled_from([BLOCK // 2, BLOCK, BLOCK + 1, 2 * BLOCK, 4, 24]))
    depthwise = net.channels >= BLOCK // 2 and flag(draw)
    kernel = (side(draw, 1, 3), side(draw, 1, 3)) if flag(draw) else draw(st.sampled_from([(1, 1), (3, 3)]))
    stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (2, 1), (3, 2)]))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2)]))
    pads = tuple(draw(st.integers(0, k)) for k in (*kernel, *kernel))
    net.conv(filters, kernel, stride, dilation, pads, depthwise=depthwise, bias=flag(draw))  # type: ignore[arg-type]
    how = draw(st.sampled_from(["none", "norm", "norm+relu", "norm+relu+relu", "relu", "smooth"]))
    if "norm" in how:
        net.batch_norm()
    if "relu" in how:
        net.at = net.add("Relu", net.at)
    if how.endswith("relu+relu"):
        net.at = net.add("Add", net.at, net.add("Relu", net.nodes[-1].input[0]))
    if how == "smooth":
        net.at = net.add(
            draw(st.sampled_from(["Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Softplus", "Clip"])), net.at
        )


def residual(draw: Draw, net: Network) -> None:
    before, channels = net.at, net.channels
    if not net.conv(channels, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), depthwise=flag(draw)):
        return
    if flag(draw):
        net.batch_norm()
    net.at = net.add(draw(st.sampled_from(["Add", "Mul", "Sub"])), net.at, before)
    if flag(draw):
        net.at = net.add("Relu", net.at)


def gradients(net: Network, block: int) -> dict[str, Array]:
    w = Writer(net.model())
    kind, total = str(net.values["x"].dtype), ""
    random = np.random.default_rng(3)
    for name in net.outputs:
        dims = tuple(int(d) for d in w.shape(name) or ())  # type: ignore[arg-type]
        weights = random.uniform(0.5, 1.5, dims) * random.choice([-1.0, 1.0], dims)
        part = w.node("ReduceSum", w.node("Mul", name, w.constant(weights, kind)), keepdims=0)
        total = w.node("Add", total, part) if total else part
    w.infer()
    if block:
        to_blocked(w, block)
    found = differentiate(w, total, list(net.values), block=block).gradients
    w.output("loss", total, kind, ())
    for name, gradient in found.items():
        w.output(f"gradient/{name}", gradient, kind, None)
    return (run if kind == "float32" else reference)(pruned(w.model), net.values)


def assert_equal(net: Network) -> None:
    plain, blocked = gradients(net, 0), gradients(net, BLOCK)
    assert plain.keys() == blocked.keys()
    assert all(blocked[name].shape == expected.shape for name, expected in plain.items())
    off = [name for name, one in plain.items() if norm(blocked[name] - one) > 1e-4 * norm(one)]
    if not off:
        return
    # What cancels (a bias before a normalisation) is noise in both, and a value within rounding of a kink falls on either side
    # of it. So what counts is how far the same in float64 is, and how far that moves when all it starts from is rounded.
    exact = exact_gradients(net)
    shaken = [exact_gradients(net, seed) for seed in range(1, 5)]
    largest = max(norm(one) for one in exact.values())
    for name in off:
        moved = max(norm(one[name] - exact[name]) for one in (plain, *shaken))
        assert norm(blocked[name] - exact[name]) <= 1e-4 * norm(exact[name]) + 5 * moved + 2e-6 * largest, name


def exact_gradients(net: Network, shaken: int = 0) -> dict[str, Array]:
    """In float64. shaken: a seed of relative changes of about a rounding error in float32, 0 for none."""
    random = np.random.default_rng(shaken)
    values = {name: array.astype(np.float64) for name, array in net.values.items()}
    if shaken:
        values = {name: array * (1 + ROUNDING * random.standard_normal(array.shape)) for name, array in values.items()}
    return gradients(replace(net, values=values), 0)


def norm(array: Array) -> float:
    return float(np.linalg.norm(array))


@given(st.data())
@QUICK
def test_blocked_gradients_are_the_plain_ones(data: st.DataObject) -> None:
    net = network(data.draw)
    assert_equal(net)


@pytest.mark.long
@given(st.data())
@LONG
def test_blocked_gradients_are_the_plain_ones_many_times(data: st.DataObject) -> None:
    net = network(data.draw)
    assert_equal(net)


def test_convolutions_do_get_blocked() -> None:
    net = Network(np.random.default_rng(0), 2, 3, (8, 8))
    net.conv(BLOCK, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    net.conv(BLOCK, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), depthwise=True)
    net.batch_norm()
    net.at = net.add("Relu", net.at)
    net.outputs.append(net.at)
    w = Writer(net.model())
    w.output("y", net.at, "float32", None)
    to_blocked(w, BLOCK)
    made = [node.op_type for node in w.graph.node if node.domain == "com.microsoft.nchwc"]
    assert made.count("Conv") == 2
    assert "ReorderInput" not in made, "the first layer reads plain order, all else stays in blocks"

"""Weights rounded up or down as the layer's output asks, not each to its nearest (Nagel et al., Up or Down?, ICML 2020).

Layer by layer, in the order of the graph: what the float layer gives for a sample is to be given again by the rounded weights, on
the input that the layers before it, rounded already, leave it (their section 3.3, asymmetric reconstruction). Each weight is

    s (floor(w / s) + h(V))        h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1)

and V goes down the squared error of the output plus lambda (1 - |2 h(V) - 1|^beta), whose beta falls from 20 to 2: from "anywhere
between" to "one or the other" (their equations 21 to 25).

The squared error of a layer without what follows it is a quadratic form of its weights, so all that it takes of the samples is the
covariance of the inputs: it is summed once, and the steps after that are exact over all samples and cost no pass through the
layer. The price is that Relu is not part of what is reconstructed. Every channel of a Conv, and of a Gemm, is a problem of its own.
A constant offset of the output is none of the weights' business: the bias takes it, in closed form.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from onnx import ModelProto, NodeProto

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.grids import Grid
from edgewise.compress.quantize.layer_inputs import layer_of, moments
from edgewise.compress.quantize.placement import place
from edgewise.compress.quantize.static import Measured, Started, Static, quantized, start, weight_grids
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import node_name, opened
from edgewise.training.step.assembly import with_weights

__all__ = ["Adaround", "Problem", "learnt_rounding", "round_layers"]

_ZETA, _GAMMA = 1.1, -0.1  # how far the sigmoid is stretched, so that 0 and 1 are reached (their equation 23)
_BETA = (20.0, 2.0)
_WARM = 0.2  # share of the steps before the regulariser sets in
_RATE = 0.02
_PULL = 1.0  # the regulariser of all weights of a channel together, beside an error that starts near 1
_DAMP = (
    0.01  # share of the mean variance added to every input's: what few samples hold is not trusted to the last digit
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaround:
    """The pass. static: the grids and the form that is written, over ``static.count`` samples. steps: of each layer.

    The result is a finished integer model: its weights are on the grid that they were rounded for, and quantizing it again would
    have to find the same one.
    """

    static: Static = field(default_factory=lambda: Static(weight_ranges="mse"))
    steps: int = 600

    @property
    def name(self) -> str:
        return f"int8-adaround:{self.static.name.partition(':')[2]},steps={self.steps}"

    def describe(self) -> str:
        return f"weights rounded up or down as each layer's output asks; {self.static.describe()}"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError where no layer runs in integers."""
        ready = start(model, samples, self.static, watch)
        seen, integers, grids = round_layers(ready, self.steps, watch)
        written = quantized(seen, self.static, ready.layers, integers, grids)
        return ready.whole(written.model, ready.layers)


def round_layers(
    ready: Started, steps: int, watch: Watch = nobody
) -> tuple[Measured, dict[str, Array], dict[str, Grid]]:
    """``ready.seen`` with the biases that go with the integers of each layer's weight, those, and every weight's grid."""
    seen, settings = ready.seen, ready.settings
    writer = opened(seen.core)
    layers = ready.layers
    grids = weight_grids(writer, place(writer, layers), settings)
    nodes = {node_name(node): node for node in writer.graph.node}
    readers = [name for node in writer.graph.node for name in node.input]
    integers: dict[str, Array] = {}
    real = seen.core  # ``seen`` gets other biases on the way
    for done, name in enumerate(layers):
        watch("rounding layers", done, len(layers))
        node = nodes[name]
        layer = layer_of(writer, node)
        if layer is None or readers.count(node.input[1]) != 1:  # two computed values; a weight that others read too
            continue
        so_far = quantized(seen, settings, layers, integers, {n: grids[n] for n in integers}).model
        pair = _until(real, node.input[0]), _until(so_far, _input_of(so_far, name))
        bias = _bias(writer, node, readers)
        found = moments(layer, pair, ready.batches, centred=bias is not None)
        problem = Problem(layer.rows(layer.weight), found.rounded, found.mixed)
        rows = learnt_rounding(
            problem, layer.rows(grids[name].numbers(np.ones(layer.weight.shape, np.int8))), grids[name].limits, steps
        )
        integers[name] = layer.weight_of(rows).astype(np.int8)
        if bias is not None:
            kept = layer.rows(grids[name].numbers(integers[name]))
            offset = layer.outputs(layer.rows(layer.weight), found.mean) - layer.outputs(kept, found.rounded_mean)
            value = writer.array(bias)
            assert value is not None
            changed = {bias: (value + offset.reshape(value.shape)).astype(value.dtype)}
            seen = replace(seen, core=with_weights(seen.core, changed))
    if not integers:
        raise UnsupportedError("no layer has a stored weight of its own to round")
    return seen, integers, grids


@dataclass(frozen=True, slots=True)
class Problem:
    """weight: (groups, channels, inputs). rounded: covariance (groups, inputs, inputs) of what the rounded layer reads.

    mixed: (groups, inputs, inputs), of what the float layer reads (first) with that.
    """

    weight: Array
    rounded: Array
    mixed: Array

    def error(self, weight: Array) -> Array:
        """Squared error of each channel's output with this weight, (groups, channels), without what no weight can change."""
        return np.asarray(np.einsum("goi,goi->go", weight, weight @ self.rounded - 2 * (self.weight @ self.mixed)))


def learnt_rounding(problem: Problem, scale: Array, limits: tuple[int, int], steps: int) -> Array:
    """Integers for ``problem.weight`` on the grid of ``scale``, as wide as it; each the one below or above. Whole numbers, float64.

    A channel that nearest rounding serves better keeps that.
    """
    weight, scale = problem.weight.astype(np.float64), scale.astype(np.float64)
    low, high = limits
    size = weight.shape[-1]
    spread = np.einsum("gii->gi", problem.rounded).mean(axis=1)[:, None, None]
    damped = problem.rounded + np.eye(size) * np.maximum(_DAMP * spread, 1e-12)
    target = weight @ (problem.mixed + np.eye(size) * np.maximum(_DAMP * spread, 1e-12))
    below = np.clip(np.floor(weight / scale), low, high)
    nearest = np.clip(np.round(weight / scale), low, high)
    most = high - below  # at the upper end there is no step up
    difference = (nearest - weight / scale) * scale
    unit = np.maximum(np.einsum("goi,goi->go", difference @ damped, difference), 1e-30)[..., None]
    v = _inverse(np.clip(weight / scale - below, 0, 1))
    first, second = np.zeros_like(v), np.zeros_like(v)
    for at in range(1, steps + 1):
        soft = 1 / (1 + np.exp(-v))
        stretched = soft * (_ZETA - _GAMMA) + _GAMMA
        h = np.clip(stretched, 0, 1)
        inner = ((stretched > 0) & (stretched < 1)) * soft * (1 - soft) * (_ZETA - _GAMMA)
        real = (below + np.minimum(h, most)) * scale
        gradient = 2 * (real @ damped - target) * scale / unit
        passed = (at / steps - _WARM) / (1 - _WARM)
        if passed > 0:
            beta = _BETA[1] + (_BETA[0] - _BETA[1]) * (1 + np.cos(np.pi * passed)) / 2
            apart = 2 * h - 1
            gradient = gradient - _PULL / size * 2 * beta * np.sign(apart) * np.abs(apart) ** (beta - 1)
        gradient = gradient * inner
        first += 0.1 * (gradient - first)
        second += 0.001 * (gradient**2 - second)
        v -= _RATE * (first / (1 - 0.9**at)) / (np.sqrt(second / (1 - 0.999**at)) + 1e-12)
    learnt = np.minimum(below + (v >= 0), high)
    errors = [np.einsum("goi,goi->go", w, w @ damped - 2 * target) for w in (learnt * scale, nearest * scale)]
    return np.where((errors[0] < errors[1])[..., None], learnt, nearest)


def _inverse(h: Array) -> Array:
    soft = (h - _GAMMA) / (_ZETA - _GAMMA)
    return np.asarray(np.log(soft / (1 - soft)))


def _until(model: ModelProto, value: str) -> ModelProto:
    """``model`` as far as ``value``, its only output."""
    part = ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.add().name = value
    return pruned(part)


def _input_of(model: ModelProto, layer: str) -> str:
    (node,) = _named(model, layer)
    return str(node.input[0])


def _named(model: ModelProto, name: str) -> Iterator[NodeProto]:
    return (node for node in model.graph.node if node_name(node) == name)


def _bias(writer: Writer, node: NodeProto, readers: list[str]) -> str | None:
    """The layer's own stored bias, one number for each channel."""
    name = node.input[2] if len(node.input) > 2 else ""
    array = writer.array(name) if name else None
    layer = layer_of(writer, node)
    if array is None or layer is None or readers.count(name) != 1 or array.size != layer.channels:
        return None
    return name

"""The graph that quantization-aware training runs: floats, rounded wherever the finished model has integers.

Where these are is the placement's business, so that what was learnt and what is exported cannot part. Step sizes are learnt as in
``training.rewrites.fake_quant`` (LSQ), but as shares of what they start with: scale = first scale * exp(factor). Adam moves every
number by about the learning rate whatever its size, and scales lie anywhere between 1e-5 and 1; an exponent of 0.001 is a
thousandth of each, and the decay of weights draws them back to where they started.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto

from edgewise.compress.quantize.grids import Grid
from edgewise.compress.quantize.placement import Placement, bounds
from edgewise.graph.order import captured
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.fake_quant import Quantizer, write_quantizer
from edgewise.training.rewrites.opening import closed, node_name, opened

__all__ = ["Rounding", "round_all", "without_clamps"]


@dataclass(frozen=True, slots=True)
class Rounding:
    """model: that rounds. activations, weights: grids to start with and the new initializers that stretch their scales.

    By value and by layer: a layer may be called as the value that it gives.
    """

    model: ModelProto
    activations: Mapping[str, tuple[Grid, str]]
    weights: Mapping[str, tuple[Grid, str]]

    @property
    def factors(self) -> tuple[str, ...]:
        """The new initializers, each once."""
        return tuple(dict.fromkeys(factor for _, factor in (*self.activations.values(), *self.weights.values())))

    def learnt(self, values: Mapping[str, Array]) -> tuple[dict[str, Grid], dict[str, Grid]]:
        """The grids of activations and weights with the factors that are among ``values``, by initializer."""
        return _stretched(self.activations, values), _stretched(self.weights, values)


def _stretched(grids: Mapping[str, tuple[Grid, str]], values: Mapping[str, Array]) -> dict[str, Grid]:
    found = {}
    for name, (grid, initializer) in grids.items():
        factor = values.get(initializer)
        scale = grid.scale if factor is None else np.asarray(grid.scale * np.exp(factor), np.float32)
        found[name] = replace(grid, scale=scale)
    return found


def without_clamps(core: ModelProto, placement: Placement, activations: Mapping[str, Grid]) -> ModelProto:
    """``core`` without the Relu and Clip that a grid behind them does: its ends, which are learnt, take their place."""
    writer = opened(core)
    readers: dict[str, int] = {}
    for node in writer.graph.node:
        for name in captured(node):
            readers[name] = readers.get(name, 0) + 1
    makers = {name: node for node in writer.graph.node for name in node.output}
    outputs = {value.name for value in writer.graph.output}
    nodes = writer.take_nodes()
    made = {name: node for node in nodes for name in node.output}
    for node in nodes:
        result = node.output[0]
        entering = node.input[0] if node.input else ""
        if node.op_type not in {"Relu", "Clip"} or placement.values.get(result) != result or entering not in makers:
            continue
        low, high = bounds(writer, node)
        if readers[entering] == 1 and entering not in outputs and low == 0 <= high and activations[result].ends[0] >= 0:
            maker = made[entering]
            maker.output[list(maker.output).index(entering)] = result
            node.op_type = ""
    writer.graph.node.extend(node for node in nodes if node.op_type)
    return closed(writer)


def round_all(
    core: ModelProto, placement: Placement, activations: Mapping[str, Grid], weights: Mapping[str, Grid]
) -> Rounding:
    """``core``, rounding as the model that ``qdq.write`` makes of the same arguments. Biases stay as they are."""
    writer = opened(core)
    inside, outputs = {*placement.layers, *placement.between}, {value.name for value in writer.graph.output}
    raw = {name: writer.fresh(f"{name}/raw") for name in placement.values if name in outputs}
    rounding = _Rounding(writer, placement, raw)
    for node in writer.take_nodes():
        name = node_name(node)
        for at, value in enumerate(node.input):
            if value in placement.values and not (writer.array(value) is not None and name not in inside):
                node.input[at] = rounding.activation(value, activations)
        if name in weights:
            node.input[1] = rounding.weight(node.input[1], name, weights[name])
        for at, value in enumerate(node.output):
            if value in raw:
                writer.declare(raw[value], writer.dtype(value), writer.shape(value))
                node.output[at] = raw[value]
        writer.append(node)
    for name in raw:
        rounding.activation(name, activations)
    return Rounding(closed(writer), rounding.activations, rounding.weights)


class _Rounding:
    def __init__(self, writer: Writer, placement: Placement, raw: Mapping[str, str]) -> None:
        self.w, self.placement, self.raw = writer, placement, raw
        self.activations: dict[str, tuple[Grid, str]] = {}
        self.weights: dict[str, tuple[Grid, str]] = {}
        self.scales: dict[str, str] = {}  # a speaker -> its scale
        self.made: dict[str, str] = {}
        self.shared: dict[tuple[str, int | None], tuple[str, tuple[Grid, str]]] = {}

    def activation(self, value: str, grids: Mapping[str, Grid]) -> str:
        if value not in self.made:
            speaker = self.placement.values[value]
            if speaker not in self.scales:
                factor, self.scales[speaker] = self._scale(speaker, grids[speaker])
                self.activations[speaker] = grids[speaker], factor
            # What only moves elements gives them on the grid that they came on: rounding again would change nothing.
            still = speaker != value and value not in self.raw
            self.made[value] = value if still else self._rounded(value, self.scales[speaker], grids[speaker])
        return self.made[value]

    def weight(self, value: str, layer: str, grid: Grid) -> str:
        key = (value, grid.axis)
        if key not in self.shared:
            factor, scale = self._scale(layer, grid)
            self.shared[key] = self._rounded(value, scale, grid), (grid, factor)
        # Layers that share a weight share its scales.
        result, self.weights[layer] = self.shared[key]
        return result

    def _scale(self, owner: str, grid: Grid) -> tuple[str, str]:
        w = self.w
        factor = w.store(w.fresh(f"{owner}/factor"), np.zeros(grid.scale.shape, np.float32))
        return factor, w.node("Mul", w.constant(grid.scale), w.node("Exp", factor))

    def _rounded(self, value: str, scale: str, grid: Grid) -> str:
        w, entering = self.w, self.raw.get(value, value)
        result = value if value in self.raw else w.fresh(f"{value}/rounded")
        if not w.dtype(entering):
            w.declare(entering, "float32", w.shape(entering))
        # One value in a group: Adam, which takes the steps, does not see how large a gradient is.
        write_quantizer(w, Quantizer(entering, result, scale, grid.dtype, grid.zero, grid.axis, grid.limits), 1)
        return result

"""Static int8: layers and what lies between them on integers, with ranges measured once.

onnxruntime.quantization.quantize_static does the same, and as well on plain convolutional nets. This exists for the others: it
rounds every value of every operator that it knows, masks and scores too (an encoder over tokens came out at 1.2 dB, from here
at 31), leaves GlobalMaxPool and the like as islands of float, has no squared error, correction or equalisation, and keeps the
grids to itself, which learnt roundings need. tests/compress/quantize/test_against_onnxruntime.py compares the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
from onnx import ModelProto

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.bias_correction import corrected
from edgewise.compress.quantize.equalize import equalized
from edgewise.compress.quantize.grids import Grid, activation_grid, weight_grid
from edgewise.compress.quantize.integer_forms import integer_forms
from edgewise.compress.quantize.nibbles import in_nibbles
from edgewise.compress.quantize.placement import LAYERS, Placement, layers_of, place, weight_axis
from edgewise.compress.quantize.preparation import Prepared, prepare
from edgewise.compress.quantize.qdq import Bias, Written, write
from edgewise.compress.quantize.ranges import Batches, Histogram, Method, histograms, range_of
from edgewise.compress.quantize.weight_only import Storage, stored, weights_in
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import node_name, opened

__all__ = ["Measured", "Started", "Static", "activation_grids", "measured", "quantized", "start", "weight_grids"]

_WORDS = {
    "minmax": "the whole range seen", "percentile": "the range without outliers",
    "entropy": "the range that keeps the most information", "mse": "the range of the least squared error",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """The pass.

    activations: u8 is onnxruntime's fast form on x86, s8 what other targets ask for; on x86 it leaves sums and products of s8 in
    float. weights: a scale for each output channel, or one for each tensor. ranges: of activations, how they are read from what
    was seen on ``count`` samples. weight_ranges: "max", or the smallest squared error. weight_bits: 7 for processors whose
    16-bit sums saturate (x86 before VNNI), 4 for half the bytes again: few networks stand it without learning. bias: int32 is the
    form that every runtime knows; onnxruntime 1.32 makes the same integers of a float32 bias, in fewer bytes. equalize,
    correct: cross-layer equalisation before, bias correction behind. rest: weights of what has no integer form (ConvTranspose,
    recurrent layers, tables) are stored as integers too, and computed with in float. front: preprocessing that is a layer in all
    but name (a spectrogram is a convolution) in integers too. keep: shell patterns of layers, by node name, that stay in float.
    """

    activations: Literal["u8", "s8"] = "u8"
    weights: Literal["channel", "tensor"] = "channel"
    ranges: Method = "minmax"
    weight_ranges: Literal["max", "mse"] = "max"
    weight_bits: Literal[8, 7, 4] = 8
    bias: Bias = "int32"
    equalize: bool = False
    correct: bool = False
    rest: bool = True
    front: bool = False
    keep: tuple[str, ...] = ()
    count: int = 200

    @property
    def name(self) -> str:
        parts = [f"{self.activations}s{self.weight_bits}", self.weights, self.ranges]
        parts += ["weights-mse"] * (self.weight_ranges == "mse") + ["float-bias"] * (self.bias == "float32")
        parts += ["equalized"] * self.equalize + ["corrected"] * self.correct
        parts += ["rest-float"] * (not self.rest) + ["front"] * self.front
        parts += [f"keep={'|'.join(self.keep)}"] if self.keep else []
        return f"int8-static:{','.join(parts)},n={self.count}"

    def describe(self) -> str:
        added = [
            "weights equalised across layers" * self.equalize, "biases corrected" * self.correct,
            "preprocessing in integers too" * self.front,
            f"{', '.join(self.keep)} left in float" * bool(self.keep),
        ]  # fmt: skip
        return (
            f"weights as int{self.weight_bits} per {self.weights}, activations as {self.activations[0]}int8 over "
            f"{_WORDS[self.ranges]} on {self.count} samples".replace("sint8", "int8")
            + "".join(f", {text}" for text in added if text)
        )

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError where the model has no layer that runs in integers."""
        ready = start(model, samples, self, watch)
        return ready.finished(ready.layers, watch)


@dataclass(frozen=True, slots=True)
class Started:
    """A model, measured, of which any layers can be quantized. seen: of its core. batches: feeds of the core."""

    prepared: Prepared
    settings: Static
    seen: "Measured"
    batches: Batches

    @property
    def layers(self) -> list[str]:
        """The layers that the settings do not keep in float."""
        keep = self.settings.keep
        return [name for name in self.seen.layers if not any(fnmatchcase(name, pattern) for pattern in keep)]

    def core_with(self, layers: list[str], watch: Watch = nobody) -> ModelProto:
        """The core with these layers in integers, and biases corrected where the settings say so."""
        written = quantized(self.seen, self.settings, layers)
        return corrected(written.model, self.seen.core, self.batches, watch) if self.settings.correct else written.model

    def finished(self, layers: list[str], watch: Watch = nobody) -> ModelProto:
        """The whole model with these layers in integers, and the rest stored in them where the settings say so."""
        return self.whole(self.core_with(layers, watch), layers)

    def whole(self, core: ModelProto, layers: Sequence[str]) -> ModelProto:
        """The whole model around a core that has these layers in integers; the rest stored in them where the settings say so."""
        if self.settings.rest:
            kept = set(self.seen.layers) - set(layers)
            exact = {name for node in core.graph.node if node_name(node) in kept for name in node.input}
            if weights_in(core, Storage().least, exact):
                core = stored(core, Storage(), exact)
        return self.prepared.parts.whole(in_nibbles(core) if self.settings.weight_bits <= 4 else core)


def start(model: ModelProto, samples: Samples, settings: Static, watch: Watch = nobody) -> Started:
    """``model`` simplified, in integer forms, equalised where the settings say so, and measured."""
    prepared = prepare(model, whole=settings.front)
    core = integer_forms(prepared.core)
    core = equalized(core)[0] if settings.equalize else core
    batches = prepared.batches(samples, settings.count)
    return Started(prepared, settings, measured(core, batches, settings.ranges, watch), batches)


@dataclass(frozen=True, slots=True)
class Measured:
    """core: a float model. layers: of it, that can run in integers, by node name. seen: histograms of what they may round."""

    core: ModelProto
    layers: tuple[str, ...]
    seen: Mapping[str, Histogram] = field(repr=False)


def measured(core: ModelProto, batches: Batches, method: Method, watch: Watch = nobody) -> Measured:
    """``core`` with what its values were on ``batches``. Raises UnsupportedError where no layer runs in integers."""
    writer = opened(core)
    layers = tuple(node_name(node) for node in layers_of(writer))
    if not layers:
        found = sorted({node.op_type for node in writer.graph.node})
        raise UnsupportedError(
            f"there is no {', '.join(LAYERS)} with stored float32 weights, only {', '.join(found[:8])}",
            remedy="Store weights in fewer bits (weight-only), or as halves.",
        )
    # All that may be rounded, not only what speaks for others: with fewer layers, others do.
    values = sorted(name for name in place(writer, layers).values if writer.array(name) is None)
    return Measured(
        core, layers, histograms(core, values, batches, bins=1 if method == "minmax" else 2048, watch=watch)
    )


def quantized(
    seen: Measured, settings: Static, layers: list[str], integers: Mapping[str, Array] | None = None,
    grids: Mapping[str, Grid] | None = None,
) -> Written:  # fmt: skip
    """``seen.core`` with these layers, and what lies between them, in integers.

    integers, grids: of weights, by layer, in place of the nearest ones on the grid that ``settings`` means.
    """
    if not layers:
        raise UnsupportedError("every layer is kept in float", remedy="Keep fewer.")
    writer = opened(seen.core)
    placement = place(writer, layers)
    activations = activation_grids(writer, placement, seen, settings)
    weights = weight_grids(writer, placement, settings) | dict(grids or {})
    return write(writer, placement, activations, weights, integers, bias=settings.bias)


def activation_grids(writer: Writer, placement: Placement, seen: Measured, settings: Static) -> dict[str, Grid]:
    """Grid of each value that speaks for others."""
    return {name: _activation(writer, name, seen, settings) for name in set(placement.values.values())}


def weight_grids(writer: Writer, placement: Placement, settings: Static) -> dict[str, Grid]:
    """Grid of each layer's stored weight."""
    chosen, found = set(placement.layers), dict[str, Grid]()
    for node in writer.graph.node:
        name = node_name(node)
        array = writer.array(node.input[1]) if name in chosen else None
        if array is not None:
            axis = weight_axis(writer, node) if settings.weights == "channel" else None
            searched = settings.weight_ranges == "mse"
            found[name] = weight_grid(np.asarray(array), axis, bits=settings.weight_bits, searched=searched)
    return found


def _activation(writer: Writer, name: str, seen: Measured, settings: Static) -> Grid:
    stored = writer.array(name)
    if stored is not None:
        return activation_grid(float(stored.min()), float(stored.max()), settings.activations)
    return activation_grid(*range_of(seen.seen[name], settings.ranges), settings.activations)

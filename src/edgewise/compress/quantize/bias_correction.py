"""Taking the expected error of each layer's result back out through its bias.

Rounded weights and clipped inputs shift the mean of what a layer gives, channel by channel, and later layers see the shift as
signal. Measured on samples, layer by layer, each on what the corrected ones before it give: Nagel et al., Data-Free Quantization
Through Weight Equalization and Bias Correction (ICCV 2019), section 4.2, in the empirical form of their appendix D.
"""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto

from edgewise.compress.passes import Pass, Watch, nobody
from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.quantize.ranges import Batches, watched
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import closed, node_name, opened, users

__all__ = ["BiasCorrected", "corrected"]

_LAYERS = {"Conv", "ConvTranspose", "Gemm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasCorrected:
    """The pass ``inner``, with the biases of its result corrected towards the model it was given.

    inner: one that keeps the names and the meaning of layers and changes how weights are stored. ``count``: samples.
    """

    inner: Pass
    count: int = 200

    @property
    def name(self) -> str:
        return f"{self.inner.name}+bias-correction:n={self.count}"

    def describe(self) -> str:
        return f"{self.inner.describe()}, biases corrected on {self.count} samples"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError where the two have no layer with a bias in common."""
        prepared = prepare(model)
        reference = prepared.parts.whole(prepared.core)
        return corrected(self.inner.apply(model, samples, watch), reference, lambda: samples.feeds(self.count), watch)


def corrected(model: ModelProto, reference: ModelProto, batches: Batches, watch: Watch = nobody) -> ModelProto:
    """``model`` with biases for which its layers have, over the batches, the means of those of the same name in ``reference``.

    Raises UnsupportedError where there is no such layer.
    """
    writer = opened(model)
    before = {node_name(node): node.output[0] for node in reference.graph.node if node.op_type in _LAYERS}
    layers = [node for node in writer.graph.node if node.op_type in _LAYERS and node_name(node) in before]
    if not layers:
        raise UnsupportedError(
            "no Conv, ConvTranspose or Gemm of the model is in the result: there is no bias to correct"
        )
    wanted = _means(reference, [before[node_name(node)] for node in layers], batches)
    for done, node in enumerate(layers):
        (found,) = _means(_until(writer.model, node.output[0]), [node.output[0]], batches, optimised=False).values()
        _shift(writer, node, wanted[before[node_name(node)]] - found)
        watch("correcting biases", done + 1, len(layers))
    return closed(writer)


def _until(model: ModelProto, value: str) -> ModelProto:
    """Only what ``value`` needs."""
    part = ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.append(ValueInfoProto(name=value))
    return pruned(part)


def _means(model: ModelProto, values: list[str], batches: Batches, *, optimised: bool = True) -> dict[str, Array]:
    """Mean of each value over samples and positions: (channels,)."""
    session, computed = watched(model, values, optimised=optimised)
    sums, counts = dict[str, Array](), dict[str, int]()
    for batch in batches():
        for name, array in zip(computed, session.run(computed, dict(batch)), strict=True):
            others = (0, *range(2, array.ndim))
            sums[name] = sums.get(name, 0.0) + array.sum(axis=others, dtype=np.float64)
            counts[name] = counts.get(name, 0) + array.size // array.shape[1]
    return {name: total / counts[name] for name, total in sums.items()}


def _shift(writer: Writer, node: NodeProto, by: Array) -> None:
    """Add ``by`` to the bias of ``node``, in the form that it is stored in."""
    value = node.input[2] if len(node.input) > 2 else ""
    maker = next((other for other in writer.graph.node if value and value in other.output), None)
    if maker is not None:
        _shift_integers(writer, maker, by)
        return
    old = writer.array(value) if value else np.zeros(by.shape, np.float32)
    if old is not None:
        stored = writer.store(writer.fresh(f"{value or node.output[0]}/corrected"), (old + by).astype(old.dtype))
        node.input[:] = [*node.input[:2], stored]


def _shift_integers(writer: Writer, maker: NodeProto, by: Array) -> None:
    whole, scale = (writer.array(name) for name in maker.input[:2])
    if maker.op_type != "DequantizeLinear" or whole is None or scale is None or len(users(writer, maker.output[0])) > 1:
        return
    shifted = np.round(np.asarray(whole, np.float64) + by / np.asarray(scale, np.float64))
    maker.input[0] = writer.store(writer.fresh(f"{maker.input[0]}/corrected"), shifted.astype(whole.dtype))

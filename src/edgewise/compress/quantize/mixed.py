"""Mixed precision: the layers that hurt most in integers stay in float, as many as a target needs.

How much a layer hurts is measured, not guessed: it alone is quantized, and the outputs of the whole model are compared with those
before, on the calibration samples. The layers' errors are nearly independent, so leaving out the worst first is near the best
choice (as in Wu et al., Integer Quantization for Deep Learning Inference, 2020, section 6.1).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, inf, log10

import numpy as np
from onnx import ModelProto

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.aware import Aware
from edgewise.compress.quantize.placement import literal
from edgewise.compress.quantize.ranges import Batches, watched
from edgewise.compress.quantize.static import Started, Static, start
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import node_name, opened

__all__ = ["Mixed", "Sensitivity", "sensitivities", "sqnr"]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What happens to the deciding output when ``layer`` alone is in integers. sqnr: in dB. flips: share of decisions changed."""

    layer: str
    sqnr: float
    flips: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """The pass. inner: how the others are quantized. One of the targets: share of the layers that stay in float; bytes that those
    may take more than as integers; or the least SQNR of the deciding output, in dB, on the calibration samples.
    """

    inner: Static | Aware = field(default_factory=Static)
    share: float | None = None
    extra: int | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        if sum(target is not None for target in (self.share, self.extra, self.floor)) != 1:
            raise ValueError("one of share, extra and floor is needed")

    @property
    def name(self) -> str:
        targets = {"share": self.share, "extra": self.extra, "floor": self.floor}
        target = ",".join(f"{word}={number:g}" for word, number in targets.items() if number is not None)
        return f"mixed:{target}{'dB' * (self.floor is not None)};{self.inner.name}"

    def describe(self) -> str:
        target = (
            f"the most sensitive {self.share:.0%} of the layers" if self.share is not None
            else f"as many sensitive layers as {self.floor:g} dB of the outputs need" if self.floor is not None
            else f"sensitive layers of {self.extra} bytes more"
        )  # fmt: skip
        return f"{self.inner.describe()}; {target} left in float"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError where no layer runs in integers, or where the floor is not reached with any of them."""
        static = self.inner if isinstance(self.inner, Static) else self.inner.static
        ready = start(model, samples, static, watch)
        worst = [each.layer for each in sensitivities(ready, samples, watch)]
        if self.share is not None:
            kept = set(worst[: min(ceil(self.share * len(worst)), len(worst) - 1)])
        elif self.extra is not None:
            kept = _within(ready, worst[:-1], self.extra)
        else:
            kept = set(worst[: self._needed(ready, samples, worst, watch)])
        if isinstance(self.inner, Static):
            return ready.finished([name for name in ready.seen.layers if name not in kept], watch)
        keep = tuple(literal(name) for name in ready.seen.layers if name in kept)
        return replace(self.inner, static=replace(static, keep=(*static.keep, *keep))).apply(model, samples, watch)

    def _needed(self, ready: Started, samples: Samples, worst: list[str], watch: Watch) -> int:
        """The least number of layers in float with which the floor is reached, by halving."""
        wanted, floor = _outputs(ready.seen.core, ready.batches, samples.output), self.floor or 0.0

        def reached(count: int) -> float:
            kept = set(worst[:count])
            core = ready.core_with([name for name in ready.seen.layers if name not in kept])
            watch(f"{count} of {len(worst)} layers in float", count, len(worst))
            return sqnr(wanted, _outputs(core, ready.batches, samples.output))

        low, high = 0, len(worst) - 1
        best = reached(high)
        if best < floor:
            raise UnsupportedError(
                f"{floor:g} dB are not reached: with {worst[-1]!r} alone in integers it is {best:.1f}",
                remedy="Lower the floor, or keep the model in float.",
            )
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if reached(middle) >= floor else (middle + 1, high)
        return low


def _within(ready: Started, worst: list[str], extra: int) -> set[str]:
    """As many of ``worst`` as take no more than ``extra`` bytes more in float, the worst first; the too large are passed over."""
    writer, kept, left = opened(ready.seen.core), set[str](), extra
    weights = {node_name(node): node.input[1] for node in writer.graph.node if node_name(node) in worst}
    for name in worst:
        array = writer.array(weights[name])
        more = 0 if array is None else array.size * (4 - ready.settings.weight_bits / 8)
        if more <= left:
            kept.add(name)
            left -= int(more)
    return kept


def sensitivities(ready: Started, samples: Samples, watch: Watch = nobody) -> list[Sensitivity]:
    """Of every layer, the most sensitive first."""
    wanted = _outputs(ready.seen.core, ready.batches, samples.output)
    found = []
    for done, layer in enumerate(ready.seen.layers):
        given = _outputs(ready.core_with([layer]), ready.batches, samples.output)
        found.append(Sensitivity(layer, sqnr(wanted, given), _flips(wanted, given, samples)))
        watch("measuring sensitivity", done + 1, len(ready.seen.layers))
    return sorted(found, key=lambda each: (each.sqnr, -each.flips))


def sqnr(wanted: Array, given: Array) -> float:
    """Signal to quantization noise, in dB: ten times the logarithm of power over power of the difference."""
    signal, noise = (float(np.square(each, dtype=np.float64).sum()) for each in (wanted, wanted - given))
    return inf if noise == 0 else 10 * log10(max(signal, 1e-300) / noise)


def _outputs(model: ModelProto, batches: Batches, output: str) -> Array:
    session, _ = watched(model, [])
    fed: Iterable[Mapping[str, Array]] = batches()
    return np.concatenate([np.atleast_1d(np.asarray(session.run([output], dict(batch))[0])) for batch in fed])


def _flips(wanted: Array, given: Array, samples: Samples) -> float:
    if samples.task == "classification" and wanted.ndim == 2 and wanted.shape[1] > 1:
        return float(np.mean(wanted.argmax(axis=1) != given.argmax(axis=1)))
    if samples.task == "multilabel":
        return float(np.mean((wanted > 0.5) != (given > 0.5)))
    return 0.0

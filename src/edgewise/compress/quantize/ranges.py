"""From what a value was, over samples, to the range that its integers span.

Two runs over the samples: one for the ends, one for a histogram between them. Four ways to read it:

- min-max: the ends themselves.
- percentile: outliers of a share are cut off on either side.
- entropy: the range whose integers lose the least information about the histogram (Migacz, 8-bit Inference with TensorRT, GTC
  2017), here with both ends free.
- mse: the range with the smallest squared error of rounding and clipping (Sung et al., 2015; "MSE" in Nagel et al., A White
  Paper on Neural Network Quantization, 2021, section 3.1).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import ModelProto, ValueInfoProto

from edgewise.compress.passes import Watch, nobody
from edgewise.errors import UnsupportedError
from edgewise.measure.npz import Array
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["Histogram", "Method", "histograms", "range_of", "watched"]

Method = Literal["minmax", "percentile", "entropy", "mse"]
_BINS = 2048
_LEVELS = 256
_SHARES = np.linspace(0.3, 1.0, 36)  # of either end that are tried by entropy and mse
_CUT = 1e-4  # share of values outside, both sides together, under "percentile"
_EMPTY = 1e-9  # probability of what was never seen, so that its logarithm is finite


@dataclass(frozen=True, slots=True)
class Histogram:
    """counts: (bins,) of values between ``low`` and ``high``, in bins of equal width."""

    low: float
    high: float
    counts: Array

    @property
    def centres(self) -> Array:
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (np.arange(len(self.counts)) + 0.5)


Batches = Callable[[], Iterable[Mapping[str, Array]]]


def watched(
    model: ModelProto, values: Sequence[str], *, optimised: bool = True
) -> tuple[ort.InferenceSession, list[str]]:
    """A session that gives ``values`` besides the outputs, and those of them that it computes (the others are fed).

    optimised: False runs the graph as it is written, each rounding in its place.
    """
    shown = ModelProto()
    shown.CopyFrom(model)
    inputs, outputs = ({item.name for item in part} for part in (model.graph.input, model.graph.output))
    computed = [name for name in values if name not in inputs]
    shown.graph.output.extend(ValueInfoProto(name=name) for name in computed if name not in outputs)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        raise UnsupportedError(f"onnxruntime does not open the model: {str(error)[:300]}") from None
    return session, computed


def histograms(
    model: ModelProto, values: Sequence[str], batches: Batches, *, bins: int = _BINS, watch: Watch = nobody
) -> dict[str, Histogram]:
    """Of each value over all batches (feeds of the model's inputs), which are gone through twice; once where bins is 1.

    Values that are not finite are left out. Raises UnsupportedError where there is no batch.
    """
    session, computed = watched(model, values)
    fed = set(values) - set(computed)

    def seen() -> Iterable[tuple[str, Array]]:
        for done, batch in enumerate(batches()):
            results = session.run(computed, dict(batch)) if computed else []
            watch("measuring ranges", done, done + 1)
            for name, array in [
                *zip(computed, results, strict=True),
                *((n, a) for n, a in batch.items() if n in fed),
            ]:
                flat = np.asarray(array, np.float32).reshape(-1)
                yield name, flat if np.isfinite(flat).all() else flat[np.isfinite(flat)]

    ends: dict[str, tuple[float, float]] = {}
    for name, flat in seen():
        if flat.size:
            low, high = ends.get(name, (np.inf, -np.inf))
            ends[name] = (min(low, float(flat.min())), max(high, float(flat.max())))
    if not ends and values:
        raise UnsupportedError("there is no sample to measure ranges on")
    counts = {name: np.zeros(bins) for name in values}
    if bins > 1:
        for name, flat in seen():
            low, high = ends.get(name, (0.0, 0.0))
            counts[name] += np.histogram(flat, bins, (low, high) if high > low else (low, low + 1))[0]
    return {name: Histogram(*ends.get(name, (0.0, 0.0)), counts[name]) for name in values}


def range_of(seen: Histogram, method: Method) -> tuple[float, float]:
    """Lowest and highest number for the integers of ``seen``; 0 is always between them."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    total = seen.counts.sum()
    if method == "minmax" or total == 0 or high <= low:
        return low, high
    if method == "percentile":
        share = np.cumsum(seen.counts) / total
        edges = np.linspace(seen.low, seen.high, len(seen.counts) + 1)
        first, last = int(np.searchsorted(share, _CUT / 2, "right")), int(np.searchsorted(share, 1 - _CUT / 2))
        return min(float(edges[first]), 0.0), max(float(edges[min(last + 1, len(edges) - 1)]), 0.0)
    if method == "mse":
        return _searched(seen, low, high, _squared_error)
    # Two bins as one: information in finer detail than a quarter of a step is noise, and pays for clipping too much.
    coarse = (
        Histogram(seen.low, seen.high, seen.counts.reshape(-1, 2).sum(axis=1)) if len(seen.counts) % 2 == 0 else seen
    )
    return _searched(coarse, low, high, _lost_information)


def _searched(
    seen: Histogram, low: float, high: float, loss: Callable[[Histogram, float, float], float]
) -> tuple[float, float]:
    """Both ends drawn in together, then each alone: near the best pair, in 3 x 36 trials. Of equal ranges, the widest."""
    shares = [float(share) for share in _SHARES[::-1]]
    both = min(shares, key=lambda share: loss(seen, low * share, high * share))
    first = min(shares, key=lambda share: loss(seen, low * share, high * both)) if low < 0 else both
    last = min(shares, key=lambda share: loss(seen, low * first, high * share)) if high > 0 else both
    return low * first, high * last


def _steps(seen: Histogram, low: float, high: float) -> tuple[Array, float]:
    scale = max((high - low) / (_LEVELS - 1), 1e-12)
    zero = np.round(-low / scale)
    return np.clip(np.round(seen.centres / scale) + zero, 0, _LEVELS - 1) - zero, scale


def _squared_error(seen: Histogram, low: float, high: float) -> float:
    whole, scale = _steps(seen, low, high)
    return float((seen.counts * np.square(whole * scale - seen.centres)).sum())


def _lost_information(seen: Histogram, low: float, high: float) -> float:
    """Kullback-Leibler divergence of the histogram from itself on the grid, each step spread over the bins that it came from."""
    whole, _ = _steps(seen, low, high)
    inside = (seen.centres >= low) & (seen.centres <= high)
    if not inside.any():
        return np.inf
    real = seen.counts.astype(np.float64)
    step = (whole - whole.min()).astype(np.int64)
    used = inside & (real > 0)
    # What is outside belongs to the outermost bins in the real distribution; the grid never sees how much that was.
    mass = np.bincount(step[inside], real[inside], minlength=_LEVELS)
    places = np.bincount(step[used], minlength=_LEVELS)
    spread = np.where(used, mass[step] / np.maximum(places[step], 1), 0.0)
    first, last = np.flatnonzero(inside)[[0, -1]]
    folded = np.where(inside, real, 0.0)
    folded[first] += real[:first].sum()
    folded[last] += real[last + 1 :].sum()
    p, q = folded / folded.sum(), np.maximum(spread / max(spread.sum(), _EMPTY), _EMPTY)
    kept = p > 0
    return float((p[kept] * np.log(p[kept] / q[kept])).sum())

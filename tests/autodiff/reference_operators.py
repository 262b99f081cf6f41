"""Operators that onnx's reference implementation lacks, computes in float32, or otherwise than the specification says.

Plain NumPy, one loop over the positions of a window: an oracle that shares no code with what it checks.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, erf, pi, prod, sqrt
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

__all__ = ["EXACT"]

Array = np.ndarray[Any, Any]
_erf = np.vectorize(erf, otypes=[np.float64])


class Erf(OpRun):
    def _run(self, x: Array) -> tuple[Array]:
        return (np.asarray(_erf(x)).astype(x.dtype),)


class Gelu(OpRun):
    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        inner = np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)) if approximate == "tanh" else _erf(x / sqrt(2))
        return (np.asarray(0.5 * x * (1 + inner)).astype(x.dtype),)


class Mean(OpRun):
    def _run(self, *inputs: Array) -> tuple[Array]:
        return (np.asarray(sum(inputs[1:], inputs[0]) / len(inputs)),)


class Windows:
    """Where each output of a convolution or pool reads."""

    def __init__(
        self, source: Sequence[int], kernel: Sequence[int], strides: Any, dilations: Any, pads: Any, auto_pad: Any,
        ceil_mode: Any = 0,
    ) -> None:  # fmt: skip
        rank = len(kernel)
        self.kernel, self.strides, self.dilations = kernel, strides or [1] * rank, dilations or [1] * rank
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, self.dilations, strict=True)]
        pads = pads or [0] * (2 * rank)
        self.dropped = False
        self.before, self.after, self.target = list(pads[:rank]), list(pads[rank:]), []
        for at, (m, span, stride) in enumerate(zip(source, spans, self.strides, strict=True)):
            if auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
                count = ceil(m / stride)
                total = max((count - 1) * stride + span - m, 0)
                less, more = total // 2, total - total // 2
                self.before[at], self.after[at] = (less, more) if auto_pad == "SAME_UPPER" else (more, less)
            else:
                room = m + self.before[at] + self.after[at] - span
                count = (ceil(room / stride) if ceil_mode else room // stride) + 1
                if ceil_mode and (count - 1) * stride >= m + self.before[at]:
                    count -= 1  # a window has to start in the input or in the pads before it
                    self.dropped = True
            self.target.append(count)

    def padded(self, x: Array, value: float = 0.0) -> Array:
        beyond = [
            max((n - 1) * s + (k - 1) * d + 1 - x.shape[2 + at] - b, a)
            for at, (n, s, k, d, b, a) in enumerate(
                zip(self.target, self.strides, self.kernel, self.dilations, self.before, self.after, strict=True)
            )
        ]
        return np.pad(x, [(0, 0), (0, 0), *zip(self.before, beyond, strict=True)], constant_values=value)

    def taps(self) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
        """Position in the kernel, and what all outputs read through it."""
        for tap in product(*(range(k) for k in self.kernel)):
            cuts = tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, self.dilations, self.target, self.strides, strict=True)
            )
            yield tap, (slice(None), slice(None), *cuts)


class Conv(OpRun):
    def _run(
        self, x: Array, w: Array, b: Array | None = None, auto_pad: Any = None, dilations: Any = None, group: Any = None,
        kernel_shape: Any = None, pads: Any = None, strides: Any = None,
    ) -> tuple[Array]:  # fmt: skip
        group = group or 1
        windows = Windows(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
        padded = windows.padded(x)
        y = np.zeros((len(x), len(w), *windows.target), x.dtype)
        inner, outer = x.shape[1] // group, len(w) // group
        for tap, cut in windows.taps():
            part = padded[cut]
            for g in range(group):
                weight = w[(slice(g * outer, (g + 1) * outer), slice(None), *tap)]
                y[:, g * outer : (g + 1) * outer] += np.einsum(
                    "oi,ni...->no...", weight, part[:, g * inner : (g + 1) * inner]
                )
        return (y if b is None else y + b.reshape(-1, *[1] * len(windows.target)),)


class ConvTranspose(OpRun):
    def _run(
        self, x: Array, w: Array, b: Array | None = None, auto_pad: Any = None, dilations: Any = None, group: Any = None,
        kernel_shape: Any = None, output_padding: Any = None, output_shape: Any = None, pads: Any = None, strides: Any = None,
    ) -> tuple[Array]:  # fmt: skip
        rank, group = w.ndim - 2, group or 1
        strides, dilations = strides or [1] * rank, dilations or [1] * rank
        pads, extra = pads or [0] * (2 * rank), output_padding or [0] * rank
        spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
        full = [(n - 1) * s + span for n, s, span in zip(x.shape[2:], strides, spans, strict=True)]
        if output_shape:
            total = [n + e - o for n, e, o in zip(full, extra, output_shape, strict=True)]
            pads = [t // 2 for t in total] + [t - t // 2 for t in total]
            if auto_pad != "SAME_UPPER":
                pads = pads[rank:] + pads[:rank]
        inner, outer = x.shape[1] // group, w.shape[1]
        y = np.zeros((len(x), outer * group, *(n + max(e, 0) for n, e in zip(full, extra, strict=True))), x.dtype)
        for tap in product(*(range(k) for k in w.shape[2:])):
            cut = tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilations, x.shape[2:], strides, strict=True)
            )
            for g in range(group):
                weight = w[(slice(g * inner, (g + 1) * inner), slice(None), *tap)]
                part = np.einsum("io,ni...->no...", weight, x[:, g * inner : (g + 1) * inner])
                y[(slice(None), slice(g * outer, (g + 1) * outer), *cut)] += part
        ends = [n + e - a for n, e, a in zip(full, extra, pads[rank:], strict=True)]
        y = y[(slice(None), slice(None), *(slice(p, e) for p, e in zip(pads[:rank], ends, strict=True)))]
        return (y if b is None else y + b.reshape(-1, *[1] * rank),)


class AveragePool(OpRun):
    def _run(
        self, x: Array, auto_pad: Any = None, ceil_mode: Any = None, count_include_pad: Any = None, dilations: Any = None,
        kernel_shape: Any = None, pads: Any = None, strides: Any = None,
    ) -> tuple[Array]:  # fmt: skip
        windows = Windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
        inside = np.ones_like(x)
        if count_include_pad:
            around = [(0, 0), (0, 0), *zip(windows.before, windows.after, strict=True)]
            inside = np.pad(inside, around, constant_values=1)
            grown = windows.padded(x).shape
            inside = np.pad(inside, [(0, n - m) for n, m in zip(grown, inside.shape, strict=True)])
        else:
            inside = windows.padded(inside)
        padded = windows.padded(x)
        total = sum(padded[cut] for _, cut in windows.taps())
        return (np.asarray(total / sum(inside[cut] for _, cut in windows.taps())),)


class LpPool(OpRun):
    def _run(
        self, x: Array, auto_pad: Any = None, ceil_mode: Any = None, dilations: Any = None, kernel_shape: Any = None,
        p: Any = None, pads: Any = None, strides: Any = None,
    ) -> tuple[Array]:  # fmt: skip
        windows = Windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
        power = p or 2
        padded = windows.padded(np.abs(x) ** power)
        return (np.asarray(sum(padded[cut] for _, cut in windows.taps()) ** (1 / power)),)


class GlobalLpPool(OpRun):
    def _run(self, x: Array, p: Any = None) -> tuple[Array]:
        power = p or 2
        return (np.sum(np.abs(x) ** power, axis=tuple(range(2, x.ndim)), keepdims=True) ** (1 / power),)


class GlobalMaxPool(OpRun):
    def _run(self, x: Array) -> tuple[Array]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class LRN(OpRun):
    def _run(self, x: Array, alpha: Any = None, beta: Any = None, bias: Any = None, size: Any = None) -> tuple[Array]:
        squares = np.zeros_like(x)
        for at in range(x.shape[1]):
            first, last = max(0, at - (size - 1) // 2), min(x.shape[1] - 1, at + size // 2)
            squares[:, at] = (x[:, first : last + 1] ** 2).sum(1)
        return (x / (bias + alpha / size * squares) ** beta,)


class MaxUnpool(OpRun):
    def _run(
        self, x: Array, places: Array, shape: Array | None = None, kernel_shape: Any = None, pads: Any = None,
        strides: Any = None,
    ) -> tuple[Array]:  # fmt: skip
        rank = len(kernel_shape)
        strides, pads = strides or [1] * rank, pads or [0] * (2 * rank)
        sides = [
            (n - 1) * s - pads[at] - pads[rank + at] + k
            for at, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape, strict=True))
        ]
        target = [*x.shape[:2], *sides] if shape is None else [int(n) for n in shape]
        y = np.zeros(prod(target), x.dtype)
        y[places.reshape(-1)] = x.reshape(-1)
        return (y.reshape(target),)


EXACT = [AveragePool, Conv, ConvTranspose, Erf, Gelu, GlobalLpPool, GlobalMaxPool, LRN, LpPool, MaxUnpool, Mean]

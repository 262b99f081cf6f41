"""Grids of integers that stand for numbers: x is kept as clip(round(x / scale) + zero, lowest, highest).

As QuantizeLinear does it: rounding to the nearest, halves to the even one. Jacob et al., Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference (CVPR 2018), section 2.1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgewise.measure.npz import Array

__all__ = ["Grid", "activation_grid", "bias_room", "weight_grid"]

Activations = Literal["u8", "s8"]
_LEAST = 1e-8  # step sizes stay above this: what is all zero has a grid too
_SHARES = np.linspace(0.4, 1.0, 31)  # of the range of a weight that are tried for the smallest error
_INT32 = float(1 << 30)  # a bias stays at half of what an int32 holds, so that the sum it starts does too


@dataclass(frozen=True, slots=True)
class Grid:
    """scale: () or (channels,) float32. zero: the integer that 0 becomes. dtype: of the integers. axis: of the channels.

    bits: how many of the integers are used; 7 keeps weights away from the saturating 16-bit sums of x86 without VNNI.
    """

    scale: Array
    zero: int = 0
    dtype: Literal["int8", "uint8"] = "int8"
    axis: int | None = None
    bits: int = 8
    narrow: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest integer in use."""
        if self.dtype == "uint8":
            return 0, (1 << self.bits) - 1
        half = 1 << (self.bits - 1)
        return (1 - half if self.narrow else -half), half - 1

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest number of a grid with one scale."""
        low, high = self.limits
        return (low - self.zero) * float(self.scale), (high - self.zero) * float(self.scale)

    def integers(self, x: Array) -> Array:
        """``x`` on the grid."""
        whole = np.round(np.asarray(x, np.float32) / self._spread(x.ndim)) + self.zero
        return np.clip(whole, *self.limits).astype(self.dtype)

    def numbers(self, integers: Array) -> Array:
        """float32 that the integers stand for."""
        return (integers.astype(np.float32) - np.float32(self.zero)) * self._spread(integers.ndim)

    def _spread(self, rank: int) -> Array:
        if self.axis is None:
            return self.scale
        return self.scale.reshape([-1 if at == self.axis else 1 for at in range(rank)])


def activation_grid(low: float, high: float, kind: Activations = "u8") -> Grid:
    """The grid from ``low`` to ``high``, widened to hold 0 exactly: padding and what Relu cuts off are 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / 255, _LEAST))
    zero = int(np.clip(np.round(-low / scale), 0, 255))
    return Grid(np.asarray(scale), zero, "uint8") if kind == "u8" else Grid(np.asarray(scale), zero - 128, "int8")


def weight_grid(weight: Array, axis: int | None, *, bits: int = 8, searched: bool = False) -> Grid:
    """int8 around 0 for ``weight``, one scale for each channel along ``axis``; one for all where it is None.

    searched: the scale with the smallest squared error, which may clip; else the one that holds the largest weight.
    """
    others = None if axis is None else tuple(at for at in range(weight.ndim) if at != axis)
    most = np.abs(weight).max(axis=others) if weight.size else np.zeros(())
    highest = (1 << (bits - 1)) - 1
    whole = np.asarray(np.maximum(most / highest, _LEAST), np.float32)
    grid = Grid(whole, 0, "int8", axis, bits, narrow=True)
    if not searched:
        return grid
    best, least = whole, np.full(whole.shape, np.inf)
    for share in _SHARES[::-1]:
        tried = Grid(np.asarray(np.maximum(whole * share, _LEAST), np.float32), 0, "int8", axis, bits, narrow=True)
        error = np.square(tried.numbers(tried.integers(weight)) - weight).sum(axis=others)
        best, least = np.where(error < least, tried.scale, best), np.minimum(error, least)
    return Grid(np.asarray(best, np.float32), 0, "int8", axis, bits, narrow=True)


def bias_room(grid: Grid, entering: Array, bias: Array) -> Grid:
    """``grid`` of a weight with scales large enough that ``bias`` is an int32 of scale (entering x weight)."""
    least = np.abs(bias) / (np.float64(entering) * _INT32)
    scale = np.maximum(grid.scale, least if grid.axis is not None else least.max())
    return Grid(np.asarray(scale, np.float32), 0, "int8", grid.axis, grid.bits, grid.narrow)

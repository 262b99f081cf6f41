"""Augmentation of images: (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or float; one draw per image.

Channels are taken to come first where the second dimension is 1, 3 or 4 and the last is not. Distances are pixels, or below 1
shares of the side. Brightness and noise count 1 as full scale (255 for uint8). What moves in from outside repeats the border.
A survey: Shorten and Khoshgoftaar 2019, "A survey on image data augmentation for deep learning".
"""

from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.training.augment.step import as_float, full_scale, like, need, sides

__all__ = ["Affine", "CropResize", "Cutout", "Flip", "Light", "Noise", "Shift", "Turn", "VerticalFlip"]

_CHANNELS = (1, 3, 4)
_ASPECT = 4 / 3  # of Szegedy et al. 2015, arXiv 1409.4842, section 6


@dataclass(frozen=True, slots=True)
class Shift:
    """Moves each image by up to ``by`` pixels (below 1: share of the side) along both axes (LeCun et al. 1998)."""

    by: float = 0.1

    def __post_init__(self) -> None:
        need("shift", (self.by >= 0, f"the distance is not negative, not {self.by}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        images = _channels_last(x)
        n, height, width = images.shape[:3]
        down, right = (_drawn(rng, reach(self.by, side), n) for side in (height, width))
        rows = (np.arange(height) - down[:, None]).clip(0, height - 1)
        columns = (np.arange(width) - right[:, None]).clip(0, width - 1)
        return _as_it_was(images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]], x)


@dataclass(frozen=True, slots=True)
class Flip:
    """Half of the images mirrored left to right. Not for what has a reading direction: digits, text, signs."""

    chance: float = 0.5

    def __post_init__(self) -> None:
        need("flip", (0 <= self.chance <= 1, f"a chance is in 0..1, not {self.chance}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        return _mirrored(x, rng, self.chance, 2)


@dataclass(frozen=True, slots=True)
class VerticalFlip:
    """Half of the images mirrored top to bottom: for what is seen from above, as boards and cells are."""

    chance: float = 0.5

    def __post_init__(self) -> None:
        need("vflip", (0 <= self.chance <= 1, f"a chance is in 0..1, not {self.chance}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        return _mirrored(x, rng, self.chance, 1)


@dataclass(frozen=True, slots=True)
class Turn:
    """Each image turned by 0, 90, 180 or 270 degrees; with a flip all eight symmetries of the square (Cohen and Welling 2016)."""

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        images = _channels_last(x)
        if images.shape[1] != images.shape[2]:
            raise DataError(
                f"images of {images.shape[1]} x {images.shape[2]} cannot be turned by 90 degrees",
                remedy="Bring them to a square first, or leave rot90 out.", rule="augment-square",
            )  # fmt: skip
        out, turns = images.copy(), rng.integers(0, 4, len(images))
        for quarter in (1, 2, 3):
            out[turns == quarter] = np.rot90(images[turns == quarter], quarter, (1, 2))
        return _as_it_was(out, x)


@dataclass(frozen=True, slots=True)
class Affine:
    """Each image turned by up to ``degrees`` and made up to ``scale`` (a share) larger or smaller about its centre; bilinear.

    (Simard et al. 2003, "Best practices for convolutional neural networks applied to visual document analysis".)
    """

    degrees: float = 10.0
    scale: float = 0.1

    def __post_init__(self) -> None:
        need(
            "affine",
            (0 <= self.degrees <= 180, f"degrees are in 0..180, not {self.degrees}"),
            (0 <= self.scale < 1, f"scale is in 0..1, not {self.scale}"),
        )

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        images = _channels_last(x)
        n, height, width = images.shape[:3]
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees, n))
        larger = np.exp(rng.uniform(-1, 1, n) * np.log1p(self.scale))
        cos, sin = ((f(angle) / larger)[:, None, None] for f in (np.cos, np.sin))
        down = (np.arange(height) - (height - 1) / 2)[:, None]
        right = np.arange(width) - (width - 1) / 2
        rows = cos * down - sin * right + (height - 1) / 2
        columns = sin * down + cos * right + (width - 1) / 2
        return _as_it_was(_bilinear(images, rows, columns), x)


@dataclass(frozen=True, slots=True)
class CropResize:
    """A random rectangle of at least ``area`` (a share) of each image, of aspect 3:4 to 4:3, stretched to the whole; bilinear.

    (Szegedy et al. 2015, arXiv 1409.4842, section 6, with a far smaller default than its 8 %.)
    """

    area: float = 0.6

    def __post_init__(self) -> None:
        need("crop", (0 < self.area <= 1, f"the least area is a share in 0..1, not {self.area}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        images = _channels_last(x)
        n, height, width = images.shape[:3]
        area = _uniform(rng, self.area, 1, n)
        aspect = np.exp(_uniform(rng, -1, 1, n) * np.log(_ASPECT))
        tall = np.sqrt(area / aspect).clip(0, 1)
        wide = np.sqrt(area * aspect).clip(0, 1)
        rows = _stretch(height, tall, _uniform(rng, 0, 1, n))[:, :, None]
        columns = _stretch(width, wide, _uniform(rng, 0, 1, n))[:, None, :]
        return _as_it_was(_bilinear(images, rows, columns), x)


@dataclass(frozen=True, slots=True)
class Light:
    """Brightness moved by up to ``brightness`` of full scale, contrast about the image's mean by up to the share ``contrast``.

    (Howard 2013, arXiv 1312.5402.)
    """

    brightness: float = 0.2
    contrast: float = 0.2

    def __post_init__(self) -> None:
        need(
            "light",
            (self.brightness >= 0, f"brightness is not negative, not {self.brightness}"),
            (0 <= self.contrast < 1, f"contrast is in 0..1, not {self.contrast}"),
        )

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        values, shape = as_float(x), (len(x), *sides(x))
        mean = values.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
        factor = rng.uniform(1 - self.contrast, 1 + self.contrast, shape).astype(values.dtype)
        more = (rng.uniform(-1, 1, shape) * self.brightness * full_scale(x.dtype)).astype(values.dtype)
        return like((values - mean) * factor + (mean + more), x.dtype)


@dataclass(frozen=True, slots=True)
class Noise:
    """Gaussian noise whose deviation is up to ``level`` of full scale, drawn for each image (Bishop 1995)."""

    level: float = 0.02

    def __post_init__(self) -> None:
        need("noise", (self.level >= 0, f"a level is not negative, not {self.level}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        values = as_float(x)
        level = rng.uniform(0, self.level, (len(x), *sides(x))) * full_scale(x.dtype)
        noise = rng.standard_normal(x.shape, np.float32)
        return like(values + (level.astype(np.float32) * noise).astype(values.dtype), x.dtype)


@dataclass(frozen=True, slots=True)
class Cutout:
    """A square of the share ``side`` of each image's shorter side replaced by the image's mean.

    (DeVries and Taylor 2017, arXiv 1708.04552.) Its centre lies anywhere, so that at the border less is hidden.
    """

    side: float = 0.25

    def __post_init__(self) -> None:
        need("cutout", (0 <= self.side <= 1, f"the side is a share in 0..1, not {self.side}"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        images = _channels_last(x)
        n, height, width = images.shape[:3]
        half = self.side * min(height, width) / 2
        down = np.abs(np.arange(height) + 0.5 - rng.uniform(0, height, (n, 1))) < half
        right = np.abs(np.arange(width) + 0.5 - rng.uniform(0, width, (n, 1))) < half
        mean = like(as_float(images).mean(axis=(1, 2), keepdims=True), x.dtype)
        return _as_it_was(np.where((down[:, :, None] & right[:, None, :])[..., None], mean, images), x)


def reach(by: float, side: int) -> int:
    """A distance in whole elements: ``by`` itself, or below 1 that share of ``side``."""
    return min(round(by * side if by < 1 else by), side)


def _drawn(rng: np.random.Generator, most: int, n: int) -> Array:
    return rng.integers(-most, most, n, endpoint=True)


def _uniform(rng: np.random.Generator, low: float, high: float, n: int) -> Array:
    return rng.uniform(low, high, n)


def _mirrored(x: Array, rng: np.random.Generator, odds: float, axis: int) -> Array:
    images = _channels_last(x)
    turned = rng.random(len(x)) < odds
    return _as_it_was(np.where(turned[:, None, None, None], np.flip(images, axis), images), x)


def _stretch(side: int, share: Array, at: Array) -> Array:
    # Pixel centres: the rectangle [start, start + share * side) is sampled at side evenly spaced centres.
    start = at * (1 - share) * side
    return start[:, None] + (np.arange(side) + 0.5) * share[:, None] - 0.5


def _bilinear(images: Array, rows: Array, columns: Array) -> Array:
    """``images`` (N, H, W, C) at fractional places; rows and columns broadcast to (N, H', W')."""
    n, height, width = images.shape[:3]
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    top, left = (
        np.minimum(np.floor(at).astype(np.int64), most) for at, most in ((rows, height - 1), (columns, width - 1))
    )
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down = (rows - top).astype(np.float32)[..., None]
    across = (columns - left).astype(np.float32)[..., None]
    # One flat index a corner: several times faster than three indices, and gathering bytes before they become floats helps too.
    pixels = np.ascontiguousarray(images).reshape(n * height * width, -1)
    above = (np.arange(n)[:, None, None] * height + top) * width
    under = above + (below - top) * width

    def mixed(row: Array) -> Array:
        one, other = (as_float(pixels.take(row + column, axis=0)) for column in (left, right))
        return one + (other - one) * across

    upper = mixed(above)
    return like(upper + (mixed(under) - upper) * down, images.dtype)


def _channels_last(x: Array) -> Array:
    if x.ndim not in (3, 4) or x.dtype.kind not in "fiu":
        raise DataError(
            f"images are (N, H, W), (N, H, W, C) or (N, C, H, W) numbers, not {x.dtype} {x.shape}",
            remedy="Choose the augmentation of another kind of data, or none.", rule="augment-shape",
        )  # fmt: skip
    if x.ndim == 3:
        return x[..., None]
    return np.moveaxis(x, 1, -1) if _channels_first(x) else x


def _channels_first(x: Array) -> bool:
    return x.ndim == 4 and x.shape[1] in _CHANNELS and x.shape[3] not in _CHANNELS


def _as_it_was(images: Array, x: Array) -> Array:
    if x.ndim == 3:
        return images[..., 0]
    return np.moveaxis(images, -1, 1) if _channels_first(x) else images

"""What becomes of a small picture in the field: it moves, loses contrast, is covered in part, and the sensor adds noise."""

import numpy as np

from edgewise.measure.npz import Array

_SHIFTED = 0.15  # share of pictures that move by a pixel
_COVERED = 0.15  # share that something lies over
_PATCH = 2  # pixels of its side
_CONTRAST = (0.7, 1.0)
_NOISE = (0.0, 0.15)  # standard deviation, of full scale; evenly drawn for each picture


def field_noise(pictures: Array, rng: np.random.Generator, strength: float = 1.0) -> Array:
    """(N, 8, 8, 1) uint8 as a device in the field sees them. strength: of the noise and of how often something is in the way."""
    count, side = len(pictures), pictures.shape[1]
    x = pictures[..., 0].astype(np.float64) / 255
    moved = rng.random(count) < _SHIFTED * strength
    by = rng.integers(-1, 2, (count, 2)) * moved[:, None]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    rows, columns = (np.arange(side) + 1 + by[:, [axis]] for axis in (0, 1))
    x = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    x = x * rng.uniform(*_CONTRAST, (count, 1, 1))
    covered = rng.random(count) < _COVERED * strength
    corner = rng.integers(0, side - _PATCH + 1, (count, 2))
    along = np.arange(side)
    inside = [(along >= corner[:, [axis]]) & (along < corner[:, [axis]] + _PATCH) for axis in (0, 1)]
    over = inside[0][:, :, None] & inside[1][:, None, :] & covered[:, None, None]
    x = np.where(over, rng.random((count, 1, 1)), x)
    x += rng.normal(size=x.shape) * rng.uniform(*_NOISE, (count, 1, 1)) * strength
    found: Array = np.round(x.clip(0, 1) * 255).astype(np.uint8)[..., None]
    return found

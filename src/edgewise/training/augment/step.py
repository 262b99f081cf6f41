"""What happens to a batch between the data and the model: steps that are composed as a tuple.

A step takes (N, ...) and gives (N, ...), all samples at once, each with its own draw. Its randomness comes from the generator that
it is handed and from nowhere else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from edgewise.errors import InputError
from edgewise.measure.npz import Array

__all__ = [
    "Encoder",
    "LabelMixing",
    "Sometimes",
    "Step",
    "Still",
    "apply_steps",
    "as_float",
    "full_scale",
    "like",
    "need",
    "sides",
    "without_chance",
]


@runtime_checkable
class Step(Protocol):
    """One change of a batch: (N, ...) to (N, ...). The batch that comes in may be written to or not; what comes out counts."""

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array: ...


@runtime_checkable
class LabelMixing(Protocol):
    """A step that changes the targets together with the samples."""

    def mix(self, x: Array, y: Array, rng: np.random.Generator, /) -> tuple[Array, Array]: ...


class Encoder(Protocol):
    """Makes several inputs of a model out of one array, as the last thing: ids and weights out of texts."""

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Mapping[str, Array]: ...

    def still(self) -> "Encoder":
        """The same without chance."""
        ...


@runtime_checkable
class Still(Protocol):
    """A step with a part in evaluation too: conversions, a cut to size."""

    def still(self) -> Step:
        """The same without chance."""
        ...


@dataclass(frozen=True, slots=True)
class Sometimes:
    """A step for the share ``odds`` of the samples, by chance; the others stay as they are. For steps that keep the shape."""

    step: Step
    odds: float = 0.5

    def __post_init__(self) -> None:
        need("a step for some", (0 <= self.odds <= 1, f"odds are in 0..1, not {self.odds}"))
        mixing = isinstance(self.step, (LabelMixing, Still))
        need("a step for some", (not mixing, f"{type(self.step).__name__} is for all samples or none"))

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Array:
        chosen = rng.random(len(x)) < self.odds
        return np.where(chosen.reshape(-1, *sides(x)), self.step(x, rng), x)


def apply_steps(
    steps: Iterable[Step], x: Array, y: Array | None, rng: np.random.Generator
) -> tuple[Array, Array | None]:
    """``x`` and ``y`` after every step in turn. Raises InputError where labels would have to be mixed and there are none."""
    for step in steps:
        if isinstance(step, LabelMixing):
            if y is None:
                raise InputError("a step that mixes labels needs the target in the batch")
            x, y = step.mix(x, y, rng)
        else:
            x = step(x, rng)
    return x, y


def without_chance(steps: Iterable[Step]) -> tuple[Step, ...]:
    """What is left of ``steps`` for evaluation."""
    return tuple(step.still() for step in steps if isinstance(step, Still))


def need(what: str, *rules: tuple[bool, str]) -> None:
    """Raises InputError with every text whose condition does not hold."""
    broken = [text for holds, text in rules if not holds]
    if broken:
        raise InputError(f"{what}: {'; '.join(broken)}", problems=broken)


def as_float(x: Array) -> Array:
    """``x`` as floats to calculate with: its own type, or float32 for integers."""
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def full_scale(dtype: np.dtype[Any]) -> float:
    """What 1 means in arrays of this type: the largest integer, or 1 for floats."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def like(values: Array, dtype: np.dtype[Any]) -> Array:
    """``values`` as ``dtype``; rounded and kept within range for integers."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.rint(values).clip(limits.min, limits.max).astype(dtype)


def sides(x: Array) -> tuple[int, ...]:
    """Axes of a sample, for broadcasting one value per sample: ``factor.reshape(-1, *sides(x))``."""
    return (1,) * (x.ndim - 1)

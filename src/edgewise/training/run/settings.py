"""How to train: everything but the data and the graphs that decides which numbers come out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from edgewise.bundle.strict_json import dump_json
from edgewise.digests import digest_of
from edgewise.errors import InputError
from edgewise.training.data.chance import seed_at
from edgewise.training.run.schedules import CONSTANT, Schedule
from edgewise.training.run.step_file import StepSpec

__all__ = ["FitSettings"]

_OWN = ("learning_rate", "weight_decay", "max_norm", "seed")


@dataclass(frozen=True, slots=True)
class FitSettings:
    """One training run; validated when built. Raises InputError with every fault.

    epochs: passes over the data. learning_rate: the highest one; ``schedule`` says how much of it each update uses.
    weight_decay, max_norm (of all gradients together): None for the step's own defaults. scalars: further inputs of the step,
    such as momentum. seed: of the order of the data, augmentation and dropout. patience: evaluations without improvement
    before training ends, 0 for never. average: decay of an average of the weights that is evaluated and kept in their place
    (0.99, 0.999), 0 for none. evaluate_every: epochs.
    """

    epochs: int
    learning_rate: float = 1e-3
    schedule: Schedule = CONSTANT
    weight_decay: float | None = None
    max_norm: float | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    patience: int = 0
    average: float = 0.0
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        numbers = ("learning_rate", "weight_decay", "max_norm", "average")
        texts = [name for name in numbers if not isinstance(getattr(self, name), Real | None)]
        if texts:
            given = ", ".join(f"{name} is {getattr(self, name)!r}" for name in texts)
            raise InputError(f"training cannot be set up so: {given}; a number is needed")
        problems = [
            f"{name} is {getattr(self, name)!r}; at least {least} is needed"
            for name, least in (("epochs", 1), ("evaluate_every", 1), ("patience", 0), ("seed", 0))
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least
        ]
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            problems.append(f"learning_rate is {self.learning_rate!r}; a positive number is needed")
        if self.weight_decay is not None and not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            problems.append(f"weight_decay is {self.weight_decay!r}; 0 or more is needed")
        if self.max_norm is not None and not (math.isfinite(self.max_norm) and self.max_norm > 0):
            problems.append(f"max_norm is {self.max_norm!r}; a positive number is needed")
        if not 0 <= self.average < 1:
            problems.append(f"average is {self.average!r}; 0 up to below 1 is needed")
        if not self.seed < 2**53:
            problems.append("seed is beyond 2**53")
        problems += [f"scalars: {name} is a setting of its own" for name in self.scalars if name in _OWN]
        problems += [
            f"scalars: {name} is not finite" for name, value in self.scalars.items() if not math.isfinite(value)
        ]
        if problems:
            raise InputError(f"training cannot be set up so: {'; '.join(problems)}", problems=problems)

    def at(self, spec: StepSpec, update: int, updates: int, batch: int) -> dict[str, float]:
        """The scalars for batch number ``batch`` of the run, which belongs to update ``update`` of ``updates``."""
        values = dict(self.scalars) | {"learning_rate": self.learning_rate * self.schedule.factor(update, updates)}
        if self.weight_decay is not None:
            values["weight_decay"] = self.weight_decay
        if self.max_norm is not None:
            values["max_norm"] = self.max_norm
        if any(scalar.name == "seed" for scalar in spec.scalars):
            values["seed"] = seed_at(self.seed, batch)
        return values

    def to_json(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs, "learningRate": self.learning_rate, "schedule": str(self.schedule),
            "weightDecay": self.weight_decay, "maxNorm": self.max_norm, "scalars": dict(self.scalars), "seed": self.seed,
            "patience": self.patience, "average": self.average, "evaluateEvery": self.evaluate_every,
        }  # fmt: skip

    def digest(self) -> str:
        """Equal for settings that train alike."""
        return digest_of(dump_json(self.to_json()))

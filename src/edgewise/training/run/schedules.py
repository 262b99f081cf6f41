"""Learning-rate schedules: the share of the highest rate that an update uses, a pure function of its number.

In words, as on the command line: ``cosine:warmup=0.1,floor=0.01``. Shares of the run are 0..1 of all its updates.
"""

import math
from dataclasses import dataclass

from edgewise.errors import InputError

__all__ = ["CONSTANT", "SCHEDULES", "Schedule", "parse_schedule"]

_WARMUP = {"warmup": (0.0, 0.0, 1.0)}
#: Kind -> option -> (default, lowest, highest).
SCHEDULES: dict[str, dict[str, tuple[float, float, float]]] = {
    "constant": {**_WARMUP},
    # The rate is multiplied by ``factor`` after each ``every`` of the run.
    "step": {**_WARMUP, "every": (1 / 3, 1e-6, 1.0), "factor": (0.1, 0.0, 1.0)},
    # Loshchilov and Hutter, SGDR (2017), one cycle: half a cosine down to ``floor``.
    "cosine": {**_WARMUP, "floor": (0.0, 0.0, 1.0)},
    "linear": {**_WARMUP, "floor": (0.0, 0.0, 1.0)},
    # Smith and Topin, Super-Convergence (2017); shares as in fastai and torch: up from 1/25 by half a cosine until
    # ``peak`` of the run, then down to ``end``.
    "one-cycle": {"peak": (0.3, 0.0, 1.0), "start": (1 / 25, 0.0, 1.0), "end": (1 / 250_000, 0.0, 1.0)},
}
_REMEDY = "Write a kind and options, as in cosine:warmup=0.1; kinds: " + ", ".join(SCHEDULES) + "."


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule; ``options`` are those that differ from the defaults. Raises InputError for unknown kinds and options."""

    kind: str = "constant"
    options: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise InputError(f"there is no schedule {self.kind!r:.40}", remedy=_REMEDY)
        known = SCHEDULES[self.kind]
        problems = [f"{name!r:.40} is not one of {', '.join(known)}" for name, _ in self.options if name not in known]
        for name, value in self.options:
            if name in known and not known[name][1] <= value <= known[name][2]:
                problems.append(f"{name} is {value:g}, outside {known[name][1]:g}..{known[name][2]:g}")
        if len(dict(self.options)) != len(self.options):
            problems.append("an option is there twice")
        if problems:
            raise InputError(f"the schedule {self.kind}: {'; '.join(problems)}", remedy=_REMEDY)

    def factor(self, update: int, updates: int) -> float:
        """What to multiply the highest rate by for update 0..updates-1: in 0..1. Later updates keep the last factor."""
        option = {name: default for name, (default, _, _) in SCHEDULES[self.kind].items()} | dict(self.options)
        last = max(1, updates - 1)
        at = min(update, last)
        if self.kind == "one-cycle":
            return _one_cycle(at / last, option["peak"], option["start"], option["end"])
        warm = round(option["warmup"] * updates)
        if at < warm:
            return (at + 1) / (warm + 1)  # never 0: the first update is to do something
        done = (at - warm) / max(1, updates - warm)  # below 1: the last update is to do something too
        if self.kind == "step":
            # Of all updates, not of those after the warm-up: the steps come where the option says. The slack is for thirds.
            return float(option["factor"] ** math.floor(at / max(1, updates) / option["every"] + 1e-9))
        if self.kind == "cosine":
            return _between(1.0, option["floor"], done)
        if self.kind == "linear":
            return 1.0 - (1.0 - option["floor"]) * done
        return 1.0

    def __str__(self) -> str:
        options = ",".join(f"{name}={value!r}" for name, value in self.options)
        return f"{self.kind}:{options}" if options else self.kind


CONSTANT = Schedule()


def parse_schedule(text: str) -> Schedule:
    """The schedule in words like ``cosine:warmup=0.1``; ``str`` of it is the inverse. Raises InputError for other words."""
    kind, colon, rest = text.strip().partition(":")
    options: list[tuple[str, float]] = []
    for part in rest.split(",") if colon else []:
        name, equals, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not equals or not math.isfinite(number):
            raise InputError(f"the schedule {kind:.40}: {part!r:.60} is not an option=number", remedy=_REMEDY)
        options.append((name.strip(), number))
    return Schedule(kind.strip(), tuple(options))


def _one_cycle(done: float, peak: float, start: float, end: float) -> float:
    if done < peak:
        return _between(start, 1.0, done / peak)
    return _between(1.0, end, (done - peak) / (1 - peak)) if peak < 1 else 1.0


def _between(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2

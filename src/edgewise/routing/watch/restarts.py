"""When a gambler begins anew, so that what changes late is found as fast as what was wrong from the start. Pure.

A gambler bets against "all is as promised". If that is true, then no stake of his, chosen before what it is bet on is known,
gains anything on the mean: his fortune, 1 at first, is a non-negative supermartingale, and reaches 1 / alpha at any time
whatsoever with probability at most alpha (Ville 1939). So an alarm at that height may be looked for after every observation,
for as long as one likes: an *e-process* (Ramdas, Grunwald, Vovk, Shafer 2023, arXiv 2210.01948).

His weakness is a long good time: he loses on it all that he has, and a break that comes then finds him poor. So he puts aside a
part of his money for each later *block* of observations, which only begins to bet there. Three ways to divide it:

- *never*: all of it bets from the start. The sharpest where the promise is broken at once.
- *spending*: block s gets ln 2 (1 / ln(s + 2) - 1 / ln(s + 3)), which sums to 1 over all s. The whole is still one fortune that
  began with 1, so that a false alarm *ever* has probability at most alpha; a break in block s costs about
  ln(s ln(s)^2) more evidence than one at the start: a mixture over change points.
- *running*: each block gets a fresh 1 (Shiryaev and Roberts; the e-detector of Shin, Ramdas, Rinaldo 2022, arXiv 2203.03532).
  A break costs the same whenever it comes, and in the long run there is a false alarm: their mean distance is at least
  length * (1 / alpha - 1) observations, since fortune less money given is a supermartingale.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edgewise.bundle.fields import Form
from edgewise.errors import InputError

__all__ = ["Restarts", "Way"]

Way = Literal["never", "spending", "running"]


@dataclass(frozen=True, slots=True)
class Restarts:
    """way: how the money is divided, see above. length: observations in a block. alpha: an alarm is raised at 1 / alpha."""

    way: Way
    length: int
    alpha: float

    def __post_init__(self) -> None:
        if self.way not in get_args(Way) or self.length < 1 or not 0 < self.alpha < 1:
            raise InputError(
                f"a gambler begins anew {' | '.join(get_args(Way))}, in blocks of at least 1, with alpha between 0 and 1; "
                f"not {self.way!r}, {self.length}, {self.alpha}"
            )

    @property
    def bar(self) -> float:
        """The fortune at which an alarm is raised."""
        return 1 / self.alpha

    @property
    def run_length(self) -> float:
        """Observations before a false alarm, on the mean, at least; infinity where there is none with 1 - alpha."""
        return self.length * (1 / self.alpha - 1) if self.way == "running" else math.inf

    def begins(self, block: int) -> float:
        """The money that begins to bet in this block, the first being 0."""
        if self.way == "spending":
            return math.log(2) * (1 / math.log(block + 2) - 1 / math.log(block + 3))
        return 1.0 if self.way == "running" or not block else 0.0

    def aside(self, block: int) -> float:
        """What is kept aside, while this block lasts, for later ones: it counts, and does not bet."""
        return math.log(2) / math.log(block + 3) if self.way == "spending" else 0.0

    def to_json(self) -> dict[str, Any]:
        return {"way": self.way, "length": self.length, "alpha": self.alpha}

    @staticmethod
    def read(form: Form) -> "Restarts":
        """From ``to_json``'s form; what is wrong is noted there."""
        way = form.text("way", one_of=get_args(Way))
        length, alpha = form.integer("length", low=1, high=1 << 40), form.number("alpha", low=1e-12, high=1 - 1e-12)
        sound = way in get_args(Way) and length >= 1 and 0 < alpha < 1
        return Restarts(way, length, alpha) if sound else Restarts("never", 1, 0.5)  # type: ignore[arg-type]

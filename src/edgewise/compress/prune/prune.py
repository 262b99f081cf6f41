"""The pass: rank all units, take some out, learn again from the model as it came, until a share of the cost is left."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Literal

from onnx import ModelProto

from edgewise.compress.cutting import Cut, cut
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.prune.cost import multiply_adds, stored_bytes
from edgewise.compress.prune.coupling import Coupling, Family, couple
from edgewise.compress.prune.importance import Importance, Scores, importance
from edgewise.compress.prune.shrink import shrunk
from edgewise.compress.prune.taught import relearnt, words
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning
from edgewise.errors import InputError, UnsupportedError

__all__ = ["Prune", "chosen", "cut_to"]

Cost = Callable[[ModelProto], int]
_COSTS: dict[str, Cost] = {"multiply-adds": multiply_adds, "bytes": stored_bytes}
_SHOWN = 6  # reasons in a message
_CLOSE = 0.97  # of the goal: near enough to look no further


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Channels, neurons, heads, hidden units out until ``share`` of the multiply-adds (or bytes) of what has learnt is left.

    how: what a unit is ranked by. steps: rounds of ranking, taking out and learning; each takes the same share of what is left.
    multiple: widths stay multiples of it where they can: at odd widths onnxruntime has no blocked convolutions, and a depthwise
    network with half of the work took twice the time. least: share of every width that stays. count: samples for the ranking.
    tuning: of every round (the last one all epochs, those before share as many); None for no learning.
    """

    share: float = 0.5
    of: Literal["multiply-adds", "bytes"] = "multiply-adds"
    how: Importance = "taylor"
    steps: int = 3
    multiple: int = 4
    least: float = 0.1
    count: int = 512
    tuning: Tuning | None = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.steps < 1 or self.multiple < 1 or not 0 <= self.least < 1:
            raise InputError("share lies between 0 and 1, least from 0 to below 1, steps and multiple are at least 1")

    @property
    def name(self) -> str:
        settings = f"{self.how}-{self.count},{self.steps}-steps,x{self.multiple},least-{self.least:g}"
        return f"prune:{self.share:g}-{self.of},{settings},{words(self.tuning)}"

    def describe(self) -> str:
        tuned = "" if self.tuning is None else f", tuned for {self.tuning.epochs} epochs from the model as it came"
        return f"channels taken out by {self.how} in {self.steps} steps until {self.share:.0%} of the {self.of} were left{tuned}"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError, with what keeps the channels, where the share cannot be reached."""
        parts = cut(model)
        cost, core = _COSTS[self.of], parts.core
        whole = cost(core)
        for step in range(1, self.steps + 1):
            watch("pruning", step, self.steps)
            coupling = couple(core)
            if not coupling.families:
                raise UnsupportedError(f"no channel can be taken out: {_reasons(coupling)}")
            scores = importance(coupling, Cut(parts.front, core, parts.seam), samples, self.how, self.count)
            goal = int(whole * self.share ** (step / self.steps))
            core = cut_to(coupling, scores, goal, cost, multiple=self.multiple, least=self.least ** (1 / self.steps))
            if self.tuning is not None:
                epochs = self.tuning.epochs if step == self.steps else max(1, self.tuning.epochs // (self.steps - 1))
                tuning = replace(self.tuning, epochs=epochs)
                core = relearnt(Cut(parts.front, core, parts.seam), samples, tuning, model, watch)
        return parts.whole(core)


def cut_to(
    coupling: Coupling, scores: Scores, goal: int, cost: Cost, *, multiple: int = 1, least: float = 0.1
) -> ModelProto:
    """The model without as few of the worst units as bring its cost down to ``goal``. Raises UnsupportedError where none do."""
    order = sorted(scores, key=lambda key: (scores[key], key))
    low, high = 0, len(order)

    def gone(count: int) -> set[int]:
        return chosen(coupling.families, order[:count], multiple=multiple, least=least)

    def made(count: int) -> ModelProto:
        return shrunk(coupling, gone(count))

    if cost(made(high)) > goal:
        left = cost(made(high)) / max(cost(coupling.model), 1)
        raise UnsupportedError(
            f"{left:.0%} of the cost stay when all that may go is gone: {_reasons(coupling)}",
            remedy="Keep a larger share, or a smaller least width.",
        )
    while low < high:
        middle = (low + high) // 2
        if cost(made(middle)) <= goal:
            high = middle
        else:
            low = middle + 1
    return shrunk(
        coupling, _put_back(coupling, gone(high), scores, goal, cost, multiple) if multiple > 1 else gone(high)
    )


def _put_back(coupling: Coupling, gone: set[int], scores: Scores, goal: int, cost: Cost, multiple: int) -> set[int]:
    """What goes after all: a block of channels that brought the cost down too far lets others, the best first, come back."""
    blocks, left = [], cost(shrunk(coupling, gone))
    for family in coupling.families:
        own = sorted((unit.key for unit in family.units if unit.key in gone), key=lambda key: (-scores[key], key))
        whole = max(1, multiple // family.repeat)
        blocks += [own[at : at + whole] for at in range(0, len(own), whole)]
    for block in sorted(blocks, key=lambda block: -max(scores[key] for key in block)):
        if left > _CLOSE * goal:
            break
        less = gone.difference(block)
        more = cost(shrunk(coupling, less))
        if more <= goal:
            gone, left = less, more
    return gone


def chosen(families: tuple[Family, ...], worst: list[int], *, multiple: int = 1, least: float = 0.0) -> set[int]:
    """The keys of ``worst`` (in this order) that go: of no family more than leave ``least`` of it, widths at multiples."""
    places = {key: at for at, key in enumerate(worst)}
    gone: set[int] = set()
    for family in families:
        own = sorted((unit.key for unit in family.units if unit.key in places), key=places.__getitem__)
        kept = max(len(family.units) - len(own), ceil(least * len(family.units)), 1)
        whole = max(1, multiple // family.repeat)
        kept = min(ceil(kept / whole) * whole, len(family.units))
        gone.update(own[: len(family.units) - kept])
    return gone


def _reasons(coupling: Coupling) -> str:
    shown = [f"{name}: {why}" for (name, _), why in coupling.pinned.items()]
    return "; ".join(shown[:_SHOWN]) + (f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")

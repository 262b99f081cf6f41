"""How narrow each place becomes: the widths at which the answers suffer least, for so much of the cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgewise.measure.npz import Array

__all__ = ["Place", "chosen_ranks", "ranks_of_share", "widths"]

_NOTHING = 1e-9  # share of what a place says that rounding to float32 takes as well


@dataclass(frozen=True, slots=True)
class Place:
    """width: as it is. heard: (width,) variance that readers see in each direction, the most first. options: narrower widths."""

    width: int
    heard: Array
    options: tuple[int, ...]

    def lost(self, rank: int) -> float:
        """Share of the variance that is not heard any more; 0 for the whole width."""
        total = float(self.heard.sum())
        lost = float(self.heard[rank:].sum()) / total if total > 0 and rank < self.width else 0.0
        return lost if lost > _NOTHING else 0.0


def widths(width: int, multiple: int, least: int = 1) -> tuple[int, ...]:
    """Widths below ``width``, the widest first: multiples of ``multiple``, or of what a narrow place allows."""
    while multiple > 1 and width < 4 * multiple:
        multiple //= 2
    return tuple(rank for rank in range((width - 1) // multiple * multiple, 0, -multiple) if rank >= least)


def ranks_of_share(place: Place, kept: float) -> int:
    """The narrowest width that keeps this share of what is heard."""
    return min((rank for rank in place.options if place.lost(rank) <= 1 - kept), default=place.width)


def chosen_ranks(
    places: Sequence[Place], cost: Callable[[Sequence[int]], float], goal: float
) -> tuple[list[int], float]:
    """A width for each place, and the cost, at most ``goal`` where widths allow it.

    Step by step the one that loses least for what it saves; of all points on the way, the one from which a single step to the
    goal loses least in all.
    """
    ranks = [place.width for place in places]
    now, lost = cost(ranks), 0.0
    ends: list[tuple[float, float, list[int]]] = [(0.0, now, ranks)] if now <= goal else []
    while now > goal:
        steps = []
        for at, place in enumerate(places):
            for rank in place.options:
                tried = [*ranks[:at], rank, *ranks[at + 1 :]]
                after = cost(tried) if rank < ranks[at] else now
                more = place.lost(rank) - place.lost(ranks[at])
                if after < now:
                    steps.append((more / (now - after), -after, more, tried))
                    ends += [(lost + more, -after, tried)] if after <= goal else []
        if not steps:
            return ranks, now
        _, after, more, ranks = min(steps)
        now, lost = -after, lost + more
    _, _, ranks = min(ends)
    return ranks, cost(ranks)

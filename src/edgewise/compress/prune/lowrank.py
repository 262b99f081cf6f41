"""The pass: linear to linear through fewer directions, the ones that are heard; nothing is cut off that a rotation can save."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from onnx import ModelProto

from edgewise.compress.cutting import Cut, cut
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.prune.cost import layer_costs
from edgewise.compress.prune.factors import Wide, split, wide_layers
from edgewise.compress.prune.narrow import narrowed
from edgewise.compress.prune.projection import Basis, Moments, heard_of, measured
from edgewise.compress.prune.ranks import Place, chosen_ranks, ranks_of_share, widths
from edgewise.compress.prune.rules import GATES
from edgewise.compress.prune.spaces import Space, linear_spaces
from edgewise.compress.prune.taught import relearnt, words
from edgewise.compress.quantize.preparation import Prepared
from edgewise.compress.quantize.ranges import watched
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import node_name, opened

__all__ = ["LowRank"]

_SHOWN = 6  # reasons in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """Values between linear layers in fewer directions, until ``share`` of the bytes (or multiply-adds) of these layers is left.

    In place of share: rank, the width of every such value that is wider; or heard, the share of the variance that readers see
    and every such value keeps. multiple: widths are multiples of it, or of what narrow values allow. divide: other layers
    become two thin ones where that is less. count: samples that variances are measured on. tuning: learning afterwards from
    the model as it came; None for none, which is often enough.
    """

    share: float | None = 0.5
    of: Literal["bytes", "multiply-adds"] = "bytes"
    rank: int | None = None
    heard: float | None = None
    multiple: int = 16
    divide: bool = False
    count: int = 4096
    tuning: Tuning | None = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.share, self.rank, self.heard)) != 1:
            raise InputError(
                "one of share, rank and heard says how much is left", remedy="Give share=None with the others."
            )
        shares = [each for each in (self.share, self.heard) if each is not None]
        if (
            any(not 0 < each < 1 for each in shares)
            or (self.rank is not None and self.rank < 1)
            or self.multiple < 1
            or self.count < 2
        ):
            raise InputError("shares lie between 0 and 1, rank and multiple are at least 1, count is at least 2")

    @property
    def name(self) -> str:
        goal = f"{self.share:g}-{self.of}" if self.share is not None else f"rank-{self.rank}"
        goal = goal if self.heard is None else f"heard-{self.heard:g}"
        return f"lowrank:{goal},x{self.multiple}{',divided' * self.divide},n={self.count},{words(self.tuning)}"

    def describe(self) -> str:
        goal = (
            f"at most {self.rank} directions of each" if self.share is None else f"{self.share:.0%} of their {self.of}"
        )
        goal = goal if self.heard is None else f"{self.heard:.1%} of the variance that is heard"
        tuned = "" if self.tuning is None else f", tuned for {self.tuning.epochs} epochs from the model as it came"
        divided = ", other layers divided into two thin ones" * self.divide
        return f"values between linear layers turned and narrowed to {goal}{divided}{tuned}"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError, with what is in the way, where no value can be narrowed or not to the share asked for."""
        parts = cut(model)
        watch("measuring variances", 1, 2)
        found = _found(parts, samples, self)
        ranks = self._ranks(found)
        watch("narrowing", 2, 2)
        core = found.made(ranks)
        if self.tuning is not None:
            core = relearnt(Cut(parts.front, core, parts.seam), samples, self.tuning, model, watch)
        return parts.whole(core)

    def _ranks(self, found: "_Found") -> list[int]:
        places = found.places
        if self.rank is not None:
            ranks = [max((wide for wide in (*place.options, self.rank) if wide <= self.rank), default=place.width)
                     if self.rank < place.width else place.width for place in places]  # fmt: skip
        elif self.heard is not None:
            ranks = [ranks_of_share(place, self.heard) for place in places]
        else:
            cost = found.costs(self.of)
            whole = cost([place.width for place in places])
            ranks, left = chosen_ranks(places, cost, (self.share or 0) * whole)
            if left > (self.share or 0) * whole:
                raise UnsupportedError(
                    f"{left / max(whole, 1):.0%} of the {self.of} between linear layers stay at the least widths",
                    remedy="Keep a larger share.",
                )
        if all(rank == place.width for rank, place in zip(ranks, places, strict=True)):
            raise UnsupportedError("no value between linear layers is wider than that", remedy="Keep less.")
        return ranks


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What can be narrowed in an opened core: spaces first, then layers to be divided; a place for each."""

    writer: Writer
    spaces: tuple[Space, ...]
    bases: tuple[Basis, ...]
    layers: tuple[Wide, ...]
    moments: Mapping[str, Moments]
    places: tuple[Place, ...]

    def made(self, ranks: Sequence[int]) -> ModelProto:
        plans = [
            (space, basis, rank) for space, basis, rank in zip(self.spaces, self.bases, ranks, strict=False)
            if rank < space.width
        ]  # fmt: skip
        divided = [
            (layer, rank) for layer, rank in zip(self.layers, ranks[len(self.spaces) :], strict=True) if rank < layer.outputs
        ]  # fmt: skip
        core = narrowed(self.writer.model, plans, self.moments)
        return split(core, divided, self.moments) if divided else core

    def costs(self, of: str) -> Callable[[Sequence[int]], float]:
        """Bytes or multiply-adds of all that may be narrowed, for widths of the places."""
        nodes = {name: node for node in self.writer.graph.node for name in node.output if name}
        whole = {layer.node: float(layer.multiply_adds) for layer in layer_costs(self.writer.model)}
        inside: dict[str, list[int]] = {}
        weights: dict[str, str] = {}
        for at, space in enumerate(self.spaces):
            parts = [*((maker.result, maker.weight) for maker in space.makers)]
            parts += [(reader.result, reader.weight) for reader in space.readers]
            for result, weight in parts:
                inside.setdefault(result, []).append(at)
                weights[result] = weight

        def base(result: str, weight: str) -> float:
            node = nodes[result]
            if of == "bytes":
                return self._bytes(weight)
            # Of a recurrent layer only the products with its input become fewer.
            part = (
                self._bytes(weight) / (self._bytes(weight) + self._bytes(node.input[2])) if node.op_type in GATES else 1
            )
            return part * whole.get(node_name(node), 0.0)

        shared = [(base(result, weights[result]), places) for result, places in inside.items()]
        first = len(self.spaces)
        own = [(base(layer.result, layer.maker.weight), first + at, layer) for at, layer in enumerate(self.layers)]

        def cost(ranks: Sequence[int]) -> float:
            total = sum(each * np.prod([ranks[at] / self.places[at].width for at in places]) for each, places in shared)
            return float(total) + sum(
                each * (layer.share(ranks[at]) if ranks[at] < layer.outputs else 1.0) for each, at, layer in own
            )

        return cost

    def _bytes(self, name: str) -> float:
        array = self.writer.array(name)
        return 0.0 if array is None else float(array.nbytes)


def _found(parts: Cut, samples: Samples, settings: LowRank) -> _Found:
    """Raises UnsupportedError where there is nothing."""
    writer = opened(parts.core)
    spaces, reasons = linear_spaces(writer)
    taken = {maker.result for space in spaces for maker in space.makers}
    taken |= {reader.result for space in spaces for reader in space.readers}
    layers = wide_layers(writer, taken) if settings.divide else ()
    if not spaces and not layers:
        raise UnsupportedError(f"no value lies between linear layers alone: {_shown(writer, reasons)}")
    axes = {reader.value: reader.seen.axis for space in spaces for reader in space.readers}
    axes |= {layer.result: layer.axis for layer in layers}
    session, _ = watched(writer.model, list(axes))
    moments = measured(session, axes, Prepared(parts, writer.model).batches(samples, settings.count)())
    bases = tuple(heard_of(writer, space, moments) for space in spaces)
    places = [
        Place(space.width, basis.heard, widths(space.width, settings.multiple))
        for space, basis in zip(spaces, bases, strict=True)
    ]
    for layer in layers:
        own = np.maximum(np.linalg.eigvalsh(moments[layer.result].spread)[::-1], 0)
        less = tuple(rank for rank in widths(layer.outputs, settings.multiple) if layer.share(rank) < 1)
        places.append(Place(layer.outputs, own, less))
    return _Found(writer, spaces, bases, layers, moments, tuple(places))


def _shown(writer: Writer, reasons: Mapping[str, str]) -> str:
    if not reasons:
        operators = sorted({node.op_type for node in writer.graph.node})
        return f"no layer has a weight of its own that is stored in float32; there are {', '.join(operators[:8])}"
    shown = [f"{name}: {why}" for name, why in reasons.items()]
    return "; ".join(shown[:_SHOWN]) + (f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")

"""Which channels stand and fall together, over a whole graph.

Every index along every axis of every value carries an atom (``atoms``); the rules for operators (``rules``, ``moves``) tie atoms
into classes. A class is a unit: one channel, neuron, head or hidden unit, with all the places in stored weights that belong to
it, however residuals, concatenations, splits and reshapes lead there. Units that lie on the same axes make a family, a layer's
width. What is not understood pins what it touches, with the reason. The idea of following dependencies is DepGraph's (Fang et
al. 2023); atoms need no bookkeeping of offsets and repeats, since indices carry their class along.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from edgewise.compress.prune.axes import POSITION, Axes, NotUnderstoodError
from edgewise.compress.prune.moves import MOVES
from edgewise.compress.prune.rules import RULES
from edgewise.graph.order import captured
from edgewise.graph.walk import is_default_domain
from edgewise.training.rewrites.opening import opened
from edgewise.training.step.assembly import choose

__all__ = ["Coupling", "Family", "Place", "Unit", "couple"]


@dataclass(frozen=True, slots=True)
class Place:
    """Indices along an axis of a tensor. stored: an initializer; else a computed value."""

    tensor: str
    axis: int
    indices: tuple[int, ...]
    stored: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """What goes or stays as one. exact: taking it out equals zeroing its weights; else a mean or the like changes too."""

    key: int
    places: tuple[Place, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class Family:
    """The units of one width. name: of the first weight they lie in. repeat: least indices that one takes of a weight's axis."""

    name: str
    units: tuple[Unit, ...]
    repeat: int


@dataclass(frozen=True, slots=True)
class Coupling:
    """axes: of ``model``, opened. families: what can be taken. pinned: (tensor, axis) of a layer's weights -> why it stays."""

    model: ModelProto
    axes: Axes
    families: tuple[Family, ...]
    pinned: dict[tuple[str, int], str]


def couple(model: ModelProto) -> Coupling:
    """Follow the channels through ``model`` (a core: the front of a model has none)."""
    axes = Axes(opened(model))
    for node in axes.writer.graph.node:
        rule = (RULES.get(node.op_type) or MOVES.get(node.op_type)) if is_default_domain(node.domain) else None
        reads = sorted(captured(node))
        if rule is None:
            axes.pin_node(node, reads, "how channels go through it is not known")
            continue
        try:
            rule(axes, node)
        except (NotUnderstoodError, IndexError) as error:
            axes.pin_node(
                node, reads, str(error) if isinstance(error, NotUnderstoodError) else "it has an unusual shape"
            )
    for value in axes.writer.graph.output:
        for axis in axes.known.get(value.name, []):
            axes.atoms.pin(axis, "it is an output of the model")
    weights = set(choose(axes.writer.model).parameters)
    return Coupling(axes.writer.model, axes, _families(axes, weights), _pinned(axes, weights))


def _families(axes: Axes, weights: set[str]) -> tuple[Family, ...]:
    places: dict[int, list[Place]] = defaultdict(list)
    for name, own in axes.known.items():
        for at, axis in enumerate(own):
            if axis is None or axes.atoms.stays(axis):
                continue
            roots = axes.atoms.roots(axis)
            order = np.argsort(roots, kind="stable")
            keys, starts = np.unique(roots[order], return_index=True)
            for key, indices in zip(keys.tolist(), np.split(order, starts[1:]), strict=True):
                if axes.atoms.reason(key) is None:
                    places[key].append(Place(name, at, tuple(indices.tolist()), name in axes.stored))
    alike: dict[tuple[tuple[str, int], ...], list[Unit]] = defaultdict(list)
    for key, found in places.items():
        if any(place.tensor in weights for place in found):
            alike[tuple((place.tensor, place.axis) for place in found)].append(
                Unit(key, tuple(found), axes.atoms.exact(key))
            )
    return tuple(
        Family(
            next(place.tensor for place in units[0].places if place.tensor in weights), tuple(units),
            min(len(place.indices) for unit in units for place in unit.places if place.stored),
        )
        for units in alike.values()
    )  # fmt: skip


def _pinned(axes: Axes, weights: set[str]) -> dict[tuple[str, int], str]:
    found = {}
    for name in sorted(weights & set(axes.known)):
        for at, axis in enumerate(axes.known[name][:2]):
            reason = (
                None if axis is None or len(axis) < 2 or not axes.atoms.stays(axis) else axes.atoms.reason(int(axis[0]))
            )
            if reason and reason != POSITION:
                found[name, at] = reason
    return found

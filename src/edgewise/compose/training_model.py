"""`edgewise train`: which model learns, and how samples get into it."""

from argparse import Namespace
from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgewise.compose.training_data import Material, Wanted, kind_of
from edgewise.compose.training_files import front_of_file, hashing_of_file
from edgewise.errors import InputError
from edgewise.graph.inspect import read_model
from edgewise.importing.onnx_file import import_onnx
from edgewise.measure.dataset import rows_by_number
from edgewise.networks.registry import NETWORKS
from edgewise.training.data.checks import refuse
from edgewise.training.data.popularity import Popularity, popularity
from edgewise.training.recipes.front import Front, build_front
from edgewise.training.recipes.plan import Plan, plan_file, plan_network
from edgewise.training.recipes.recipe import Recipe
from edgewise.training.step.assembly import in_floats

__all__ = ["make_front", "make_plan", "read_source", "wanted_by"]


def read_source(name: str) -> ModelProto | None:
    """The ONNX file that is gone on from, in floats; None for a network's name. Raises InputError for what is neither."""
    if name in NETWORKS:
        return None
    path = Path(name)
    if not path.suffix == ".onnx":
        raise InputError(f"{name} is neither a network nor an ONNX file", remedy=f"Networks are {', '.join(NETWORKS)}.")
    found = import_onnx(path)
    files = dict(found.files)
    first, *_ = files
    return in_floats(read_model(files[first], external=lambda location: files[location]))


def wanted_by(model: ModelProto | None) -> Wanted:
    """What the model says of its samples."""
    if model is None:
        return Wanted()
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    if len(dims) == 2:
        return Wanted(length=dims[1] or None)
    if len(dims) != 4:
        return Wanted()
    last = dims[3] in {1, 3} and dims[1] not in {1, 3}
    height, width, channels = (dims[1], dims[2], dims[3]) if last else (dims[2], dims[3], dims[1])
    return Wanted((height, width) if height and width else None, channels if channels in {1, 3} else None)


def make_front(options: Namespace, recipe: Recipe, source: ModelProto | None, material: Material) -> Front:
    """Preprocessing and augmentation for the data. source: the ONNX file, None for a network."""
    data = material.split.train
    takes = NETWORKS[options.network].input if source is None else _takes(source)
    kind = kind_of(data.x, takes)
    if kind == "tokens":
        _refuse_negative(material)
    if source is None:
        return build_front(kind, recipe, data.x, rate=material.rate, spectral=options.network != "cnn1d")
    graph, hashing = front_of_file(options, source, data, kind), hashing_of_file(options.network, kind)
    if kind == "text":
        recipe = recipe.but(text={"weighted": len(source.graph.input) > 1})
    return build_front(kind, recipe, data.x, graph=graph, hashing=hashing, spectral=False)


def _refuse_negative(material: Material) -> None:
    halves = (("training data", material.split.train), ("evaluation data", material.split.evaluation))
    negative = [(what, np.flatnonzero((half.x < 0).any(axis=1))) for what, half in halves]
    refuse(
        [f"{what}: ids of tokens count from 0, and some are below in {rows_by_number(at)}" for what, at in negative if len(at)],
        "the data cannot be trained with",
    )  # fmt: skip


def _takes(model: ModelProto) -> str:
    return "image" if len(model.graph.input[0].type.tensor_type.shape.dim) == 4 else ""


def make_plan(
    options: Namespace, recipe: Recipe, source: ModelProto | None, material: Material, front: Front, seed: int
) -> Plan:  # fmt: skip
    """What is trained with one seed."""
    data = material.split.train
    if source is None:
        strangers = recipe.unknown > 0 and material.unknown is not None
        return plan_network(
            options.network, recipe, front, data, seed=seed, items=_items(options.network, material), unknown=strangers,
            popular=_popular(recipe, material),
        )  # fmt: skip
    return plan_file(
        source, recipe, front, data, loss=options.loss, new_head=options.head, seed=seed, output=options.decision
    )  # fmt: skip


def _popular(recipe: Recipe, material: Material) -> Popularity | None:
    if material.log is None or material.times is None:
        return None
    log, own = material.log, {name: value for name, value in recipe.choices.items() if name != "recent"}
    return popularity(log.item, log.time, material.times, items=len(log.names), **own)


def _items(network: str, material: Material) -> int:
    """The highest number of an item (of a token), held out or not."""
    if material.names or material.split.train.x.dtype.kind not in "iu":
        return len(material.names)
    halves = (material.split.train, material.split.evaluation)
    parts = [part for half in halves for part in ((half.x, half.y) if network == "two-tower" else (half.x,))]
    return int(max(part.max() for part in parts))

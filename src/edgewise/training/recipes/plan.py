"""What is trained, for which task, on which form of the data: a network of ours, or somebody's ONNX file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from onnx import ModelProto

from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.boxes import detection_table
from edgewise.graph.inspect import ValueSummary, describe
from edgewise.graph.join import append
from edgewise.graph.order import pruned
from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array
from edgewise.networks.anchors import VARIANCES, assign
from edgewise.networks.detector import SsdConfig, ssd_anchors
from edgewise.networks.fitting import fit_config
from edgewise.networks.inputs import ImageInput, SequenceInput
from edgewise.networks.registry import NETWORKS, Config, build
from edgewise.training.augment.mix import soft_labels
from edgewise.training.data.popularity import BIAS, Popularity, bias_as_input, with_bias
from edgewise.training.losses.output import OutputMean
from edgewise.training.losses.registry import (
    BinaryCrossEntropy,
    CrossEntropy,
    DiceCrossEntropy,
    Huber,
    Loss,
    MeanSquaredError,
    MultiBox,
)
from edgewise.training.recipes.front import Front
from edgewise.training.recipes.judging import Task
from edgewise.training.recipes.recipe import Recipe
from edgewise.training.rewrites.heads import class_count, free_batch, replace_head

__all__ = ["LOSSES", "Plan", "plan_file", "plan_network"]

#: Loss on the command line -> the task that it trains for.
LOSSES: Mapping[str, Task] = {
    "cross-entropy": "classification", "bce": "multilabel", "mse": "regression", "huber": "regression",
}  # fmt: skip
_PROBABILITY = 0.25  # of a detection that is listed
_FAINT = 1e-6  # deviation of an input that is the same everywhere


@dataclass(frozen=True, slots=True)
class Plan:
    """model: what learns, with one input ``input`` (or those of the front's encoder). deciding: the output that is judged.

    head: initializers of a new last layer. behind: joined to the trained model, for answers that are not learnt. classes: how
    many, 0 where that is no word for the task. targets: data -> target name -> array. started: whether the figure before
    training says something. soft: targets are distributions over the classes.
    popular: of a recommender, what the scores are learnt against.
    """

    task: Task
    model: ModelProto
    front: Front
    loss: Loss
    input: str
    deciding: str
    targets: Callable[[Dataset], dict[str, Array]]
    classes: int = 0
    head: tuple[str, ...] = ()
    behind: ModelProto | None = None
    started: bool = False
    soft: bool = False
    popular: Popularity | None = None

    def inputs(self, x: Array) -> dict[str, Array]:
        """What the learning part takes for samples ``x``, without augmentation."""
        own = self.front.still(x, self.input)
        return own if self.popular is None else {**own, BIAS: self.popular.for_all(len(x))}

    def finished(self, model: ModelProto) -> ModelProto:
        """The model as it is shipped: preprocessing in front, what is not learnt behind."""
        if self.popular is not None:
            model = with_bias(model, self.popular.last)
        joined = self.front.joined(model)
        if self.behind is None:
            return joined
        whole = append(joined, self.behind, {"boxes": "raw_boxes", "scores": "raw_scores"})
        kept = [value for value in whole.graph.output if value.name == self.deciding]
        del whole.graph.output[:]
        whole.graph.output.extend(kept)
        return pruned(whole)


def plan_network(
    name: str, recipe: Recipe, front: Front, data: Dataset, *, seed: int, items: int = 0, unknown: bool = False,
    popular: Popularity | None = None,
) -> Plan:  # fmt: skip
    """The network ``name`` for ``data``, with starting values drawn from ``seed``. items: of a recommender's catalogue, or tokens.

    unknown: samples that belong to no class are learnt as well, so that targets are distributions.

    Raises InputError where network, settings and data do not go together.
    """
    network = NETWORKS[name]
    shape, dtype = front.network_form(data.x)
    settings = {key: _as_field(network.config, key, value) for key, value in recipe.settings.items()}
    classes = _classes(network.task, data)
    if front.encoder is not None:
        settings = _text_settings(name, front) | settings
    elif front.kind == "tokens":
        settings.setdefault("vocabulary", items or int(data.x.max()) + 1)
    if name == "two-tower":
        settings.setdefault("items", items)
    if name == "ssd":
        settings["scores"] = True
    config = fit_config(name, shape, dtype, classes=classes, settings=settings)
    config = _normalised(config, front, data, recipe.settings)
    model = build(name, config, seed)
    smoothing = recipe.label_smoothing
    if network.task == "classification":
        return _classifier(model, front, classes, smoothing, started=False, soft=unknown)
    loss, deciding, targets, behind = _other_task(network.task, config)
    if popular is not None:
        model = bias_as_input(model)
    return Plan(
        network.task, model, front, loss, model.graph.input[0].name, deciding, targets, classes, behind=behind, popular=popular
    )  # fmt: skip


def plan_file(
    model: ModelProto, recipe: Recipe, front: Front, data: Dataset, *, loss: str = "", new_head: bool = False, seed: int = 0,
    output: str = "",
) -> Plan:  # fmt: skip
    """Any ONNX model for ``data``: a new last layer where the classes are others (or ``new_head`` asks for it).

    loss: one of LOSSES; cross-entropy for class numbers, squared error for other values, where none is named.
    """
    model = free_batch(model)
    inputs, outputs = describe(model).inputs, describe(model).outputs
    deciding = _output(outputs, output)
    _inputs_fit(inputs, front)
    classed = data.y.ndim == 1 and data.y.dtype.kind in "iub"
    chosen = loss or ("cross-entropy" if classed else "mse")
    if chosen not in LOSSES:
        raise InputError(f"there is no loss {chosen!r}; there are {', '.join(LOSSES)}")
    task = LOSSES[chosen]
    wanted = _classes(task, data)
    own = class_count(model, deciding)
    head: tuple[str, ...] = ()
    if new_head or (task == "classification" and own != wanted and own is not None):
        made = replace_head(model, wanted if task == "classification" else _values(data), seed, deciding)
        model, head = made.model, made.parameters
    name = next(value.name for value in inputs)
    if task == "classification":
        plan = _classifier(model, front, wanted, recipe.label_smoothing, started=not head, output=deciding)
        return replace(plan, input=name, head=head)
    shape = next(value.shape or () for value in describe(model).outputs if value.name == deciding)
    _values_fit(shape, deciding, task, data)
    rank = len(shape)
    losses: dict[str, Loss] = {
        "bce": BinaryCrossEntropy(output=deciding), "mse": MeanSquaredError(output=deciding), "huber": Huber(output=deciding),
    }  # fmt: skip

    def targets(held: Dataset) -> dict[str, Array]:
        y = held.y.astype(np.float32)
        return {"target": y.reshape(*y.shape, *[1] * (rank - y.ndim))}

    return Plan(task, model, front, losses[chosen], name, deciding, targets, head=head, started=not head)


def _classifier(
    model: ModelProto, front: Front, classes: int, smoothing: float, *, started: bool, output: str = "logits", soft: bool = False
) -> Plan:  # fmt: skip
    soft = soft or front.mixes_labels
    loss = CrossEntropy(output=output, soft=soft, label_smoothing=0.0 if soft else smoothing)

    def targets(data: Dataset) -> dict[str, Array]:
        y = data.y.astype(np.int64)
        return {"target": soft_labels(y, classes, smoothing) if soft else y}

    name = model.graph.input[0].name
    return Plan("classification", model, front, loss, name, output, targets, classes, started=started, soft=soft)


def _other_task(
    task: str, config: Config
) -> tuple[Loss, str, Callable[[Dataset], dict[str, Array]], ModelProto | None]:  # fmt: skip
    if task == "anomaly":
        return OutputMean(output="score"), "score", lambda data: {}, None
    if isinstance(config, SsdConfig):
        anchors = ssd_anchors(config)

        def boxes(data: Dataset) -> dict[str, Array]:
            classes, offsets = assign(anchors, data.y)
            return {"target_classes": classes, "target_boxes": offsets}

        table = detection_table(
            classes=config.classes, candidates=len(anchors), anchors=anchors, variances=VARIANCES, score_threshold=_PROBABILITY
        )  # fmt: skip
        return MultiBox(scores="logits"), "detections", boxes, table
    if task == "segmentation":
        return DiceCrossEntropy(output="logits"), "logits", lambda data: {"target": data.y.astype(np.int64)}, None
    return CrossEntropy(output="logits"), "logits", lambda data: {"target": data.y.astype(np.int64)}, None


def _values(data: Dataset) -> int:
    return int(data.y.shape[1]) if data.y.ndim > 1 else 1


def _classes(task: str, data: Dataset) -> int:
    if task == "classification":
        if data.y.ndim != 1 or data.y.dtype.kind not in "iub":
            raise InputError(f"classes are whole numbers (N,), and y is {data.y.dtype} {data.y.shape}")
        return len(data.labels) or int(data.y.max()) + 1
    if task == "segmentation":
        if data.y.ndim != 3 or data.y.dtype.kind not in "iub":
            raise InputError(
                f"segmentation learns from labels of pixels (N, H, W), and y is {data.y.dtype} {data.y.shape}"
            )
        return len(data.labels) or int(data.y.max()) + 1
    if task == "detection":
        if data.y.ndim != 3 or data.y.shape[2] != 5:
            raise InputError(
                f"detection learns from objects (N, objects, 5), rows x1, y1, x2, y2, class, and y is {data.y.shape}"
            )
        return len(data.labels) or int(data.y[..., 4].max()) + 1
    return 0


def _as_field(config: type[Config], name: str, value: Any) -> Any:
    """``value``, but one number where the config has several: as often as there are places, once where the count is free."""
    kind = get_type_hints(config).get(name)
    if get_origin(kind) is not tuple or not isinstance(value, int | float):
        return value
    places = get_args(kind)
    return (value,) if Ellipsis in places else (value,) * len(places)


def _text_settings(name: str, front: Front) -> dict[str, Any]:
    assert front.encoder is not None
    hashing = front.encoder.hashing
    if name == "text-bag":
        return {"vocabulary": hashing.buckets, "weighted": bool(front.encoder.weights), "length": None}
    # Texts are padded behind their words, where the last state of a GRU would have forgotten them.
    pooling = {"pooling": "mean+max"} if name == "gru" else {}
    return {"vocabulary": hashing.buckets, **pooling}


def _normalised(config: Config, front: Front, data: Dataset, given: Mapping[str, Any]) -> Config:
    """With the mean and deviation of the training data at the network's input, where the settings say nothing of it."""
    own = getattr(config, "input", None)
    said = {"scale", "mean", "std", "standardised"} & set(given)
    if said or not isinstance(own, ImageInput | SequenceInput) or front.kind == "history":
        return config
    if front.graph is not None and front.kind == "audio":
        return replace(config, input=replace(own, standardised=True))  # type: ignore[arg-type]
    made = front.still(data.x, "x")["x"]
    values = made.astype(np.float64) * own.scale
    axis = {"nhwc": 3, "ntc": 2, "nchw": 1, "nct": 1}.get(own.layout)
    axes = tuple(at for at in range(values.ndim) if at != axis)
    mean, std = values.mean(axis=axes).reshape(-1), values.std(axis=axes).reshape(-1)
    std = np.where(std < _FAINT, 1.0, std)
    scaled = replace(own, mean=tuple(map(float, mean)), std=tuple(map(float, std)))
    return replace(config, input=scaled)  # type: ignore[arg-type]


def _output(outputs: Sequence[ValueSummary], named: str) -> str:
    names = [value.name for value in outputs]
    if named and named not in names:
        raise InputError(f"the model has no output {named!r}; it has {', '.join(names)}")
    return named or names[0]


def _values_fit(shape: tuple[int | str, ...], output: str, task: Task, data: Dataset) -> None:
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    known = len(sizes) == len(shape) - 1
    if known and prod(sizes) != prod(data.y.shape[1:]):
        names = "0 or 1 for each label" if task == "multilabel" else "a value for each of them"
        raise InputError(
            f"the output {output} gives {prod(sizes)} numbers a sample, and y is {data.y.dtype} {data.y.shape}",
            remedy=f"Give y as (N, {prod(sizes)}), {names}; or learn a new last layer (--head). Class numbers (N,) are learnt "
            "with --loss cross-entropy.",
        )


def _inputs_fit(inputs: Sequence[ValueSummary], front: Front) -> None:
    wanted = 1 if front.encoder is None else (2 if front.encoder.weights else 1)
    if len(inputs) != wanted:
        raise UnsupportedError(
            f"the model has {len(inputs)} inputs ({', '.join(value.name for value in inputs)}), and the data fills {wanted}",
            remedy="Make the others constants first: edgewise pack --set, or edgewise.graph.edit.freeze_input.",
        )

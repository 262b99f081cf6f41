"""`edgewise train`: whether the two halves of the data are what the network learns from, before anything runs."""

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from edgewise.compose.training_kinds import kind_of
from edgewise.errors import DataError
from edgewise.measure.dataset import Dataset, rows_by_number
from edgewise.networks.registry import NETWORKS
from edgewise.training.data.annotations import box_problems, pixel_problems
from edgewise.training.data.checks import check_data, empty_samples, refuse
from edgewise.training.data.splitting import Split
from edgewise.training.recipes.plan import LOSSES

__all__ = ["check_whole", "checked"]

_ANNOTATED: Mapping[str, Callable[[Dataset, Dataset | None], list[str]]] = {
    "segmentation": pixel_problems, "detection": box_problems,
}  # fmt: skip
_HISTORIES = "x is (N, length) numbers of items from 1, 0 for nothing; y (N,) the item that came next"


def check_whole(data: Dataset, options: Namespace) -> Dataset:
    """The data before some of it is held out, so that faults have their rows in it as the user has it.

    Raises DataError with every item at fault.
    """
    task = _task(options)
    problems = [*_never(data, options, "training data"), *_marks(data, task)]
    refuse(problems, "the data cannot be trained with")
    if task == "recommendation":
        _refuse_histories(data)
    elif task in _ANNOTATED:
        _refuse_annotations(task, data)
    elif task == "anomaly":
        check_data(_unlabelled(data))
    else:
        data = _values(data) if task == "regression" else data
        check_data(data)
    return data


def checked(halves: Split, options: Namespace) -> tuple[Split, tuple[str, ...]]:
    """The halves as they are learnt from, and warnings. Raises DataError with every item at fault."""
    task, train, held = _task(options), halves.train, halves.evaluation
    problems = [
        *_never(train, options, "training data"), *_never(held, options, "evaluation data"), *_marks(train, task),
    ]  # fmt: skip
    refuse(problems, "the data cannot be trained with")
    if task == "recommendation":
        # Items are no classes: that some are rare, or new in the evaluation, is how it is.
        _refuse_histories(train, held)
        return halves, ()
    if task in _ANNOTATED:
        _refuse_annotations(task, train, held)
        return halves, check_data(train, held)
    if task == "anomaly":
        return _usual_alone(halves)
    if task == "regression":
        halves = Split(_values(train), _values(held))
    return halves, check_data(halves.train, halves.evaluation, least=1 if options.eval else 2)


def _task(options: Namespace) -> str:
    network = NETWORKS.get(options.network)
    return network.task if network else LOSSES.get(options.loss, "")


def _refuse_annotations(task: str, train: Dataset, evaluation: Dataset | None = None) -> None:
    refuse(_ANNOTATED[task](train, evaluation), "the data cannot be trained with")


def _refuse_histories(train: Dataset, evaluation: Dataset | None = None) -> None:
    problems = [
        *_histories(train, "training data"),
        *(_histories(evaluation, "evaluation data") if evaluation else ()),
    ]
    refuse(problems, "the data cannot be trained with", f"Histories are so: {_HISTORIES}.")


def _never(data: Dataset, options: Namespace, what: str) -> Iterable[str]:
    return (*empty_samples(data, what), *_tokens(data, options, what))


def _tokens(data: Dataset, options: Namespace, what: str) -> Iterable[str]:
    network = NETWORKS.get(options.network)
    tokens = network is not None and data.x.dtype.kind in "iu" and kind_of(data.x, network.input) == "tokens"
    if tokens and len(rows := np.flatnonzero((data.x < 0).reshape(len(data), -1).any(axis=1))):
        yield f"{what}: tokens are numbers from 1, 0 for padding, and x is below 0 in {rows_by_number(rows)}"


def _marks(data: Dataset, task: str) -> Iterable[str]:
    wrong = ((data.y != 0) & (data.y != 1)).reshape(len(data), -1).any(axis=1)
    if task == "multilabel" and len(rows := np.flatnonzero(wrong)):
        yield f"training data: with bce y says whether each label is there, and is neither 0 nor 1 in {rows_by_number(rows)}"


def _histories(data: Dataset, what: str) -> Iterable[str]:
    x, y = data.x, data.y
    if x.ndim != 2 or y.ndim != 1 or x.dtype.kind not in "iu" or y.dtype.kind not in "iu":
        yield f"{what}: these are no histories: x is {x.dtype} {x.shape}, y {y.dtype} {y.shape}"
        return
    if len(rows := np.flatnonzero((x < 0).any(axis=1))):
        yield f"{what}: x has items below 0 in {rows_by_number(rows)}"
    if len(rows := np.flatnonzero(y < 1)):
        yield f"{what}: the item that came next is below 1 in {rows_by_number(rows)}"


def _usual_alone(halves: Split) -> tuple[Split, tuple[str, ...]]:
    """Without the training samples that are not as usual (a class above 0): they would be learnt as if they were."""
    train, held = halves.train, halves.evaluation
    classed = train.y.ndim == 1 and train.y.dtype.kind in "iub"
    odd = train.y > 0 if classed else np.zeros(len(train), bool)
    if odd.all():
        raise DataError(
            "the training data has no sample of class 0, so there is nothing that is as usual",
            remedy="Give the usual samples the label 0 and the others one above it.", rule="training-data",
        )  # fmt: skip
    said: tuple[str, ...] = ()
    if odd.any():
        train = train.take(~odd)
        said = (
            f"{int(odd.sum())} training samples of another class than 0 are left out: only what is usual is learnt",
        )
    # What is unusual is new in the evaluation by its nature: the labels are held to nothing.
    return Split(train, held), (*said, *check_data(_unlabelled(train), _unlabelled(held)))


def _unlabelled(data: Dataset) -> Dataset:
    return Dataset(data.x, np.zeros(len(data), np.float32), data.group)


def _values(data: Dataset) -> Dataset:
    """With whole numbers as the values that they are to a regression."""
    if data.labels and data.y.ndim == 1 and data.y.dtype.kind in "iub":
        raise DataError(
            f"{data.name or 'the data'} has class names ({', '.join(data.labels[:5])}), and values are learnt here",
            remedy="Give numbers as y, or leave --loss out.", rule="training-data",
        )  # fmt: skip
    return Dataset(data.x, data.y.astype(np.float32), data.group, (), data.name, data.digest)

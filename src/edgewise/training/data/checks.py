"""Looking at data before anything runs: every fault at once, each with the item that has it."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.dataset import Dataset, rows_by_number
from edgewise.measure.npz import Array

__all__ = ["check_data", "empty_samples", "refuse"]

_REMEDY = "Correct or leave out the items that are named; rows count from 0."
_SHOWN = 10  # problems in one message; all of them are in its details


def check_data(
    train: Dataset,
    evaluation: Dataset | None = None,
    *,
    shape: tuple[int | str | None, ...] | None = None,
    dtype: str | None = None,
    classes: int | None = None,
    least: int = 2,
    told_apart: bool = True,
) -> tuple[str, ...]:
    """Warnings in words, if the data can be trained with.

    shape: of one sample, with a name or None for dimensions that vary; dtype: both as the model takes them, where that is known.
    classes: how many the model tells apart; None where ``y`` is no class, or the data's own names (or highest label) decide.
    least: samples that each class must have. told_apart: whether there must be more than one class. Raises DataError with every
    problem.
    """
    problems = [*_unusable(train, "training data", shape, dtype)]
    classed = train.y.ndim == 1 and train.y.dtype.kind in "iub"
    if classed:
        known = classes or len(train.labels) or int(train.y.max()) + 1
        problems += _out_of_range(train, "training data", known)
        problems += _too_few(train, known, least)
        problems += _one_alone(train, known) if told_apart else ()
    elif classes is not None:
        problems.append(f"training data: y is {train.y.dtype} {train.y.shape}, and class numbers (N,) are needed")
    if evaluation is None:
        return _refused_or(problems, ())
    problems += _unusable(evaluation, "evaluation data", shape, dtype)
    if evaluation.x.shape[1:] != train.x.shape[1:] or evaluation.x.dtype != train.x.dtype:
        problems.append(
            f"evaluation data: x is {evaluation.x.dtype} {evaluation.x.shape}, training data has {train.x.dtype} {train.x.shape}"
        )
    if evaluation.y.shape[1:] != train.y.shape[1:] or (evaluation.y.dtype.kind in "iub") != (
        train.y.dtype.kind in "iub"
    ):
        problems.append(
            f"evaluation data: y is {evaluation.y.dtype} {evaluation.y.shape}, training data has {train.y.dtype} {train.y.shape}"
        )
    elif classed:
        problems += _unseen(train, evaluation)
    return _refused_or(problems, _shared(train, evaluation))


def refuse(problems: list[str], what: str = "the data cannot be used", remedy: str = _REMEDY) -> None:
    """Raises DataError with all ``problems``, if there are any."""
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{what}: {'; '.join(problems[:_SHOWN])}{more}", remedy=remedy, rule="training-data", problems=problems
        )


def _refused_or(problems: list[str], warnings: tuple[str, ...]) -> tuple[str, ...]:
    refuse(problems, "the data cannot be trained with")
    return warnings


def _unusable(data: Dataset, what: str, shape: tuple[int | str | None, ...] | None, dtype: str | None) -> Iterable[str]:
    if data.x.dtype.kind not in "biufUOT" or data.x.dtype == np.longdouble:
        yield f"{what}: x is {data.x.dtype}, and numbers or text are needed"
    elif data.x.dtype.kind == "O" and (rows := [at for at, x in enumerate(data.x.flat) if not isinstance(x, str)]):
        yield f"{what}: x is no text in {rows_by_number(np.array(rows))}"
    if data.y.dtype.kind not in "biuf":
        yield f"{what}: y is {data.y.dtype}, and numbers are needed"
    found = data.x.shape[1:]
    yield from empty_samples(data, what)
    if shape is not None and (
        len(shape) != len(found)
        or any(isinstance(wanted, int) and wanted != size for wanted, size in zip(shape, found, strict=True))
    ):
        yield f"{what}: samples have the shape {_shown(found)}, the model takes {_shown(shape)}"
    if dtype is not None and data.x.dtype != np.dtype(dtype):
        yield f"{what}: x is {data.x.dtype}, the model takes {dtype}"


def empty_samples(data: Dataset, what: str) -> Iterable[str]:
    """A problem in words where a side of the samples is 0. what: the data, in the message."""
    if not data.x.size:
        yield f"{what}: samples have the shape {_shown(data.x.shape[1:])}, so there is nothing in them"


def _out_of_range(data: Dataset, what: str, classes: int) -> Iterable[str]:
    y = data.y.astype(np.int64)
    if len(rows := np.flatnonzero((y < 0) | (y >= classes))):
        values = ", ".join(str(value) for value in np.unique(y[rows])[:5])
        yield f"{what}: labels outside of 0..{classes - 1} ({values}) in {rows_by_number(rows)}"


def _too_few(data: Dataset, classes: int, least: int) -> Iterable[str]:
    y = data.y.astype(np.int64)
    if (
        classes > max(len(data), len(data.labels)) + _SHOWN
    ):  # one odd number must not become a list of a million classes
        rows = np.flatnonzero(y == y.max())
        yield (
            f"training data: labels go up to {y.max()} ({rows_by_number(rows)}), and {len(data)} samples leave most of those "
            f"classes empty: they are counted from 0, without gaps"
        )
        return
    counts = np.bincount(y[(y >= 0) & (y < classes)], minlength=classes)
    for value in np.flatnonzero(counts < least):
        found = "is empty" if not counts[value] else f"has {counts[value]} of the {least} samples it needs at least"
        yield f"training data: class {_called(data, int(value))} {found}"


def _one_alone(data: Dataset, classes: int) -> Iterable[str]:
    if classes == 1:
        yield f"training data: every sample is of class {_called(data, 0)}, so there is nothing to tell apart"


def _unseen(train: Dataset, evaluation: Dataset) -> Iterable[str]:
    for value in np.setdiff1d(evaluation.y, train.y):
        rows = np.flatnonzero(evaluation.y == value)
        name = _called(evaluation, int(value))
        yield f"evaluation data: class {name} is not in the training data ({rows_by_number(rows)})"


def _shared(train: Dataset, evaluation: Dataset) -> tuple[str, ...]:
    warnings = []
    seen = {print_: row for row, print_ in reversed(list(enumerate(_prints(train.x))))}
    pairs = [(row, seen[print_]) for row, print_ in enumerate(_prints(evaluation.x)) if print_ in seen]
    if pairs:
        rows = rows_by_number(np.array([row for row, _ in pairs]))
        warnings.append(
            f"{len(pairs)} samples of the evaluation data are in the training data too ({rows}; the first is row {pairs[0][1]} "
            f"there): figures on them are too good"
        )
    if train.group is not None and evaluation.group is not None:
        both = np.intersect1d(train.group.astype(str), evaluation.group.astype(str))
        if len(both):
            warnings.append(
                f"{len(both)} groups are in the training and in the evaluation data: {', '.join(both[:10])}"
            )
    return tuple(warnings)


def _prints(x: Array) -> Iterable[bytes]:
    for sample in x:
        data = (
            sample.encode("utf-8", "surrogatepass")
            if isinstance(sample, str)
            else np.ascontiguousarray(sample).tobytes()
        )
        yield blake2b(data, digest_size=16).digest()


def _called(data: Dataset, value: int) -> str:
    return f"{data.labels[value]!r}" if 0 <= value < len(data.labels) else str(value)


def _shown(shape: tuple[int | str | None, ...]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"

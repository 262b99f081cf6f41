"""Columns of a table as a data set: which one is what, and what is wrong with them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.dataset import Dataset, rows_by_number
from edgewise.measure.npz import Array
from edgewise.training.data.checks import refuse

__all__ = ["USUAL", "Columns", "dataset_of_columns"]

Values = Sequence[Any] | Array
_LABELS = ("label", "y", "target", "class", "intent")
_TEXTS = ("text", "sentence", "utterance", "query")
_MOST = 2**53  # whole numbers beyond it are not exact as they are read
_REMEDY = "Correct the rows that are named; rows count from 0, without a heading."


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what; "" to go by the usual names (label, y, target, class; text, sentence; x; group).

    Without a text and without an ``x`` column of lists, every other column is a number of the sample.
    """

    label: str = ""
    text: str = ""
    x: str = ""
    group: str = ""


#: The usual names.
USUAL = Columns()


def dataset_of_columns(table: Mapping[str, Values], name: str, columns: Columns = USUAL, digest: str = "") -> Dataset:
    """``table``, column name -> values, as samples.

    x: texts (N,) of objects, or float32 (N, ...) from lists or from number columns in their order. y: int64 where all labels are
    whole numbers; float32 where they are numbers; else the classes, by name. Raises DataError that names columns and rows.
    """
    label = _column(table, columns.label, _LABELS, name, "labels")
    group = _column(table, columns.group, ("group",), name, "") if columns.group or "group" in table else ""
    text = _column(table, columns.text, _TEXTS, name, "") if not columns.x else ""
    lists = _column(table, columns.x, ("x",), name, "") if not text else ""
    problems: list[str] = []
    y, labels = _targets(table[label], label, problems)
    if text:
        x = _texts(table[text], text, problems)
    elif lists:
        x = _lists(table[lists], lists, problems)
    else:
        features = [column for column in table if column not in (label, group)]
        if not features:
            raise DataError(f"{name} has labels and nothing to tell them by", rule="table-columns")
        x = _stacked([_numbers(table[column], column, problems) for column in features])
    groups = None if not group else np.array([str(value) for value in table[group]])
    refuse(problems, f"{name} cannot be used", _REMEDY)
    return Dataset(x, y, groups, labels, name, digest)


def _column(table: Mapping[str, Values], asked: str, usual: tuple[str, ...], name: str, needed: str) -> str:
    found = [column for column in ([asked] if asked else usual) if column in table]
    if not found and (asked or needed):
        what = f"no column {asked}" if asked else f"no column of {needed} ({', '.join(usual)})"
        raise DataError(
            f"{name} has {what}; it has {', '.join(list(table)[:20])}",
            remedy="Name the column, or give it one of the usual names.", rule="table-columns",
        )  # fmt: skip
    return found[0] if found else ""


def _targets(values: Values, column: str, problems: list[str]) -> tuple[Array, tuple[str, ...]]:
    if len(rows := _rows_where(values, lambda value: value is None or value == "")):
        problems.append(f"{column} is missing in {rows_by_number(rows)}")
        return np.zeros(len(values), np.int64), ()
    numbers = [_number(value) for value in values]
    if all(number is not None for number in numbers):
        # A label that is written 1.0 is a value to predict, not a class.
        whole = all(isinstance(value, (int, np.integer, bool)) or _whole(value) for value in values)
        y = np.array(numbers, np.float64)
        if len(rows := np.flatnonzero(~np.isfinite(y))):
            problems.append(f"{column} is not finite in {rows_by_number(rows)}")
        if whole and len(rows := np.flatnonzero(np.abs(y) >= _MOST)):
            problems.append(f"{column} is beyond any class number in {rows_by_number(rows)}")
            return np.zeros(len(values), np.int64), ()
        return (y.astype(np.int64) if whole else y.astype(np.float32)), ()
    if len(rows := _rows_where(values, lambda value: not isinstance(value, str))):
        problems.append(f"{column} is text in some rows, and not in {rows_by_number(rows)}")
        return np.zeros(len(values), np.int64), ()
    labels = tuple(sorted({str(value) for value in values}))
    place = {label: at for at, label in enumerate(labels)}
    return np.array([place[str(value)] for value in values], np.int64), labels


def _texts(values: Values, column: str, problems: list[str]) -> Array:
    if len(rows := _rows_where(values, lambda value: not isinstance(value, str) or not value.strip())):
        problems.append(f"{column} has no text in {rows_by_number(rows)}")
    texts = np.empty(len(values), object)  # not of fixed width: one long text would widen all
    texts[:] = list(values)
    return texts


def _lists(values: Values, column: str, problems: list[str]) -> Array:
    arrays: list[Array | None] = []
    for value in values:
        try:
            array = np.asarray(value, np.float32)
            arrays.append(array if array.ndim else None)
        except (ValueError, TypeError):
            arrays.append(None)
    shapes = [array.shape for array in arrays if array is not None]
    usual = max(set(shapes), key=lambda shape: (shapes.count(shape), shape)) if shapes else (0,)
    wrong = np.array([array is None or array.shape != usual for array in arrays], bool)
    if wrong.any():
        problems.append(
            f"{column} is no list of numbers of the shape {usual} in {rows_by_number(np.flatnonzero(wrong))}"
        )
        return np.zeros((len(values), 1), np.float32)
    x = np.stack([array for array in arrays if array is not None])
    if len(rows := np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))):
        problems.append(f"{column} is not finite in {rows_by_number(rows)}")
    return x


def _numbers(values: Values, column: str, problems: list[str]) -> Array:
    numbers = [_number(value) for value in values]
    good = np.array([number is not None and math.isfinite(number) for number in numbers], bool)
    if not good.all():
        problems.append(f"{column} is no finite number in {rows_by_number(np.flatnonzero(~good))}")
    return np.array([number if fine else 0.0 for number, fine in zip(numbers, good, strict=True)], np.float32)


def _stacked(columns: list[Array]) -> Array:
    return np.stack(columns, axis=1)


def _number(value: Any) -> float | None:
    if isinstance(value, (Real, np.number, np.bool_)):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _whole(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lstrip("+-").isdecimal()


def _rows_where(values: Values, wrong: Any) -> Array:
    return np.array([row for row, value in enumerate(values) if wrong(value)], np.int64)

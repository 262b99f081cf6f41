"""Training data from wherever it is: ``.npz``, class folders, tables, an iterator."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.errors import DataError, NotFoundError
from edgewise.measure.dataset import Dataset, read_dataset, rows_by_number, with_labels
from edgewise.measure.npz import Array
from edgewise.training.data.checks import check_data
from edgewise.training.data.columns import USUAL, Columns
from edgewise.training.data.folders import read_folder
from edgewise.training.data.splitting import Split, split, split_groups
from edgewise.training.data.tables import TABLES, read_table

__all__ = ["collect", "read_split", "read_training_data"]

_REMEDY = "Pass an .npz with arrays x and y, a folder of class folders (images or wav files), or a table (.parquet, .csv, .jsonl)."


def read_training_data(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    length: int | None = None,
    columns: Columns = USUAL,
    limits: Limits = DEFAULT_LIMITS,
) -> Dataset:
    """What lies at ``path``; classes of folders and of text labels count from 0 by name, groups are kept.

    size, channels, length: for folders, what every image or clip is brought to (see ``read_folder``). columns: for tables, which
    column is what. Raises NotFoundError, MissingExtraError, and DataError that names the file and the items at fault.
    """
    if path.is_dir():
        return read_folder(path, size=size, channels=channels, length=length, limits=limits)
    if not path.exists():
        raise NotFoundError(f"there is no training data at {path}", path=str(path))
    if path.suffix.lower() not in (*TABLES, ".npz"):
        raise DataError(f"{path.name} is no data set", remedy=_REMEDY, rule="dataset-form")
    try:
        if path.suffix.lower() == ".npz":
            return _by_name(read_dataset(path, limits))
        return read_table(path, columns, limits)
    except DataError as error:
        if path.name in error.what:
            raise
        raise DataError(f"{path.name}: {error.what}", remedy=error.remedy, **error.details) from None


def _by_name(data: Dataset) -> Dataset:
    """Labels that are texts as classes that count from 0 by name, as those of tables and folders do."""
    if data.y.dtype.kind not in "UT" or data.y.ndim != 1:
        return data
    names, y = np.unique(data.y, return_inverse=True)
    return Dataset(data.x, y.astype(np.int64), data.group, tuple(map(str, names)), data.name, data.digest)


def read_split(
    train: Path,
    evaluation: Path | None = None,
    *,
    share: float = 0.2,
    seed: int = 0,
    by_group: bool = False,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    length: int | None = None,
    columns: Columns = USUAL,
) -> tuple[Split, tuple[str, ...]]:
    """Training and evaluation data that fit together, and warnings in words.

    Without ``evaluation``, ``share`` of the training data is held out: by chance with the classes in proportion, or whole groups.
    Classes are counted as the training data counts them. Raises what ``read_training_data`` and ``check_data`` raise.
    """
    data = read_training_data(train, size=size, channels=channels, length=length, columns=columns)
    if evaluation is None:
        halves = split_groups(data, share, seed) if by_group else split(data, share, seed)
    else:
        other = read_training_data(evaluation, size=size, channels=channels, length=length, columns=columns)
        halves = Split(data, with_labels(other, data.labels))
    return halves, check_data(halves.train, halves.evaluation)


def collect(items: Iterable[Any], name: str = "iterator", limits: Limits = DEFAULT_LIMITS) -> Dataset:
    """What an iterator gives, in memory: samples (x, y), or batches as mappings with ``x`` and ``y`` (and ``group``, perhaps).

    For data that does not fit in memory there is ``StreamBatches``. Raises DataError naming the items that differ from the first.
    """
    rows: list[tuple[Array, Array, Array | None]] = []
    used = 0
    for at, item in enumerate(items):
        x, y, group = _parts(item, at, name)
        used += x.nbytes + y.nbytes
        if used > limits.array_bytes:
            raise DataError(
                f"{name} gives more than the {limits.array_bytes} bytes that are taken, at item {at}",
                remedy="Train from a stream of batches instead.", rule="dataset-size",
            )  # fmt: skip
        rows.append((x, y, group))
    if not rows:
        raise DataError(f"{name} gives nothing", rule="dataset-empty")
    forms = [(x.shape[1:], x.dtype, y.shape[1:], y.dtype.kind, group is None) for x, y, group in rows]
    if len(wrong := np.array([at for at, form in enumerate(forms) if form != forms[0]])):
        shape, dtype, target, *_ = forms[wrong[0]]
        raise DataError(
            f"{name} gives items that differ from the first (x {forms[0][1]} {forms[0][0]}, y {forms[0][2]}) in "
            f"{rows_by_number(wrong)}; the first of them has x {dtype} {shape}, y {target}",
            remedy="Bring all items to one shape and type.", rule="dataset-shape",
        )  # fmt: skip
    groups = [group for _, _, group in rows if group is not None]
    return Dataset(
        np.concatenate([x for x, _, _ in rows]), np.concatenate([y for _, y, _ in rows]),
        np.concatenate(groups) if groups else None, name=name,
    )  # fmt: skip


def _parts(item: Any, at: int, name: str) -> tuple[Array, Array, Array | None]:
    if isinstance(item, Mapping):
        if not {"x", "y"} <= item.keys():
            raise DataError(
                f"{name}: item {at} has no x and y; it has {', '.join(map(str, item))}", rule="dataset-form"
            )
        group = item.get("group")
        x, y = np.asarray(item["x"]), np.asarray(item["y"])
        return x, y, None if group is None else np.asarray(group)
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(f"{name}: item {at} is neither (x, y) nor a mapping with x and y", rule="dataset-form")
    x, y = np.asarray(item[0]), np.asarray(item[1])
    if x.dtype.kind == "U":  # texts of many lengths
        x = x.astype(object)
    return x[None], y[None], None

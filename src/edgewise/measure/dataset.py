"""Data sets to measure with: an ``.npz``, or a folder of class folders with images or wav files."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.digests import digest_of_stream
from edgewise.errors import DataError, NotFoundError
from edgewise.measure.media import read_media
from edgewise.measure.npz import Array, load_npz

__all__ = ["Dataset", "digest_of_files", "load_npz", "read_dataset", "rows_by_number", "with_labels"]

_REMEDY = "Pass an .npz with arrays x (N, ...) and y (N,), or a folder of class folders with images or wav files."


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples and what is known about them; validated when built.

    x: (N, ...) inputs. y: (N,) class indices or values, or (N, K) for several labels or values.
    group: (N,) who or what a sample comes from, for splits that keep a person or a machine on one side; None if not known.
    labels: the name of class 0, 1, ...; empty where they are not known. name, digest: of the file or folder it was read from.
    """

    x: Array
    y: Array
    group: Array | None = None
    labels: tuple[str, ...] = ()
    name: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        if self.x.ndim < 1 or len(self.x) == 0 or self.y.ndim < 1:
            raise DataError("the data set has no samples", rule="dataset-empty")
        for name, array in (("y", self.y), ("group", self.group)):
            if array is not None and (array.ndim < 1 or len(array) != len(self.x)):
                raise DataError(
                    f"x has {len(self.x)} samples, {name} has {len(array) if array.ndim else 1}", rule="dataset-lengths"
                )
        if self.group is not None and self.group.ndim != 1:
            raise DataError(f"group has the shape {self.group.shape}; (N,) is needed", rule="dataset-lengths")
        for name, array in (("x", self.x), ("y", self.y)):
            if array.dtype.kind == "f" and len(rows := _not_finite(array)):
                raise DataError(
                    f"{name} has values that are not finite (NaN or infinity) in {rows_by_number(rows)}",
                    remedy="Fill or leave out these samples: a metric over them would mean nothing.",
                    rule="dataset-finite",
                )

    def __len__(self) -> int:
        """How many samples."""
        return len(self.x)

    def take(self, rows: Array) -> "Dataset":
        """The samples with these indices, or where this mask is true."""
        return Dataset(
            self.x[rows], self.y[rows], None if self.group is None else self.group[rows], self.labels, self.name, self.digest
        )  # fmt: skip


def read_dataset(
    path: Path, limits: Limits = DEFAULT_LIMITS, *, labelled: bool = True, channels: int | None = None
) -> Dataset:
    """The data set in an ``.npz`` (``x``, ``y``, perhaps ``group`` and ``class_names``) or a folder of class folders.

    Images become (N, H, W, C) uint8, wav files (N, samples) float32 in -1..1; class folders count from 0 by name.
    labelled: False where only the inputs matter; ``y`` may then be missing and counts as zeros. channels: 1 or 3 for every
    image of a folder, else as the files have it.
    Raises NotFoundError where there is nothing, DataError for what cannot be used, MissingExtraError for images without Pillow.
    """
    if path.is_dir():
        media = read_media(path, limits, channels)
        return Dataset(media.x, media.y, None, media.labels, path.name, digest_of_files(path, media.files))
    if not path.exists():
        raise NotFoundError(f"there is no data set at {path}", path=str(path))
    if path.suffix.lower() != ".npz" or not path.is_file():
        raise DataError(
            f"{path.name} is neither an .npz nor a folder of class folders", remedy=_REMEDY, rule="dataset-form"
        )
    arrays = load_npz(path, limits)
    missing = [name for name in ("x", "y")[: 2 if labelled else 1] if name not in arrays]
    if missing:
        found = ", ".join(sorted(arrays)[:10]) or "none"
        raise DataError(
            f"{path.name} has no array {' or '.join(missing)}; it has {found}", remedy=_REMEDY, rule="dataset-arrays"
        )
    with path.open("rb") as file:
        digest, _ = digest_of_stream(file)
    labels = tuple(str(label) for label in arrays.get("class_names", np.empty(0, "U1")).ravel())
    if "y" in arrays and arrays["y"].ndim < 1:
        raise DataError(f"{path.name}: y is a single value, and one is needed for each sample", rule="dataset-lengths")
    y = arrays["y"] if "y" in arrays else np.zeros(len(arrays["x"]) if arrays["x"].ndim else 0, np.int64)
    return Dataset(arrays["x"], y, arrays.get("group"), labels, path.stem, digest)


def with_labels(data: Dataset, labels: tuple[str, ...]) -> Dataset:
    """The same samples with ``y`` counted as the model counts its classes, where both say what their classes are called.

    Raises DataError where the data has a class that the model lacks.
    """
    if not labels or not data.labels or data.labels == labels or data.y.ndim != 1 or data.y.dtype.kind not in "iub":
        return data
    unknown = [name for name in data.labels if name not in labels]
    if unknown:
        raise DataError(
            f"{data.name or 'the data'} has classes that the model lacks: {', '.join(unknown[:8])}; it has {', '.join(labels[:8])}",
            remedy="Name the class folders (or class_names) as the model's labels; `edgewise inspect` shows them.",
            rule="dataset-labels",
        )
    if not len(data.y) or data.y.min() < 0 or data.y.max() >= len(data.labels):
        raise DataError(
            f"y counts to {data.y.max()}, and there are {len(data.labels)} class names", rule="dataset-labels"
        )
    order = np.array([labels.index(name) for name in data.labels], np.int64)
    return Dataset(data.x, order[data.y.astype(np.int64)], data.group, labels, data.name, data.digest)


def rows_by_number(rows: Array) -> str:
    """The first ten of ``rows`` in words, and how many more there are: ``rows 3, 17 and 40``."""
    shown = [str(row) for row in rows[:10]]
    if len(rows) > len(shown):
        return f"rows {', '.join(shown)} and {len(rows) - len(shown)} more"
    return f"row {shown[0]}" if len(shown) == 1 else f"rows {', '.join(shown[:-1])} and {shown[-1]}"


def _not_finite(array: Array) -> Array:
    # Row blocks, so that the mask of a large array never exists as a whole.
    step = max(1, (1 << 20) // max(1, array[:1].size))
    found = [
        at + np.flatnonzero(~np.isfinite(block := array[at : at + step]).reshape(len(block), -1).all(axis=1))
        for at in range(0, len(array), step)
    ]
    return np.concatenate(found)


def digest_of_files(folder: Path, files: Iterable[Path]) -> str:
    """One digest for all of ``files`` and their places in ``folder``."""
    # The digest of a listing: "<digest>  <path>" per file, sorted by path, as sha256sum would print it.
    listing = sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            digest, _ = digest_of_stream(file)
        listing.update(f"{digest.removeprefix('sha256:')}  {path.relative_to(folder).as_posix()}\n".encode())
    return "sha256:" + listing.hexdigest()

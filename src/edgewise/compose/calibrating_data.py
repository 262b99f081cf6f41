"""`edgewise calibrate --data`: samples as the model takes them, from files, folders and tables; labels where there are any."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgewise.bundle.document import Document
from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.decoding import image_channels
from edgewise.digests import digest_of_stream
from edgewise.errors import DataError, NotFoundError, TensorError, UnsupportedError
from edgewise.measure.dataset import Dataset, read_dataset, rows_by_number, with_labels
from edgewise.measure.evaluation import data_digest
from edgewise.measure.npz import load_npz
from edgewise.runtime.engine import Array
from edgewise.runtime.inputs import InputCheck
from edgewise.runtime.rows import row_at
from edgewise.store.files import read_bounded
from edgewise.training.data.folders import read_unlabelled
from edgewise.training.data.sources import read_training_data
from edgewise.training.data.tables import TABLES
from edgewise.training.data.text_hash import TextEncoder, TextHash

__all__ = ["Samples", "hashing_beside", "read_samples"]

_HASH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Samples:
    """inputs: by the interface's name, (N, ...) each. y: (N,) or (N, K); None where nobody said. group: (N,), what a sample comes
    from. labels: the model's. digest: of samples and y. texts: (N,) what the inputs were made of, by ``hashing``; None where they
    are no texts.
    """

    inputs: Mapping[str, Array]
    y: Array | None
    group: Array | None
    labels: tuple[str, ...]
    name: str
    digest: str
    texts: Array | None = None
    hashing: TextHash | None = None

    def __len__(self) -> int:
        """How many samples."""
        return len(next(iter(self.inputs.values())))

    def facts(self) -> dict[str, object]:
        """As evidence says it."""
        return {"name": self.name, "digest": self.digest, "samples": len(self)}


def read_samples(path: Path, document: Document, bundle: Path) -> Samples:
    """What lies at ``path``, brought to the inputs that the document declares; every value is checked against them.

    Labels may be missing: a promise about agreement needs none. bundle: where the bundle lies; texts become ids by the
    ``.text.json`` beside it. Raises NotFoundError and DataError, with the rows at fault.
    """
    specs = _filled(document)
    found, labelled = _read(path, specs)
    texts, hashing = None, None
    if found.x.dtype.names:
        inputs = {name: found.x[name] for name in found.x.dtype.names}
    elif found.x.dtype.kind in "UTO" and specs[0].dtype != "str":
        texts = found.x.astype(str)
        hashing = hashing_beside(bundle)
        inputs = _encoded(texts, specs, hashing)
    elif len(specs) == 1:
        inputs = {specs[0].name: found.x}
    else:
        raise DataError(
            f"{path.name} has one array of samples, and the model takes {', '.join(spec.name for spec in specs)}",
            remedy="Save an array for each input, by its name.",
        )
    inputs = {spec.name: _checked(spec, inputs[spec.name], path) for spec in specs}
    data = with_labels(found, document.labels) if labelled else found
    if labelled and document.task == "classification":
        data = replace(data, y=_classes(data.y, path))
    return Samples(
        inputs, data.y if labelled else None, data.group, document.labels, data.name or "data", data_digest(data), texts, hashing
    )  # fmt: skip


def _classes(y: Array, path: Path) -> Array:
    """Class numbers as integers: NumPy makes floats of them readily."""
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool((y == np.floor(y)).all()))
    if y.ndim != 1 or not whole:
        raise DataError(
            f"{path.name}: y is {y.dtype} {y.shape}, and a class number for each sample is needed",
            rule="dataset-labels",
        )
    return y.astype(np.int64)


def _encoded(texts: Array, specs: list[TensorSpec], hashing: TextHash) -> dict[str, Array]:
    """Texts (N,) as ids, and weights where the model takes them."""
    names = [spec.name for spec in specs]
    ids = (
        [spec.name for spec in specs if np.dtype(spec.dtype).kind == "i"]
        if "str" not in {s.dtype for s in specs}
        else []
    )
    weights = [name for name in names if name not in ids]
    if len(ids) != 1 or len(weights) > 1:
        raise UnsupportedError(
            f"texts cannot be brought to the inputs {', '.join(names)}",
            remedy="Save the inputs as arrays by their names.",
        )
    made = TextEncoder(hashing, ids=ids[0], weights=weights[0] if weights else "")(texts, np.random.default_rng(0))
    return {name: np.asarray(array) for name, array in made.items()}


def hashing_beside(bundle: Path) -> TextHash:
    """How texts become ids for this model. Raises NotFoundError where the file that says so is not beside it."""
    beside = bundle.with_suffix(".text.json")
    if not beside.is_file():
        raise NotFoundError(
            f"the data is text, and {beside.name}, which says how texts become ids, is not beside the bundle",
            remedy=f"`edgewise train` writes it with every model of texts: copy it to {beside}.",
        )
    return TextHash.from_json(read_bounded(beside, _HASH_BYTES, "the text hash"))


def _filled(document: Document) -> list[TensorSpec]:
    states = {state.input for state in document.states}
    specs = [spec for spec in document.inputs if spec.name not in states]
    if not specs:
        raise UnsupportedError("every input of the model carries a state, so no sample can be given to it")
    return specs


def _read(path: Path, specs: list[TensorSpec]) -> tuple[Dataset, bool]:
    """The data set, and whether it has labels."""
    if path.is_dir():
        return _folder(path, specs)
    if path.suffix.lower() in TABLES:
        return read_training_data(path), True
    if path.suffix.lower() == ".npz" and path.is_file():
        arrays = load_npz(path)
        names = [spec.name for spec in specs]
        if "x" not in arrays and all(name in arrays for name in names):
            return _by_input(path, arrays, specs), "y" in arrays
        if "y" in arrays:
            return read_training_data(path), True  # labels that are texts become numbers
        return read_dataset(path, labelled=False), False
    return read_dataset(path), True  # says what is wrong


def _folder(path: Path, specs: list[TensorSpec]) -> tuple[Dataset, bool]:
    channels = image_channels(specs)
    if any(part.is_dir() and not part.name.startswith(".") for part in path.iterdir()):
        return read_dataset(path, channels=channels), True
    x = read_unlabelled(path, channels=channels)
    return Dataset(x, np.zeros(len(x), np.int64), None, (), path.name), False


def _by_input(path: Path, arrays: Mapping[str, Array], specs: list[TensorSpec]) -> Dataset:
    """Several inputs as one array with a field for each."""
    lengths = {name: len(arrays[name]) if arrays[name].ndim else 0 for name in (spec.name for spec in specs)}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise DataError(f"{path.name} has arrays of different lengths: {told}", rule="dataset-lengths")
    fields = [(name, arrays[name].dtype, arrays[name].shape[1:]) for name in lengths]
    x = np.empty(next(iter(lengths.values())), fields)
    for name in lengths:
        x[name] = arrays[name]
    labels = tuple(str(label) for label in arrays.get("class_names", np.empty(0, "U1")).ravel())
    with path.open("rb") as file:
        digest, _ = digest_of_stream(file)
    y = arrays.get("y", np.zeros(len(x), np.int64))
    return Dataset(x, y, arrays.get("group"), labels, path.stem, digest)


def _checked(spec: TensorSpec, samples: Array, path: Path) -> Array:
    """The samples as the model takes them, all of them looked at before the first is run or sent."""
    if samples.dtype.kind == "f" and spec.dtype.startswith("float") and samples.dtype != spec.dtype:
        samples = samples.astype(spec.dtype)
    if samples.dtype.kind == "f" and len(
        rows := np.flatnonzero(~np.isfinite(samples.reshape(len(samples), -1)).all(axis=1))
    ):
        raise DataError(
            f"{path.name}: {spec.name} has values that are not finite (NaN or infinity) in {rows_by_number(rows)}",
            remedy="Fill or leave out these samples.", rule="dataset-finite",
        )  # fmt: skip
    check = InputCheck(spec).check
    try:
        whole = samples.ndim == len(spec.shape) and isinstance(spec.shape[0], str)
        check(samples if whole else row_at(samples, 0, len(spec.shape)))
    except TensorError as error:
        raise DataError(f"{path.name}: {error.what}", remedy=error.remedy, **error.details) from None
    return samples

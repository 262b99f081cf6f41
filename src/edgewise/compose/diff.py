"""`edgewise diff`: two forms of a model, from files or out of a bundle, side by side."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgewise.bundle.bundle import Bundle
from edgewise.compose.decoding import image_channels
from edgewise.compress.explain.comparison import Comparison, compare
from edgewise.compress.explain.page import to_html
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.inspect import read_model
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import import_onnx, onnx_from_bytes
from edgewise.measure.dataset import Dataset, read_dataset, with_labels
from edgewise.measure.samples import synthetic
from edgewise.store.bundles import find_bundle, open_path
from edgewise.store.files import write_bytes
from edgewise.store.home import Home

__all__ = ["diff"]

_MADE_UP = 32  # samples where no data is given


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    imported: ImportedModel
    labels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(map(len, self.imported.files.values()))

    @property
    def model(self) -> ModelProto:
        files = self.imported.files
        return read_model(next(iter(files.values())), external=lambda location: files[location])


def diff(options: Namespace, progress: Callable[[str, int, int], None]) -> tuple[Comparison, tuple[str, ...]]:
    """Compare what the two words name; write the page where one is wanted. Returns the names of the classes too.

    Raises NotFoundError, UnsupportedError for a variant that is no ONNX, InputError where the two have not one interface.
    """
    first, second = (_find(word) for word in (options.first, options.second))
    labels = first.labels or second.labels
    data = _data(options.data, first, labels)
    labels = labels or data.labels
    x, y = data.x[: options.samples], data.y[: options.samples] if options.data else None
    found = compare(
        (first.name, first.model),
        (second.name, second.model),
        x,
        y,
        output=options.output,
        progress=progress,
        sizes=(first.size, second.size),
    )
    if options.html:
        write_bytes(options.html, to_html(found, labels).encode())
    return found, labels


def _find(word: str) -> _Named:
    path = Path(word)
    if path.suffix == ".onnx":
        return _Named(path.name, import_onnx(path))
    name, colon, variant = word.rpartition(":")
    if not colon or Path(word).exists():
        name, variant = word, ""
    bundle = open_path(find_bundle(name, Home.default()))
    return _variant(bundle, variant, word)


def _variant(bundle: Bundle, wanted: str, word: str) -> _Named:
    variants = {variant.name: variant for variant in bundle.document.variants if variant.format == "onnx"}
    if (not wanted and len(variants) != 1) or (wanted and wanted not in variants):
        raise InputError(
            f"{word} names no one ONNX variant; there are {', '.join(variants) or 'none'}",
            remedy=f"Write {bundle.document.name}:{next(iter(variants), 'VARIANT')}.",
        )
    name = wanted or next(iter(variants))
    files = bundle.model_files(variants[name])
    if len(files) != 1:
        raise UnsupportedError(
            f"{word} keeps its weights outside of its file", remedy="Export it, and compare the files."
        )
    model = onnx_from_bytes(f"{name}.onnx", next(iter(files.values())))
    return _Named(f"{bundle.document.name}:{name}", model, bundle.document.labels)


def _data(path: Path | None, first: _Named, labels: tuple[str, ...]) -> Dataset:
    inputs = first.imported.inputs
    if path is not None:
        return with_labels(read_dataset(path, channels=image_channels(inputs)), labels)
    if len(inputs) != 1:
        raise InputError(f"{first.name} has {len(inputs)} inputs; models of one input can be compared")
    made = np.concatenate([synthetic(inputs[0], seed) for seed in range(_MADE_UP)])
    return Dataset(made, np.zeros(len(made)))

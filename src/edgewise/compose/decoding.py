"""From a file that a person has to the array that a model takes, by what the interface says the input is.

A number in a file keeps its value or is refused, as in ``runtime.inputs``: the answer to a value that was cut or wrapped is
a wrong answer. A table keeps its rows: what could be a batch is never run together into one example.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.document import Document
from edgewise.bundle.limits import Limits
from edgewise.bundle.strict_json import parse_json
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import DataError, HostileBundleError, NotFoundError, TensorError
from edgewise.measure.media import read_image, read_wav
from edgewise.measure.npz import load_npy, load_npz
from edgewise.runtime.engine import Array
from edgewise.runtime.inputs import InputCheck, convert_values, form_of

__all__ = ["decode_file", "image_channels"]

_TEXT_BYTES = 64 << 20
_JSON = Limits(json_bytes=_TEXT_BYTES, json_values=1 << 24)  # an image of 2000 x 2000 has 12 million values
_EXACT = 2**53 - 1  # beyond it a csv's numbers, read as doubles, are no longer those that were written
_TABLE = "Separate the numbers by commas, one row to a line; remove the header."


def decode_file(path: Path, document: Document) -> dict[str, Array]:
    """Input name -> array, from an image, wav, csv, json, npy or npz file; inputs that carry a state are left out.

    Images and sound need an input that the interface declares as such, or with a fitting shape. A csv is a batch of rows
    where the model takes rows, and one example where its table, or its only row or column, fits one. Raises NotFoundError
    where there is nothing, DataError with what the model takes where the file is something else or does not fit.
    """
    read = _READERS.get(path.suffix.lower())
    _check_path(path)
    states = {state.input for state in document.states}
    specs = [spec for spec in document.inputs if spec.name not in states]
    if not specs:
        raise DataError(
            f"{path} cannot be given to {document.name}: every input of it carries a state, so it takes none from a file",
            remedy="Call it without an input: session.stream().predict().",
        )
    if read is None:
        raise _with_interface(DataError(f"{path} is no image, wav, csv, json, npy or npz file"), path, specs)
    try:
        arrays = read(path, specs)
        for spec in specs:
            InputCheck(spec).check(arrays[spec.name])
    except TensorError as error:
        raise DataError(f"{path}: {error.what}", remedy=error.remedy, **error.details) from None
    except DataError as error:
        raise _with_interface(error, path, specs) from None
    return arrays


def _check_path(path: Path) -> None:
    try:
        if path.is_file():
            return
        if path.is_dir():
            raise DataError(f"{path} is a folder; one file is needed", remedy="Pass the files in it one by one.")
        if path.exists():
            raise DataError(f"{path} is no regular file")
    except OSError as error:
        raise NotFoundError(f"could not look at {path!s:.200}: {error.strerror or error}", path=str(path)) from None
    raise NotFoundError(f"there is no file {path}", path=str(path))


def _with_interface(error: DataError, path: Path, specs: list[TensorSpec]) -> DataError:
    what = error.what if str(path) in error.what else f"{path}: {error.what}"
    said = any(form_of(spec) in what for spec in specs)
    own = "" if error.remedy == DataError.default_remedy else error.remedy
    takes = "" if said else f"The model takes {'; '.join(map(str, specs))}."
    return DataError(what, remedy=f"{own} {takes}".strip() or None, **error.details)


def _only(path: Path, specs: list[TensorSpec]) -> TensorSpec:
    if len(specs) > 1:
        raise DataError(
            f"{path} holds one array, and the model has {len(specs)} inputs",
            remedy="Pass an .npz or .json with an array for each, by name.",
        )
    return specs[0]


# ----------------------------------------------------------------------------------- arrays, images and sound


def _from_npz(path: Path, specs: list[TensorSpec]) -> dict[str, Array]:
    arrays = load_npz(path)
    # "x" is what data sets call their inputs; with several inputs nothing says which one it is.
    names = {spec.name: "x" if len(specs) == 1 and spec.name not in arrays else spec.name for spec in specs}
    missing = [name for name, stored in names.items() if stored not in arrays]
    if missing:
        raise DataError(f"{path} has no array {' or '.join(missing)}; it has {', '.join(arrays) or 'none'}")
    return {name: arrays[stored] for name, stored in names.items()}


def _from_npy(path: Path, specs: list[TensorSpec]) -> dict[str, Array]:
    return {_only(path, specs).name: load_npy(path)}


def image_channels(specs: Sequence[TensorSpec]) -> int | None:
    """1 or 3 where the only input takes images (N, height, width, channels) of uint8; else None."""
    shape = specs[0].shape if len(specs) == 1 else ()
    fits = len(shape) == 4 and shape[-1] in (1, 3) and specs[0].dtype == "uint8"
    return int(shape[-1]) if fits else None


def _from_image(path: Path, specs: list[TensorSpec]) -> dict[str, Array]:
    spec = _only(path, specs)
    channels = image_channels([spec])
    if channels is None:
        raise DataError(
            f"{path} is an image; the model takes {spec}, not images (N, height, width, 1 or 3) of uint8",
            remedy="Pack it with its preprocessing in the graph (`edgewise pack --before image:...`), or pass an .npy.",
        )
    return {spec.name: read_image(path, channels=channels)}


def _from_wav(path: Path, specs: list[TensorSpec]) -> dict[str, Array]:
    spec = _only(path, specs)
    if len(spec.shape) not in (1, 2) or spec.dtype not in ("float32", "int16"):
        raise DataError(
            f"{path} is sound; the model takes {spec}, not samples (N, samples) of float32 or int16",
            remedy="Pack it with its preprocessing in the graph (`edgewise pack --before log-mel:...`), or pass an .npy.",
        )
    samples, rate = read_wav(path, "int16" if spec.dtype == "int16" else "float32")
    wanted = spec.extra.get("sampleRate")
    if wanted is not None and wanted != rate:
        raise DataError(
            f"{path} has {rate} samples a second; the model takes {wanted}", remedy=f"Resample it to {wanted} Hz."
        )
    return {spec.name: samples}


# ------------------------------------------------------------------------------------------------------- json


def _from_json(path: Path, specs: list[TensorSpec]) -> dict[str, Array]:
    try:
        value = parse_json(_content(path), str(path), _JSON)
    except HostileBundleError as error:
        raise DataError(error.what.removesuffix(f" [{error.rule}]"), rule=error.rule) from None
    if not isinstance(value, dict):
        value = {_only(path, specs).name: value}
    missing = [spec.name for spec in specs if spec.name not in value]
    if missing:
        raise DataError(f"{path} has no {' or '.join(map(repr, missing))}; it has {_listed(value)}")
    return {spec.name: convert_values(value[spec.name], spec) for spec in specs}


def _listed(value: Mapping[str, Any]) -> str:
    return ", ".join(repr(name[:60]) for name in list(value)[:8]) or "no names"


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_TEXT_BYTES + 1)
    except OSError as error:
        raise DataError(f"could not read {path!s:.200}: {error.strerror or error}") from None
    if len(data) > _TEXT_BYTES:
        raise DataError(f"{path} has more than {_TEXT_BYTES} bytes", remedy="Use an .npy file.")
    return data


# -------------------------------------------------------------------------------------------------------- csv


def _from_csv(path: Path, specs: list[TensorSpec]) -> dict[str, Array]:
    spec = _only(path, specs)
    if spec.dtype == "str":
        raise DataError(f"{path} is a table of numbers; the model takes texts", remedy="Pass a .json list of texts.")
    text = _content(path).decode("utf-8-sig", errors="replace")  # with the mark that spreadsheets put in front
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise DataError(f"{path} is empty: a table of numbers is needed", remedy=_TABLE)
    try:
        table: Array = np.loadtxt(lines, delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        raise DataError(f"{path} is not a table of numbers: {_first_fault(lines) or error}", remedy=_TABLE) from None
    values = _exact(table, lines, spec, path)
    arranged = _arranged(values, spec)
    if arranged is None:
        rows, columns = table.shape
        raise DataError(f"{path} has {rows} rows of {columns} numbers; the model takes {spec}")
    return {spec.name: arranged}


def _first_fault(lines: list[str]) -> str:
    width = lines[0].count(",") + 1
    for row, line in enumerate(lines, 1):
        cells = line.split(",")
        if len(cells) != width:
            return f"row {row} has {len(cells)} values, row 1 has {width}"
        for column, cell in enumerate(cells, 1):
            try:
                float(cell)
            except ValueError:
                return f"row {row}, column {column} is {cell.strip()[:40]!r}"
    return ""


def _exact(table: Array, lines: list[str], spec: TensorSpec, path: Path) -> Array:
    """The doubles of a csv in the type that the model takes, where every one of them keeps its value."""
    dtype = np.dtype(spec.dtype)
    whole = dtype.kind != "f"
    low, high = (0.0, 1.0) if dtype.kind == "b" else _limits(dtype)
    good = (table >= low) & (table <= high)  # false for nan and, where a text was beyond a double, for infinity
    if whole:
        good &= table == np.floor(table)
    if not good.all():
        row, column = (int(at) for at in np.argwhere(~good)[0])
        cell = lines[row].split(",")[column].strip()[:40]
        raise DataError(
            f"{path}: row {row + 1}, column {column + 1} is {cell}; {spec.name} should be {form_of(spec)}",
            remedy=f"{'Whole numbers' if whole else 'Numbers'} in {low:g}..{high:g} are read; scale, round or mend the values.",
            row=row + 1, column=column + 1,
        )  # fmt: skip
    return table.astype(dtype)


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return float(max(np.iinfo(dtype).min, -_EXACT)), float(min(np.iinfo(dtype).max, _EXACT))


def _arranged(table: Array, spec: TensorSpec) -> Array | None:
    """The table as one example or, row by row, as a batch; None where it is neither."""
    rows, columns = table.shape
    first = spec.shape[0] if spec.shape else None
    batched = isinstance(first, str) or first == 1  # as InputCheck has it
    example = spec.shape[1:] if batched else spec.shape
    one = _one_example(table, example)
    if one is not None or not isinstance(first, str):
        return one
    if not example and 1 in (rows, columns):
        return table.reshape(-1)
    sizes = [dim for dim in example if isinstance(dim, int)]
    if len(example) == 1 and not sizes:
        return table
    return table.reshape(rows, *sizes) if len(sizes) == len(example) and columns == prod(sizes) else None


def _one_example(table: Array, example: tuple[int | str, ...]) -> Array | None:
    if len(example) == 2 and all(
        isinstance(wanted, str) or wanted == found for wanted, found in zip(example, table.shape, strict=True)
    ):
        return table
    line = 1 in table.shape
    if len(example) < 3 and not line:
        return None  # rows of another length, or a table that lies on its side
    free = sum(isinstance(dim, str) for dim in example)
    known = prod(dim for dim in example if isinstance(dim, int))
    if free > 1 or table.size % known or (not free and table.size != known):
        return None
    shape = [dim if isinstance(dim, int) else table.size // known for dim in example]
    # Where a dimension was derived, rows that end within an axis of the example are more likely a batch.
    kept = line or not free or table.shape[1] in (prod(shape[at:]) for at in range(1, len(shape)))
    return table.reshape(shape) if kept else None


#: File name's ending -> what reads it into an array for each input.
_READERS: Mapping[str, Callable[[Path, list[TensorSpec]], dict[str, Array]]] = {
    ".npz": _from_npz, ".npy": _from_npy, ".json": _from_json, ".csv": _from_csv, ".wav": _from_wav,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm"), _from_image),
}  # fmt: skip

"""From a file that a person has to the array that a model takes, by what the interface says the input is."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.document import Document
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import DataError, NotFoundError
from edgewise.measure.media import read_image, read_wav
from edgewise.measure.npz import load_npz
from edgewise.runtime.engine import Array

__all__ = ["decode_file"]

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")
_TEXT_BYTES = 64 << 20


def decode_file(path: Path, document: Document) -> dict[str, Array]:
    """Input name -> array, from an image, wav, csv, json, npy or npz file.

    Images and sound need an input that the interface declares as such, or with a fitting shape. Raises DataError with what the
    model takes where the file is something else.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", path=str(path))
    states = {state.input for state in document.states}
    specs = [spec for spec in document.inputs if spec.name not in states]
    kind = path.suffix.lower()
    if kind == ".npz":
        arrays = load_npz(path)
        return {
            spec.name: arrays[spec.name if spec.name in arrays else "x"] for spec in specs if _has(arrays, spec, path)
        }
    if kind == ".json":
        return _from_json(_text(path), specs, path)
    spec = specs[0]
    if kind in _IMAGES:
        return {spec.name: _image(path, spec)}
    if kind == ".wav":
        return {spec.name: _sound(path, spec)}
    if kind == ".csv":
        return {spec.name: _csv(path, spec)}
    if kind == ".npy":
        with path.open("rb") as file:
            return {spec.name: np.lib.format.read_array(file, allow_pickle=False)}
    raise DataError(f"{path.name} is no image, wav, csv, json, npy or npz file; the model takes {spec}")


def _has(arrays: dict[str, Array], spec: TensorSpec, path: Path) -> bool:
    if spec.name not in arrays and "x" not in arrays:
        raise DataError(f"{path.name} has the arrays {', '.join(arrays)}; the model takes {spec}")
    return True


def _image(path: Path, spec: TensorSpec) -> Array:
    last = spec.shape[-1] if spec.shape else 0
    if len(spec.shape) != 4 or last not in (1, 3) or spec.dtype != "uint8":
        raise DataError(
            f"the model takes {spec}, not images (N, height, width, 1 or 3) of uint8",
            remedy="Pack it with its preprocessing in the graph (`edgewise pack --before image:...`), or pass an .npy.",
        )
    return read_image(path, channels=int(last))


def _sound(path: Path, spec: TensorSpec) -> Array:
    samples, rate = read_wav(path)
    wanted = spec.extra.get("sampleRate")
    if wanted is not None and wanted != rate:
        raise DataError(
            f"{path.name} has {rate} samples a second; the model takes {wanted}", remedy=f"Resample it to {wanted} Hz."
        )
    if spec.dtype == "int16":
        return (np.clip(samples, -1, 1) * 32767).round().astype(np.int16)
    return samples


def _csv(path: Path, spec: TensorSpec) -> Array:
    try:
        rows: Any = np.loadtxt(_text(path).splitlines(), delimiter=",", ndmin=2)
    except ValueError as error:
        raise DataError(
            f"{path.name} is not a table of numbers: {error}", remedy="Remove the header; separate by commas."
        ) from None
    shape = [dim if isinstance(dim, int) else -1 for dim in spec.shape[1:]]
    try:
        return np.asarray(rows, spec.dtype).reshape(shape if shape.count(-1) <= 1 else rows.shape)
    except (ValueError, OverflowError):
        raise DataError(
            f"{path.name} has {rows.shape[0]} rows of {rows.shape[1]} numbers; the model takes {spec}"
        ) from None


def _from_json(text: str, specs: list[TensorSpec], path: Path) -> dict[str, Array]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is not JSON: {error}") from None
    given = value if isinstance(value, dict) else {specs[0].name: value}
    found: dict[str, Array] = {}
    for spec in specs:
        try:
            found[spec.name] = np.asarray(given[spec.name], dtype=object if spec.dtype == "str" else spec.dtype)
        except KeyError:
            raise DataError(f"{path.name} has no {spec.name!r}; the model takes {spec}") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{path.name}: {spec.name} is not {spec}: {error}") from None
    return found


def _text(path: Path) -> str:
    if path.stat().st_size > _TEXT_BYTES:
        raise DataError(
            f"{path.name} has {path.stat().st_size} bytes; at most {_TEXT_BYTES} are read", remedy="Use an .npy file."
        )
    return path.read_text(encoding="utf-8", errors="replace")

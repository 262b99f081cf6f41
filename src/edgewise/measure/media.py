"""Folders of class folders with images or wav files, as arrays."""

import wave
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from edgewise.bundle.limits import Limits
from edgewise.errors import DataError, MissingExtraError
from edgewise.measure.npz import Array

__all__ = ["Media", "read_image", "read_media", "read_wav"]

_IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".ppm": "PPM", ".pgm": "PPM"}
_MAX_PIXELS = 64 << 20  # of one image
_MAX_CLASSES = 65_536


@dataclass(frozen=True, slots=True)
class Media:
    """x: (N, H, W, C) uint8 or (N, samples) float32. y: (N,) int64. labels: class names. files: in the order of x."""

    x: Array
    y: Array
    labels: tuple[str, ...]
    files: tuple[Path, ...]


def read_media(folder: Path, limits: Limits) -> Media:
    """Every image or wav file one level below ``folder``. All of them have to be alike: same size, same length and rate.

    Raises DataError naming the first that differs, and MissingExtraError where images are found without Pillow.
    """
    classes = sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    files = [(at, file) for at, part in enumerate(classes) for file in sorted(part.iterdir()) if _is_media(file)]
    if not files or len(classes) > _MAX_CLASSES:
        raise DataError(f"{folder.name} has no class folders with images or wav files", rule="dataset-form")
    kinds = {file.suffix.lower() == ".wav" for _, file in files}
    if len(kinds) > 1:
        raise DataError(f"{folder.name} holds both images and wav files", rule="dataset-form")
    read: Callable[[Path], Array] = _samples if kinds == {True} else read_image
    first = read(files[0][1])
    if first.nbytes * len(files) > limits.array_bytes:
        raise DataError(
            f"{len(files)} files take {first.nbytes * len(files)} bytes; at most {limits.array_bytes} are read",
            remedy="Pass a smaller sample of the data set.",
            rule="dataset-size",
        )
    x = np.empty((len(files), *first.shape), first.dtype)
    for at, (_, file) in enumerate(files):
        sample = read(file)
        if sample.shape != first.shape:
            raise DataError(
                f"{file.parent.name}/{file.name} has the shape {sample.shape}, {files[0][1].name} has {first.shape}",
                remedy="Bring all files to one size (images) or one length (wav files) first.",
                rule="dataset-shape",
            )
        x[at] = sample
    labels = tuple(part.name for part in classes)
    return Media(x, np.array([at for at, _ in files], np.int64), labels, tuple(file for _, file in files))


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in (*_IMAGES, ".wav") and not path.name.startswith(".") and path.is_file()


def read_image(path: Path, channels: int | None = None) -> Array:
    """One image file as (H, W, 1) or (H, W, 3) uint8; without ``channels``, grey files have one and the others three.

    Raises DataError for what is no image, MissingExtraError without Pillow.
    """
    try:
        # Deferred: Pillow is the optional extra "image".
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError(
            f"reading {path.name} needs Pillow", remedy="pip install 'edgewise[image]', or pass an .npz instead."
        ) from None
    try:
        with Image.open(path, formats=tuple(set(_IMAGES.values()))) as image:
            if prod(image.size) > _MAX_PIXELS:
                raise DataError(f"{path.name} has {image.size[0]} x {image.size[1]} pixels", rule="dataset-size")
            grey = image.mode in ("1", "L", "I;16") if channels is None else channels == 1
            pixels = np.asarray(image.convert("L" if grey else "RGB"), np.uint8)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path.parent.name}/{path.name} cannot be read as an image: {error}", rule="dataset-file"
        ) from None
    return pixels[:, :, np.newaxis] if grey else pixels


def read_wav(path: Path) -> tuple[Array, int]:
    """One wav file as (samples,) float32 in -1..1, channels averaged, and its sample rate in Hz."""
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, count = file.getsampwidth(), file.getnchannels(), file.getnframes()
            rate = file.getframerate()
            if count * width * channels > path.stat().st_size:
                raise DataError(f"{path.name} is shorter than it says", rule="dataset-file")
            raw = file.readframes(count)
        samples = _decode(raw, width).reshape(-1, channels)
    except (wave.Error, EOFError, OSError, ValueError) as error:
        raise DataError(
            f"{path.parent.name}/{path.name} cannot be read as a wav file: {error}", rule="dataset-file"
        ) from None
    return np.asarray(samples.mean(axis=1, dtype=np.float32)), rate


def _samples(path: Path) -> Array:
    return read_wav(path)[0]


def _decode(raw: bytes, width: int) -> Array:
    """PCM to float32 in -1..1: 8 bits unsigned, wider ones signed little-endian (the WAVE format)."""
    if width == 1:
        return np.asarray((np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128)
    if width == 3:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0].astype(np.float64) / 2**31).astype(np.float32)
    if width not in (2, 4):
        raise ValueError(f"samples of {width} bytes")
    return np.asarray((np.frombuffer(raw, f"<i{width}") / 2.0 ** (8 * width - 1)).astype(np.float32))

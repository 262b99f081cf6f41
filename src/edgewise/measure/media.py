"""Images and wav files as arrays: one by one, or as folders of class folders."""

import struct
import warnings
import wave
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.errors import DataError, MissingExtraError
from edgewise.measure.npz import Array

__all__ = ["Media", "read_image", "read_media", "read_wav"]

_IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".ppm": "PPM", ".pgm": "PPM"}
_GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I", "F")  # Pillow's modes of files without colour
_MAX_PIXELS = 64 << 20  # of one image
_MAX_CLASSES = 65_536
# What Pillow raises besides its own errors where a file is damaged.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    struct.error,
)
_DATASET = "Pass an .npz with arrays x (N, ...) and y (N,), or a folder of class folders with images or wav files."


@dataclass(frozen=True, slots=True)
class Media:
    """x: (N, H, W, C) uint8 or (N, samples) float32. y: (N,) int64. labels: class names. files: in the order of x."""

    x: Array
    y: Array
    labels: tuple[str, ...]
    files: tuple[Path, ...]


def read_media(folder: Path, limits: Limits, channels: int | None = None) -> Media:
    """Every image or wav file one level below ``folder``. All of them have to be alike: same size, same length and rate.

    channels: 1 or 3 for every image, else as the files have it.
    Raises DataError naming the first that differs, and MissingExtraError where images are found without Pillow.
    """
    classes = sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    files = [(at, file) for at, part in enumerate(classes) for file in sorted(part.iterdir()) if _is_media(file)]
    if not files or len(classes) > _MAX_CLASSES:
        raise DataError(f"{folder} has no class folders with images or wav files", remedy=_DATASET, rule="dataset-form")
    kinds = {file.suffix.lower() == ".wav" for _, file in files}
    if len(kinds) > 1:
        raise DataError(
            f"{folder} holds both images and wav files", remedy="Keep one kind in the folder.", rule="dataset-form"
        )
    read: Callable[[Path], Array] = _SameRate() if kinds == {True} else partial(read_image, channels=channels)
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

    As a viewer shows it: turned upright by its EXIF orientation, on white where it is transparent, 16 bits scaled to 8.
    Raises DataError for what is no image, MissingExtraError without Pillow.
    """
    try:
        # Deferred: Pillow is the optional extra "image".
        from PIL import Image, ImageOps  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError(
            f"reading {path} needs Pillow", remedy="pip install 'edgewise[image]', or pass an .npz instead."
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow's are on many pixels, which are refused here, and on odd EXIF blocks
            return _read_pixels(path, channels, Image, ImageOps)
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read as an image: {error or type(error).__name__}", rule="dataset-file"
        ) from None


def _read_pixels(path: Path, channels: int | None, pillow: Any, operations: Any) -> Array:
    with pillow.open(path, formats=tuple(set(_IMAGES.values()))) as image:
        if prod(image.size) > _MAX_PIXELS:
            raise DataError(
                f"{path} has {image.size[0]} x {image.size[1]} pixels; at most {_MAX_PIXELS} are read",
                remedy="Make the image smaller first.",
                rule="dataset-size",
            )
        image.load()
        # It turns the pixels first and then writes the EXIF block anew, which fails where that is damaged elsewhere.
        with suppress(*_DAMAGED):
            operations.exif_transpose(image, in_place=True)
        return _pixels(image, image.mode in _GREY if channels is None else channels == 1)


def _pixels(image: Any, grey: bool) -> Array:
    if image.mode == "F" or image.mode.startswith("I"):
        plane = _eight_bits(image)[:, :, np.newaxis]
        return plane if grey else np.repeat(plane, 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        clear = image.getchannel("A").point(lambda alpha: 255 - alpha)
        image = image.convert("RGB")
        image.paste((255, 255, 255), mask=clear)
    pixels = np.asarray(image.convert("L" if grey else "RGB"), np.uint8)
    return pixels[:, :, np.newaxis] if grey else pixels


def _eight_bits(image: Any) -> Array:
    """(H, W) uint8 of a deeper grey image: whole numbers are 0..65535 in every format that is read, floats (PFM) 0..1."""
    deep = np.asarray(image)
    if deep.dtype.kind == "f":
        if not bool(np.all((deep >= 0) & (deep <= 1))):
            raise ValueError("its floats are not in 0..1")
        return np.rint(deep * np.float32(255)).astype(np.uint8)
    scaled = ((deep.astype(np.int32) + 128) // 257).clip(0, 255).astype(np.uint8)  # to the nearest: 65535 is 255 * 257
    clear = image.info.get("transparency")
    return np.where(deep == clear, np.uint8(255), scaled) if isinstance(clear, int) else scaled


def read_wav(path: Path, dtype: Literal["float32", "int16"] = "float32") -> tuple[Array, int]:
    """One wav file as (samples,), channels averaged, and its sample rate in Hz.

    float32: in -1..1, full scale being 2^15 of a 16-bit file and so on. int16: the very values of a 16-bit file, those of
    other widths scaled and rounded. Raises DataError for what is no wav file, is cut short or has no samples.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, count = file.getsampwidth(), file.getnchannels(), file.getnframes()
            rate = file.getframerate()
            if count * channels * 8 > DEFAULT_LIMITS.array_bytes:  # as float64
                raise ValueError(f"{count} samples are too many")
            raw = file.readframes(count) if count * width * channels <= path.stat().st_size else b""
        if len(raw) != count * width * channels:
            raise ValueError("it is shorter than it says")
        if not count:
            raise ValueError("it has no samples")
        samples = _decode(raw, width).reshape(-1, channels).mean(axis=1)
    except (wave.Error, EOFError, RuntimeError, OSError, ValueError) as error:
        reason = str(error) or "it ends too early, or its parts are damaged"
        raise DataError(f"{path} cannot be read as a wav file: {reason}", rule="dataset-file") from None
    if dtype == "int16":
        return np.rint(samples * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16), rate
    return samples.astype(np.float32), rate


class _SameRate:
    """Reads wav files, and refuses one of another sample rate than the first."""

    def __init__(self) -> None:
        self._first: tuple[Path, int] | None = None

    def __call__(self, path: Path) -> Array:
        samples, rate = read_wav(path)
        first, wanted = self._first = self._first or (path, rate)
        if rate != wanted:
            raise DataError(
                f"{path} has {rate} samples a second, {first.name} has {wanted}",
                remedy="Bring all files to one sample rate first.", rule="dataset-shape",
            )  # fmt: skip
        return samples


def _decode(raw: bytes, width: int) -> Array:
    """PCM to float64 in -1..1, which holds every width exactly: 8 bits unsigned, wider ones signed (the WAVE format)."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0] / 2.0**31
    if width not in (2, 4):
        raise ValueError(f"samples of {width} bytes")
    return np.frombuffer(raw, f"<i{width}") / 2.0 ** (8 * width - 1)

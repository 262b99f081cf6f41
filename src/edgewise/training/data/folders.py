"""Folders of class folders as they come: pictures of many sizes, clips of many lengths, files that are damaged."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.errors import DataError, NotFoundError
from edgewise.measure.dataset import Dataset, digest_of_files
from edgewise.measure.media import read_image, read_wav
from edgewise.measure.npz import Array
from edgewise.training.data.checks import refuse
from edgewise.training.data.windows import padded_clips

__all__ = ["read_folder", "read_unlabelled"]

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")  # what measure.media reads
_REMEDY = "Repair or remove the files that are named; {hint}"


def read_folder(
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    length: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Dataset:
    """Images as (N, H, W, C) uint8 or wav files as (N, samples) float32; the class is the folder, counted from 0 by name.

    size: height and width to bring every image to: scaled to cover it, then its middle; without it all must be alike. channels:
    1 or 3 for every image, else as the files have it, 3 where some have.
    length: samples to bring every clip to: in the middle of silence, or
    its middle. Raises NotFoundError where there is no such folder, DataError with every file and class folder at fault.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", path=str(folder))
    classes = sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    files = [(at, file) for at, part in enumerate(classes) for file in _media(part)]
    filled = {at for at, _ in files}
    empty = [f"{part.name}: the class folder is empty" for at, part in enumerate(classes) if at not in filled]
    x = _read(folder, [file for _, file in files], size, channels, length, limits, empty)
    return Dataset(
        x, np.array([at for at, _ in files], np.int64), None, tuple(part.name for part in classes), folder.name,
        digest_of_files(folder, [file for _, file in files]),
    )  # fmt: skip


def read_unlabelled(
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    length: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Array:
    """Like ``read_folder``, but for all files in ``folder`` and one level below it, by name; nobody says what they show."""
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", path=str(folder))
    parts = [folder, *sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))]
    return _read(folder, [file for part in parts for file in _media(part)], size, channels, length, limits, [])


def _read(
    folder: Path, files: list[Path], size: tuple[int, int] | None, channels: int | None, length: int | None, limits: Limits,
    problems: list[str],
) -> Array:  # fmt: skip
    sound = {file.suffix.lower() == ".wav" for file in files}
    if len(sound) != 1:
        found = "both images and wav files" if sound else "no class folders with images or wav files"
        raise DataError(f"{folder} has {found}", remedy="Use one folder for each class, with one kind of files.")
    # Before any is made: one picture of the size that is asked for can be more than there is memory.
    each = 4 * (length or 0) if sound == {True} else size[0] * size[1] * (channels or 1) if size else 0
    if each * len(files) > limits.array_bytes:
        raise _too_large(folder, limits)
    samples: list[Array | None] = []
    used, rates = 0, dict[int, Path]()
    for file in files:
        try:
            if sound == {True}:
                sample, rate = _clip(file, length)
                rates.setdefault(rate, file)
            else:
                sample = _picture(file, size, channels)
        except DataError as error:
            problems.append(error.what)
            samples.append(None)
            continue
        used += sample.nbytes
        if used > limits.array_bytes:
            raise _too_large(folder, limits)
        samples.append(sample)
    samples = _in_colour(samples) if sound == {False} else samples
    problems += _unlike(rates, files, samples)
    hint = (
        "a length brings clips together (--length)." if sound == {True} else "a size brings images together (--size)."
    )
    refuse(problems, f"{folder.name} cannot be used", _REMEDY.format(hint=hint))
    return np.stack([sample for sample in samples if sample is not None])


def _too_large(folder: Path, limits: Limits) -> DataError:
    return DataError(
        f"{folder} takes more than the {limits.array_bytes} bytes that are read",
        remedy="Use smaller images or shorter clips (--size, --length), or part of the data.", rule="dataset-size",
    )  # fmt: skip


def _media(part: Path) -> list[Path]:
    files = (file for file in part.iterdir() if not file.name.startswith(".") and file.is_file())
    return sorted(file for file in files if file.suffix.lower() in (*_IMAGES, ".wav"))


def _in_colour(samples: list[Array | None]) -> list[Array | None]:
    """Grey pictures among others get their three channels."""
    if {sample.shape[2] for sample in samples if sample is not None} != {1, 3}:
        return samples
    return [sample if sample is None or sample.shape[2] == 3 else np.repeat(sample, 3, 2) for sample in samples]


def _unlike(rates: dict[int, Path], files: list[Path], samples: list[Array | None]) -> Iterator[str]:
    if len(rates) > 1:
        yield "sample rates differ: " + ", ".join(
            f"{file.parent.name}/{file.name} {rate}" for rate, file in rates.items()
        )
    forms = Counter(sample.shape for sample in samples if sample is not None)
    if len(forms) > 1:
        usual, _ = forms.most_common(1)[0]
        for file, sample in zip(files, samples, strict=True):
            if sample is not None and sample.shape != usual:
                yield f"{file.parent.name}/{file.name} has the shape {sample.shape}, most have {usual}"


def _clip(file: Path, length: int | None) -> tuple[Array, int]:
    samples, rate = read_wav(file)
    if length is None:
        return samples, rate
    return padded_clips(samples, np.array([0, len(samples)]), length)[0], rate


def _picture(file: Path, size: tuple[int, int] | None, channels: int | None) -> Array:
    pixels = read_image(file, channels)
    if size is None or pixels.shape[:2] == size:
        return pixels
    # Deferred: Pillow is the optional extra "image"; it is there, for it has just read the file.
    from PIL import Image  # noqa: PLC0415

    (height, width), (tall, wide) = pixels.shape[:2], size
    larger = max(tall / height, wide / width)
    # The middle, as large as it goes; rounding must not put it outside.
    across, down = min(width, wide / larger), min(height, tall / larger)
    left, top = (width - across) / 2, (height - down) / 2
    box = (left, top, min(width, left + across), min(height, top + down))
    image: Any = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    image = image.resize((wide, tall), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image, np.uint8).reshape(tall, wide, pixels.shape[2])

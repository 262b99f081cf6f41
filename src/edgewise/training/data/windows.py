"""Recordings of any length cut into windows of one length."""

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.dataset import Dataset, rows_by_number
from edgewise.measure.npz import Array
from edgewise.training.augment.step import need

__all__ = ["cut_windows", "padded_clips"]


def cut_windows(
    values: Array,
    offset: Array,
    label: Array,
    *,
    size: int,
    hop: int,
    group: Array | None = None,
    labels: tuple[str, ...] = (),
    name: str = "",
) -> Dataset:
    """Windows of ``size`` steps, one every ``hop`` steps, none across the border of two recordings.

    values: (steps, C) of all recordings, one after another; recording k is values[offset[k]:offset[k + 1]]. label, group: one for
    each recording; without group a recording is its own, so that a split never has windows of one recording on both sides.
    x (N, size, C). Raises DataError naming each recording that is shorter than a window.
    """
    need("windows", (size >= 1, f"size is at least 1, not {size}"), (hop >= 1, f"hop is at least 1, not {hop}"))
    _check(values, offset, label, group)
    lengths = np.diff(offset)
    if len(short := np.flatnonzero(lengths < size)):
        raise DataError(
            f"recordings shorter than a window of {size} steps: {rows_by_number(short)}",
            remedy="Leave these recordings out, or cut shorter windows.", rule="windows-short",
        )  # fmt: skip
    counts = (lengths - size) // hop + 1
    recording = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(recording)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = offset[recording] + number * hop
    x = np.lib.stride_tricks.sliding_window_view(values, size, axis=0)[start]
    return Dataset(
        np.ascontiguousarray(np.moveaxis(x, -1, 1)), label[recording],
        recording if group is None else group[recording], labels, name,
    )  # fmt: skip


def padded_clips(values: Array, offset: Array, size: int) -> Array:
    """Clips (N, size): each in the middle of zeros, or the middle of a longer one. Clip k is values[offset[k]:offset[k + 1]]."""
    need("clips", (size >= 1, f"size is at least 1, not {size}"))
    clips = np.zeros((len(offset) - 1, size), values.dtype)
    for clip, start, end in zip(clips, offset[:-1].tolist(), offset[1:].tolist(), strict=True):
        spare = size - (end - start)
        if spare >= 0:
            clip[spare // 2 : spare // 2 + end - start] = values[start:end]
        else:
            clip[:] = values[start + (-spare) // 2 :][:size]
    return clips


def _check(values: Array, offset: Array, label: Array, group: Array | None) -> None:
    good = offset.ndim == 1 and len(offset) >= 2 and offset.dtype.kind in "iu" and values.ndim == 2
    if not good or offset[0] != 0 or offset[-1] != len(values) or (np.diff(offset.astype(np.int64)) < 0).any():
        raise DataError(
            f"offsets are to rise from 0 to the {len(values)} steps there are, for values (steps, channels)",
            rule="windows-offset",
        )
    for what, array in (("label", label), ("group", group)):
        if array is not None and len(array) != len(offset) - 1:
            raise DataError(f"{len(offset) - 1} recordings, but {len(array)} of {what}", rule="windows-offset")

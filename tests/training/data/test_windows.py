"""Windows lie within one recording, every hop of it, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError, InputError
from edgewise.training.data.windows import cut_windows, padded_clips


@given(st.lists(st.integers(5, 30), min_size=1, max_size=6), st.integers(1, 5), st.integers(1, 9))
@settings(max_examples=80, deadline=None)
def test_windows_are_what_a_loop_would_cut(lengths: list[int], size: int, hop: int) -> None:
    offset = np.concatenate([[0], np.cumsum(lengths)])
    values = np.arange(offset[-1] * 2).reshape(-1, 2)
    data = cut_windows(values, offset, np.arange(len(lengths)) % 2, size=size, hop=hop)
    wanted = [
        (values[start : start + size].tolist(), at)
        for at, length in enumerate(lengths)
        for start in range(offset[at], offset[at] + length - size + 1, hop)
    ]
    assert data.x.tolist() == [window for window, _ in wanted]
    assert data.group is not None
    assert data.group.tolist() == [at for _, at in wanted]
    assert data.y.tolist() == [at % 2 for _, at in wanted]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_clips_lie_in_the_middle(lengths: list[int], size: int) -> None:
    offset = np.concatenate([[0], np.cumsum(lengths)])
    values = np.arange(1, offset[-1] + 2)[: max(1, offset[-1])]
    clips = padded_clips(values, offset, size)
    assert clips.shape == (len(lengths), size)
    for clip, start, length in zip(clips, offset, lengths, strict=False):
        kept = clip[clip != 0]
        assert len(kept) == min(length, size)
        assert (np.diff(kept) == 1).all()
        if len(kept):
            before, after = np.flatnonzero(clip)[0], size - 1 - np.flatnonzero(clip)[-1]
            assert abs(before - after) <= 1
            assert abs((kept[0] - 1 - start) - (start + length - kept[-1])) <= 1


def test_faults_are_named() -> None:
    values, label = np.zeros((10, 3)), np.zeros(3)
    with pytest.raises(DataError, match="shorter than a window of 4 steps: rows 0 and 2"):
        cut_windows(values, np.array([0, 3, 8, 10]), label, size=4, hop=1)
    for offset in ([0, 3, 8], [1, 3, 8, 10], [0, 8, 3, 10], [0.0, 10.0]):
        with pytest.raises(DataError, match=r"rise from 0 to the 10 steps"):
            cut_windows(values, np.array(offset), label, size=2, hop=1)
    with pytest.raises(DataError, match="3 recordings, but 2 of label"):
        cut_windows(values, np.array([0, 3, 8, 10]), np.zeros(2), size=2, hop=1)
    with pytest.raises(InputError, match="hop"):
        cut_windows(values, np.array([0, 10]), np.zeros(1), size=2, hop=0)

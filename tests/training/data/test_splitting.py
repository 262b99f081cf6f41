"""Holding out: nothing on both sides, nothing lost, classes in proportion, groups whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError, InputError
from edgewise.measure.dataset import Dataset
from edgewise.training.data.splitting import Split, each_group_out, split, split_groups


def _data(classes: list[int], groups: list[int] | None = None) -> Dataset:
    return Dataset(np.arange(len(classes)), np.array(classes), None if groups is None else np.array(groups))


def _is_a_partition(halves: Split, data: Dataset) -> bool:
    return sorted([*halves.train.x, *halves.evaluation.x]) == list(range(len(data)))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.floats(0.05, 0.95), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_a_split_is_a_partition_with_every_class_in_proportion(classes: list[int], share: float, seed: int) -> None:
    data = _data(classes)
    counts = np.bincount(classes)
    if counts.max() < 2:
        with pytest.raises(DataError, match="too few"):
            split(data, share, seed)
        return
    halves = split(data, share, seed)
    assert _is_a_partition(halves, data)
    assert halves.evaluation.x.tolist() == split(data, share, seed).evaluation.x.tolist()
    for value, count in enumerate(counts):
        held = int((halves.evaluation.y == value).sum())
        if count == 1:
            assert held == 0, "a single sample is for training"
        elif count:
            assert 1 <= held <= count - 1
            assert abs(held - share * count) <= 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), min_size=2, max_size=80), st.floats(0.1, 0.6), st.integers(0, 9)
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_groups_are_held_out_whole_and_every_class_stays(rows: list[tuple[int, int]], share: float, seed: int) -> None:
    classes, groups = [row[0] for row in rows], [row[1] for row in rows]
    data = _data(classes, groups)
    can_go = [group for group in set(groups) if {c for c, g in rows if g != group} == set(classes)]
    if not can_go:
        with pytest.raises(DataError, match="group"):
            split_groups(data, share, seed)
        return
    halves = split_groups(data, share, seed)
    assert _is_a_partition(halves, data)
    assert not set(halves.train.group) & set(halves.evaluation.group)  # type: ignore[arg-type]
    assert set(halves.train.y) == set(classes)
    assert halves.train.x.tolist() == split_groups(data, share, seed).train.x.tolist()


def test_group_splits_come_near_the_share() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 2000)
    data = _data(((groups + rng.integers(0, 3, 2000)) % 3).tolist(), groups.tolist())
    for seed in range(5):
        halves = split_groups(data, 0.25, seed)
        assert abs(len(halves.evaluation) / 2000 - 0.25) < 0.05
        assert (np.abs(np.bincount(halves.evaluation.y) / np.bincount(data.y) - 0.25) < 0.1).all()


def test_each_group_is_left_out_once() -> None:
    data = _data([0, 1, 0, 1, 0], [2, 2, 5, 5, 7])
    splits = dict(each_group_out(data))
    assert list(splits) == ["2", "5", "7"]
    assert [halves.evaluation.x.tolist() for halves in splits.values()] == [[0, 1], [2, 3], [4]]
    assert all(_is_a_partition(halves, data) for halves in splits.values())


def test_values_are_split_by_chance() -> None:
    data = Dataset(np.arange(10), np.linspace(0, 1, 10))
    assert len(split(data, 0.3).evaluation) == 3


def test_what_cannot_be_split_is_said_in_words() -> None:
    with pytest.raises(DataError, match="no groups"):
        split_groups(_data([0, 1]))
    with pytest.raises(DataError, match="all samples are of one group"):
        split_groups(_data([0, 1], [3, 3]))
    with pytest.raises(DataError, match="all its samples in one group"):
        split_groups(_data([0, 1], [0, 1]))
    with pytest.raises(InputError, match="share"):
        split(_data([0, 1]), 1.0)

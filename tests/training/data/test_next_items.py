"""Histories hold what came before, and training ends where the future begins."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError
from edgewise.training.data.next_items import Choices, films, next_items


def _choices(rows: list[tuple[int, int]]) -> Choices:
    user, item = np.array(rows, np.int64).T
    return Choices(user, item, (item % 3).astype(np.float32), np.arange(len(rows)) * 86_400, tuple("abcdef"))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6)), min_size=2, max_size=40), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_histories_are_what_a_walk_through_the_log_gives(rows: list[tuple[int, int]], length: int) -> None:
    line = round(len(rows) * 0.7)
    train, evaluation, past, done = [], [], dict[int, list[tuple[int, int]]](), set[int]()
    for now, (user, item) in enumerate(rows):
        seen = past.setdefault(user, [])
        latest = seen[::-1][:length]
        entry = (user, item, [i for i, _ in latest] + [0] * (length - len(latest)), [now - then for _, then in latest])
        if now < line:
            if seen:
                train.append(entry)
            seen.append((item, now))
        elif seen and user not in done and item not in {i for i, _ in seen}:
            done.add(user)
            evaluation.append(entry)
    if not train or not evaluation:
        with pytest.raises(DataError, match="both sides"):
            next_items(_choices(rows), share=0.3, length=length)
        return
    for wanted, found in zip((train, evaluation), next_items(_choices(rows), share=0.3, length=length), strict=True):
        entries = [
            (int(user), int(item), history.tolist(), age[history != 0].tolist())
            for user, item, history, age in zip(found.user, found.target, found.history, found.age, strict=True)
        ]
        assert sorted(entries) == sorted(wanted)
        assert (found.value == np.where(found.history > 0, found.history % 3, 0)).all()


def test_films(shared_data: Path) -> None:
    choices = films(shared_data / "behaviour_movietweetings")
    assert len(choices.user) == 80_000
    assert len(np.unique(choices.user)) == 14_178
    assert len(choices.names) == 9417
    assert all("(" in name for name in choices.names[:100])
    train, evaluation = next_items(choices)
    assert train.time.max() <= evaluation.time.min()
    assert len(np.unique(evaluation.user)) == len(evaluation) > 1000
    assert not (evaluation.history == evaluation.target[:, None]).any()
    assert (train.age >= 0).all()
    data = evaluation.take(np.arange(10)).dataset("films")
    assert (data.x.shape, data.y.shape) == ((10, 50), (10,))


def test_recent_popularity_is_the_floor_that_is_published(shared_data: Path) -> None:
    train, evaluation = next_items(films(shared_data / "behaviour_movietweetings"))
    recent = train.target[train.time > train.time.max() - 14 * 86_400]
    counts = np.bincount(recent, minlength=9418)
    hits = []
    for history, target in zip(evaluation.history, evaluation.target, strict=True):
        scores = counts.copy()
        scores[history] = -1
        hits.append(target in np.argsort(-scores, kind="stable")[:10])
    assert 0.15 < np.mean(hits) < 0.3


def test_faults_are_named(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_text("1::One (2001)::Drama\n")
    (tmp_path / "r.dat").write_text("1::2::3::4\n1::2::3\n\nx::2::3::4\n")
    with pytest.raises(DataError, match="lines 2, 4 are no user"):
        films(tmp_path, "r.dat")
    with pytest.raises(DataError, match="cannot be read"):
        films(tmp_path)
    one = np.ones(2, np.int64)
    with pytest.raises(DataError, match="order of time at row 1"):
        Choices(one, one, one, np.array([2, 1]), ("a",))
    with pytest.raises(DataError, match=r"items are 1\.\.1"):
        Choices(one, one * 2, one, one, ("a",))

"""What somebody chooses next: histories out of a log of choices, split by time.

A model that predicts the future must not have seen it, so the line is one moment for everybody. (Leaving out each user's last
choice lets it learn from what others chose later: Ji et al. 2023, arXiv 2010.11060.)
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array
from edgewise.training.augment.step import need

__all__ = ["Choices", "NextItems", "films", "next_items"]

_DAY = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Choices:
    """A log in the order of time. user, item, time (seconds), value (how much it was liked): (N,) each.

    Items count from 1; names[i - 1] is what item i is called.
    """

    user: Array
    item: Array
    value: Array
    time: Array
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len({len(array) for array in (self.user, self.item, self.value, self.time)}) != 1 or not len(self.user):
            raise DataError("a log of choices needs user, item, value and time for each of them", rule="choices")
        if len(wrong := np.flatnonzero(np.diff(self.time) < 0)):
            raise DataError(f"the log is not in the order of time at row {wrong[0] + 1}", rule="choices")
        if self.item.min() < 1 or self.item.max() > len(self.names):
            raise DataError(f"items are 1..{len(self.names)}", rule="choices")


@dataclass(frozen=True, slots=True)
class NextItems:
    """What was chosen (target, (N,)) after what (history, (N, length)): item numbers, the latest first, then 0 as padding.

    value, age: (N, length) float32, how each choice of the history was liked, and days between it and the target. user, time: (N,)
    whose choice and when.
    """

    history: Array
    value: Array
    age: Array
    target: Array
    user: Array
    time: Array

    def __len__(self) -> int:
        """How many choices."""
        return len(self.target)

    def dataset(self, name: str = "") -> Dataset:
        """x the histories, y the targets, group the users."""
        return Dataset(self.history, self.target, self.user, name=name)

    def take(self, rows: Array) -> "NextItems":
        """These rows, or those where the mask is true."""
        return NextItems(*(array[rows] for array in (
            self.history, self.value, self.age, self.target, self.user, self.time,
        )))  # fmt: skip


def next_items(choices: Choices, *, share: float = 0.2, length: int = 50) -> tuple[NextItems, NextItems]:
    """Before and after the line that leaves the last ``share`` of the log to the future.

    Before: every choice that has a history. After: for each user known by then, his first choice of something new to him, with
    the history as it was at the line. Items that nobody chose before the line are among the targets: nothing can find them, and to
    leave them out would flatter.
    """
    need("next items", (0 < share < 1, f"the share is in 0..1, not {share}"), (length >= 1, "length is at least 1"))
    line = round(len(choices.user) * (1 - share))
    order = np.argsort(choices.user, kind="stable")  # of each user's choices, that of time stays
    user, item, past = choices.user[order], choices.item[order], order < line
    first = np.searchsorted(user, user)  # where each one's user begins
    at = np.arange(len(order))
    known = past & (at > first)
    train = _histories(choices, order, at[known], at[known], first[known], length)
    rows, ends = _first_new(user, item, past, first)
    if not len(rows) or not len(train):
        raise DataError(
            "no user has choices on both sides of the line",
            remedy="Use a longer log, or another share.",
            rule="choices",
        )
    return train, _histories(choices, order, rows, ends, first[rows], length)


def films(folder: Path, file: str = "ratings_first80k.dat") -> Choices:
    """MovieTweetings (Dooms et al. 2013): ratings 0..10 of films, from tweets; names with the year."""
    rows, problems = [], []
    for number, line in enumerate(_lines(folder / file), 1):
        parts = line.split("::")
        if len(parts) == 4 and all(part.isdecimal() for part in parts):
            rows.append([int(part) for part in parts])
        elif line:
            problems.append(number)
    if problems or not rows:
        found = f"lines {', '.join(map(str, problems[:10]))} are" if problems else "there is"
        raise DataError(f"{file}: {found} no user::film::rating::time", rule="choices")
    user, film, value, time = np.array(rows, np.int64).T
    known, item = np.unique(film, return_inverse=True)
    titles = {int(parts[0]): parts[1] for line in _lines(folder / "movies.dat") if len(parts := line.split("::")) > 1}
    names = tuple(titles.get(int(number), str(number)) for number in known)
    order = np.argsort(time, kind="stable")
    return Choices(user[order], item[order] + 1, value[order].astype(np.float32), time[order], names)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", rule="choices") from None


def _histories(choices: Choices, order: Array, rows: Array, ends: Array, first: Array, length: int) -> NextItems:
    """The choices at ``rows`` of the log ordered by user; the history of each lies in first..ends - 1."""
    places = ends[:, None] - 1 - np.arange(length)
    there = places >= first[:, None]
    source, target = order[np.maximum(places, 0)], order[rows]
    age = (choices.time[target][:, None] - choices.time[source]) / _DAY
    return NextItems(
        np.where(there, choices.item[source], 0).astype(np.int64),
        np.where(there, choices.value[source], 0).astype(np.float32), np.where(there, age, 0).astype(np.float32),
        choices.item[target].astype(np.int64), choices.user[target], choices.time[target],
    )  # fmt: skip


def _first_new(user: Array, item: Array, past: Array, first: Array) -> tuple[Array, Array]:
    """For each user with choices on both sides: where his first new one after the line is, and where his past ends."""
    rows, ends = [], []
    for start in np.unique(first):
        end = int(np.searchsorted(user, user[start], side="right"))
        line = start + int(past[start:end].sum())
        if start < line < end:
            new = np.flatnonzero(~np.isin(item[line:end], item[start:line]))
            if len(new):
                rows.append(line + int(new[0]))
                ends.append(line)
    return np.array(rows, np.int64), np.array(ends, np.int64)

"""Faults of data are found before anything runs: all at once, each with its item."""

from typing import Any

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.measure.dataset import Dataset
from edgewise.training.data.checks import check_data, refuse

pytestmark = pytest.mark.bare


def _data(
    y: list[int], labels: tuple[str, ...] = (), shape: tuple[int, ...] = (2,), dtype: Any = float, **more: Any
) -> Dataset:
    x = np.random.default_rng(len(y) + more.pop("seed", 0)).random((len(y), *shape)) * 100
    return Dataset(x.astype(dtype), np.array(y), labels=labels, **more)


def test_good_data_passes_without_a_word() -> None:
    assert check_data(_data([0, 0, 1, 1]), _data([0, 1, 1]), shape=(2,), dtype="float64", classes=2) == ()
    assert check_data(_data([0, 0, 1, 1]), shape=("steps",)) == ()
    assert check_data(Dataset(np.array(["a", "b"], object), np.array([0.5, 1.0]))) == ()


def test_every_fault_is_in_one_message() -> None:
    train = _data([0, 0, 0, 5, 1, -1], ("cat", "dog", "cow"))
    evaluation = _data([0, 1, 2, 2], ("cat", "dog", "cow"), (3,), np.float32)
    with pytest.raises(DataError) as raised:
        check_data(train, evaluation, shape=(4,), dtype="float32")
    assert raised.value.details["problems"] == [
        "training data: samples have the shape (2), the model takes (4)",
        "training data: x is float64, the model takes float32",
        "training data: labels outside of 0..2 (-1, 5) in rows 3 and 5",
        "training data: class 'dog' has 1 of the 2 samples it needs at least",
        "training data: class 'cow' is empty",
        "evaluation data: samples have the shape (3), the model takes (4)",
        "evaluation data: x is float32 (4, 3), training data has float64 (6, 2)",
        "evaluation data: class 'cow' is not in the training data (rows 2 and 3)",
    ]


@pytest.mark.parametrize(
    ("train", "evaluation", "options", "said"),
    [
        (Dataset(np.zeros((4, 2), complex), np.zeros(4)), None, {}, "x is complex128"),
        (Dataset(np.array(["a", 3], object), np.zeros(2)), None, {}, "x is no text in row 1"),
        (Dataset(np.zeros(2), np.array(["a", "b"])), None, {}, "y is <U1"),
        (_data([0, 0, 1, 1]), None, {"classes": 3}, "class 2 is empty"),
        (_data([0, 1, 3]), None, {}, "class 2 is empty"),
        (_data([0] * 20 + [9] * 2), None, {}, "class 1 is empty"),
        (Dataset(np.zeros(2), np.zeros((2, 2))), None, {"classes": 2}, "class numbers"),
        (_data([0, 0, 1, 1]), Dataset(np.zeros((1, 2)), np.array([0.5])), {}, "y is float64 "),
        (_data([0, 0, 1, 10**9]), None, {}, r"labels go up to 1000000000 \(row 3\), and 4 samples leave most"),
        (_data([0, 0, 1, 2**62]), None, {}, r"labels go up to 4611686018427387904 \(row 3\)"),
        (_data([0, 0, 0]), None, {}, "every sample is of class 0, so there is nothing to tell apart"),
        (_data([0, 0, 1, 1], shape=(0, 3)), None, {}, r"samples have the shape \(0, 3\), so there is nothing in them"),
        (_data([0, 0]), _data([0, 3]), {"classes": 1}, r"class 3 is not in the training data \(row 1\)"),
    ],
)
def test_what_cannot_be_trained_with_is_named(train: Any, evaluation: Any, options: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_data(train, evaluation, **options)


def test_samples_and_groups_on_both_sides_are_warned_of() -> None:
    train = _data([0, 0, 1, 1], group=np.array(["a", "a", "b", "b"]))
    x = np.concatenate([train.x[2:3], train.x[:1] + 1, train.x[2:3]])
    warnings = check_data(train, Dataset(x, np.array([1, 0, 1]), np.array(["b", "c", "c"])))
    assert len(warnings) == 2
    assert "2 samples" in warnings[0]
    assert "rows 0 and 2; the first is row 2 there" in warnings[0]
    assert warnings[1].endswith("evaluation data: b")


def test_long_lists_are_cut_and_kept_in_the_details() -> None:
    problems = [f"file {at}" for at in range(25)]
    with pytest.raises(DataError, match="file 9; and 15 more") as raised:
        refuse(problems)
    assert raised.value.details["problems"] == problems

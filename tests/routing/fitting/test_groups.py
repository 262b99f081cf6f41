"""A promise for each class, as far as the samples of each reach."""

import math

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.routing.fitting.groups import fit_classes, large_enough
from edgewise.routing.risk import Promise

PROMISE = Promise(0.05)  # 59 samples are the least alone, 72 each for two, 80 each for three


def groups(*counts: int) -> np.ndarray:
    return np.repeat(["a", "b", "c", "d"][: len(counts)], counts)


@pytest.mark.parametrize(
    ("counts", "names"),
    [((59,), ["a"]), ((58,), []), ((72, 72), ["a", "b"]),
     ((100, 71), ["a"]), ((80, 80, 80), ["a", "b", "c"]), ((79, 90, 79), ["a", "b"])],
)  # fmt: skip
def test_as_many_share_delta_as_have_samples_for_their_part(counts: tuple[int, ...], names: list[str]) -> None:
    assert large_enough(groups(*counts), PROMISE) == names


def test_blocks_and_not_samples_are_counted() -> None:
    assert large_enough(groups(590, 590), PROMISE, np.repeat(np.arange(118), 10)) == ["a"]


def test_a_class_with_too_few_is_never_kept_and_none_at_all_is_refused() -> None:
    group, score = groups(200, 20), np.linspace(0.5, 1, 220)
    found = fit_classes(score, np.zeros(220), group, PROMISE, "binomial")
    assert found == {"a": 0.5, "b": math.inf}
    with pytest.raises(DataError, match="the most, 30, are of a") as raised:
        fit_classes(score[:50], np.zeros(50), groups(30, 20), PROMISE, "binomial")
    assert "59 of a class" in raised.value.remedy


def test_the_samples_of_each_class_decide_on_its_threshold_alone() -> None:
    group, score, loss = np.tile(["a", "b"], 300), np.linspace(0, 1, 600), np.zeros(600)
    loss[(group == "b") & (score < 0.5)] = 1.0
    found = fit_classes(score, loss, group, PROMISE, "binomial")
    assert found["a"] == 0
    assert 0.4 < found["b"] <= 0.5

"""What a person says of his examples becomes what a step takes, or an error that names the example."""

from typing import Any

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.training.personal.targets import as_targets
from edgewise.training.run.step_spec import ValueSpec

pytestmark = pytest.mark.bare

LABELS = ("cat", "dog", "owl")
CLASS = (ValueSpec("target", "int64", ("batch",), 3),)
CLASS_WITH_AXES = (ValueSpec("target", "int64", ("batch", 1, 1), 3),)
ONE_OF_TWO = (ValueSpec("target", "float32", ("batch", 1)),)
SETS = (ValueSpec("target", "float32", ("batch", 3)),)
OPEN = (ValueSpec("target", "float32", ("batch", "width")),)
WEIGHTED = (*CLASS, ValueSpec("sample_weight", "float32", ("batch",)))


@pytest.mark.parametrize(
    ("y", "specs", "expected"),
    [
        (["dog", "cat"], CLASS, [1, 0]),
        (np.array(["dog", "cat"]), CLASS, [1, 0]),
        ([1, 0], CLASS, [1, 0]),
        (np.array([1, 0], np.uint8), CLASS, [1, 0]),
        (np.array([[1], [0]]), CLASS, [1, 0]),
        ([True, False], CLASS, [1, 0]),
        (["owl", 0], CLASS, [2, 0]),
        (["owl", "cat"], CLASS_WITH_AXES, [[[2]], [[0]]]),
        (["owl", "cat"], WEIGHTED, [2, 0]),
        (["dog", "cat"], ONE_OF_TWO, [[1.0], [0.0]]),
        ([1, 0], ONE_OF_TWO, [[1.0], [0.0]]),
        ([["owl", "cat"], []], SETS, [[1, 0, 1], [0, 0, 0]]),
        (np.array([[1, 0, 1], [0, 0, 0]]), SETS, [[1, 0, 1], [0, 0, 0]]),
        (np.array([[0.5, 2.0], [1.0, 3.0]]), OPEN, [[0.5, 2.0], [1.0, 3.0]]),
    ],
)
def test_labels_numbers_and_sets_become_arrays(y: Any, specs: tuple[ValueSpec, ...], expected: Any) -> None:
    (found,) = as_targets(y, specs, LABELS, 2).values()
    assert found.dtype == specs[0].dtype
    np.testing.assert_array_equal(found, np.array(expected, specs[0].dtype))
    assert found.shape == np.shape(expected)


def test_one_example_needs_no_list() -> None:
    assert as_targets("dog", CLASS, LABELS, 1)["target"].tolist() == [1]
    assert as_targets(2, CLASS, LABELS, 1)["target"].tolist() == [2]


@pytest.mark.parametrize(
    ("y", "specs", "words"),
    [
        (["dog", "fox"], CLASS, "example 1 is labelled 'fox'"),
        ([0, 3], CLASS, "example 1 is of class 3; there are 3"),
        ([0, -1], CLASS, "example 1 is of class -1"),
        ([0.0, 1.0], CLASS, "example 0 is labelled 0.0"),
        ([0, None], CLASS, "example 1 is labelled None"),
        ([[0, 1], [1, 2]], CLASS, "example 0 is labelled"),
        ([0], CLASS, "2 examples and 1 values"),
        ([["fox"], []], SETS, "example 0 is labelled 'fox'"),
        ([[1.0, 2.0], [1.0]], SETS, "does not fit target"),
        ([object(), object()], SETS, "does not fit target"),
    ],
)
def test_what_cannot_be_meant_names_the_example(y: Any, specs: tuple[ValueSpec, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        as_targets(y, specs, LABELS, 2)


def test_a_label_that_is_not_known_is_answered_with_those_that_are() -> None:
    with pytest.raises(DataError) as raised:
        as_targets(["fox"], CLASS, LABELS, 1)
    assert "cat, dog, owl" in raised.value.remedy

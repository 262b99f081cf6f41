"""Fields of a JSON object: each has one type, a bound, and a problem with its path where it is something else."""

import math
from typing import Any

import pytest

from edgewise.bundle.fields import Form

pytestmark = pytest.mark.bare


def form(value: Any) -> Form:
    return Form({"field": value}, "thing", "top")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, True, "1", None, [1]])
def test_a_number_is_finite_and_no_boolean(value: Any) -> None:
    read = form(value)
    assert read.number("field") == 0.0
    assert [problem.split(":")[0] for problem in read.problems] == ["top.field"]


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_an_integer_is_no_boolean_and_no_float(value: Any) -> None:
    read = form(value)
    assert read.integer("field", low=3) == 3
    assert len(read.problems) == 1


def test_bounds_may_be_reached_and_not_passed() -> None:
    for value, faults in ((0, 0), (10, 0), (-1, 1), (11, 1)):
        whole, real = form(value), form(value)
        assert (whole.integer("field", low=0, high=10), real.number("field", low=0, high=10)) == (value, value)
        assert (len(whole.problems), len(real.problems)) == (faults, faults)
    for length, faults in ((3, 0), (4, 1)):
        text, texts, items, values = form("x" * length), form({}), form([{}] * length), form([1] * length)
        texts = form({str(at): "x" for at in range(length)})
        text.text("field", limit=3)
        texts.mapping("field", limit=3)
        items.items("field", lambda item: item, limit=3)
        values.values("field", lambda item: item == 1, "one", limit=3)
        assert [len(read.problems) for read in (text, texts, items, values)] == [faults] * 4


def test_what_was_not_asked_for_is_kept() -> None:
    read = Form({"a": 1, "b": 2}, "thing")
    read.integer("a")
    assert read.rest() == {"b": 2}


def test_a_default_stands_for_what_is_missing_and_for_nothing_else() -> None:
    read = Form({"wrong": []}, "thing")
    assert (read.text("none", default="d"), read.integer("none", default=7), read.number("none", default=0.5)) == (
        "d",
        7,
        0.5,
    )
    assert read.child("none", lambda item: item) is None
    assert read.problems == []
    read.text("wrong", default="d")
    read.number("absent")
    assert [problem.split(":")[0] for problem in read.problems] == ["wrong", "absent"]

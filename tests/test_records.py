"""Records are frozen data classes to everyone who looks, only made faster."""

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import pytest

from edgewise.records import dataclass

pytestmark = pytest.mark.bare


@dataclass(frozen=True, slots=True)
class Point:
    """With a default, a factory, a check, a property and a field that is not shown."""

    x: int
    y: int = 2
    more: Mapping[str, Any] = field(default_factory=dict)
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")

    @property
    def total(self) -> int:
        return self.x + self.y


def test_they_are_made_like_data_classes() -> None:
    assert (Point(1).y, Point(1, 5).total, Point(y=3, x=4).total) == (2, 6, 7)
    assert Point(1).more is not Point(1).more
    assert repr(Point(1, secret="s")) == "Point(x=1, y=2, more={})"
    assert Point.__match_args__ == ("x", "y", "more", "secret")
    for wrong in (Point, lambda: Point(1, 2, {}, "", 5), lambda: Point(1, z=1), lambda: Point(1, x=1)):  # type: ignore[call-arg, misc]
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="negative"):
        Point(-1)


def test_they_are_equal_by_value_and_only_to_their_own_kind() -> None:
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(2)
    assert Point(1) != (1, 2, {}, "")

    @dataclass(frozen=True, slots=True)
    class Pair:
        a: int
        b: int

    assert hash(Pair(1, 2)) == hash(Pair(1, 2))
    assert len({Pair(1, 2), Pair(1, 2), Pair(2, 1)}) == 2


def test_they_cannot_be_changed() -> None:
    point = Point(1)
    for change in (lambda: setattr(point, "x", 3), lambda: delattr(point, "x"), lambda: setattr(point, "new", 3)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert not hasattr(point, "__dict__")


def test_the_standard_library_takes_them_for_data_classes() -> None:
    point = Point(1, more={"a": 1})
    assert dataclasses.is_dataclass(point)
    assert dataclasses.replace(point, y=9) == Point(1, 9, {"a": 1})
    assert [item.name for item in dataclasses.fields(point)] == ["x", "y", "more", "secret"]
    assert dataclasses.asdict(point) == {"x": 1, "y": 2, "more": {"a": 1}, "secret": ""}
    assert pickle.loads(pickle.dumps(point)) == point == copy.deepcopy(point)
    with pytest.raises(ValueError, match="negative"):
        dataclasses.replace(point, x=-1)


def test_only_the_one_form_is_offered() -> None:
    with pytest.raises(TypeError, match="frozen classes with slots"):
        dataclass(frozen=False, slots=True)


def test_a_start_does_not_load_what_only_writing_and_other_engines_need() -> None:
    code = "import sys; before = set(sys.modules); import edgewise; edgewise.load; print(' '.join(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "tempfile",
        "shutil",
        "hashlib",
        "nacl.bindings",
        "threading",
        "numpy.typing",
    }

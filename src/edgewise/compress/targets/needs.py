"""What a target asks of a node beyond version and type, in words that a check can follow.

    rank=3,4        dimensions of the first input; rank<=4 and rank>=2 for a bound
    spatial=2,3     the same without batch and channels
    ranked          the number of dimensions of the first input is known
    fixed           no dimension of the first input varies
    stored=1,2      the inputs at these places, where they are given, are stored in the model; stored=1+ from there on
    absent=4        the inputs at these places are not given
    inputs<=4       how many inputs
    outputs=1       how many outputs are asked for, at most
    output=int8     element types of the first output
    zero=2          the input at this place is zero, or not given
    @mode=a,b       an attribute, each of its values; what is not given has ONNX's default
    without=a,b     these attributes are not given

A need that cannot be decided from the model (a rank that is unknown) is neither met nor broken: it is told.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto, defs, helper

from edgewise.compress.targets.view import View

__all__ = ["Verdict", "look"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """broken: what the node does not meet, in words. open: what the model does not tell."""

    broken: tuple[str, ...]
    open: tuple[str, ...]


def look(needs: tuple[str, ...], node: NodeProto, view: View, schema: defs.OpSchema | None) -> Verdict:
    """Which of ``needs`` the node does not meet, and which cannot be decided."""
    broken, undecided = [], []
    for need in needs:
        met, words = _decide(need, node, view, schema)
        if met is None:
            undecided.append(words)
        elif not met:
            broken.append(words)
    return Verdict(tuple(broken), tuple(undecided))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a need is looked at. sign, text: what stands behind its first word."""

    node: NodeProto
    view: View
    schema: defs.OpSchema | None
    sign: str
    text: str

    @property
    def words(self) -> list[str]:
        return self.text.split(",")

    @property
    def given(self) -> list[str]:
        """The inputs at the places that the need names."""
        count = len(self.node.input)
        places = range(int(self.text[:-1]), count) if self.text.endswith("+") else [int(word) for word in self.words]
        return [self.node.input[at] for at in places if at < count and self.node.input[at]]


_Answer = tuple[bool | None, str]  # None: cannot be decided


def _decide(need: str, node: NodeProto, view: View, schema: defs.OpSchema | None) -> _Answer:
    word, sign, text = _parts(need)
    place = _Place(node, view, schema, sign, text)
    return _attribute(place, word[1:]) if word.startswith("@") else _DECIDE[word](place)


def _parts(need: str) -> tuple[str, str, str]:
    for sign in ("<=", ">=", "="):
        word, found, text = need.partition(sign)
        if found:
            return word, sign, text
    return need, "", ""


def _rank(place: _Place, without: int = 0) -> _Answer:
    numbers = [int(word) for word in place.words]
    allowed = " and ".join(f"{number}-D" for number in numbers)
    words = {"=": f"for {allowed} only", "<=": f"up to {allowed} only", ">=": f"from {allowed} on"}[place.sign]
    shape = place.view.shape(place.node.input[0])
    if shape is None:
        return None, words
    rank = len(shape) - without
    met = {"=": rank in numbers, "<=": rank <= numbers[0], ">=": rank >= numbers[0]}[place.sign]
    return met, f"{words}, and this is {rank}-D"


def _spatial(place: _Place) -> _Answer:
    return _rank(place, without=2)


def _ranked(place: _Place) -> _Answer:
    return place.view.shape(place.node.input[0]) is not None, "how many dimensions its input has must be known"


def _fixed(place: _Place) -> _Answer:
    shape = place.view.shape(place.node.input[0])
    met = None if shape is None else all(isinstance(dim, int) for dim in shape)
    return met, "the shape of its input may not vary"


def _stored(place: _Place) -> _Answer:
    met = all(place.view.stored(name) for name in place.given)
    return met, f"{', '.join(place.given)} has to be stored in the model"


def _absent(place: _Place) -> _Answer:
    return not place.given, f"not with {', '.join(place.given)}"


def _inputs(place: _Place) -> _Answer:
    return sum(map(bool, place.node.input)) <= int(place.text), f"at most {place.text} inputs"


def _outputs(place: _Place) -> _Answer:
    return sum(map(bool, place.node.output)) <= int(place.text), f"at most {place.text} outputs"


def _output(place: _Place) -> _Answer:
    dtype = place.view.dtype(place.node.output[0])
    return (dtype in place.words if dtype else None), f"gives {', '.join(place.words)} only"


def _zero(place: _Place) -> _Answer:
    arrays = [place.view.array(name) for name in place.given]
    words = f"{', '.join(place.given) or 'the zero point'} has to be zero"
    if any(array is not None and array.astype("float32").any() for array in arrays):
        return False, words
    return (None if any(array is None for array in arrays) else True), words


def _attribute(place: _Place, name: str) -> _Answer:
    values = list(_values(place, name))
    met = all(any(_same(value, word) for word in place.words) for value in values)
    return met, f"{name} has to be {' or '.join(place.words)}, not {', '.join(map(str, values))}"


def _without(place: _Place) -> _Answer:
    there = [each.name for each in place.node.attribute if each.name in place.words]
    return not there, f"not with {', '.join(there)}"


_DECIDE: dict[str, Callable[[_Place], _Answer]] = {
    "rank": _rank, "spatial": _spatial, "ranked": _ranked, "fixed": _fixed, "stored": _stored, "absent": _absent, "inputs": _inputs,
    "outputs": _outputs, "output": _output, "zero": _zero, "without": _without,
}  # fmt: skip


def _values(place: _Place, name: str) -> Iterator[Any]:
    """One for a number or word, all of a list; none where the attribute is neither given nor has a default."""
    attribute = next((each for each in place.node.attribute if each.name == name), None)
    if attribute is None and place.schema is not None and name in place.schema.attributes:
        attribute = place.schema.attributes[name].default_value
    if attribute is None or not attribute.type:
        return
    value = helper.get_attribute_value(attribute)
    for each in value if isinstance(value, list) else [value]:
        yield each.decode() if isinstance(each, bytes) else each


def _same(value: Any, text: str) -> bool:
    return value == text if isinstance(value, str) else float(value) == float(text)

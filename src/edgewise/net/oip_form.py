"""What an Open Inference Protocol server says over REST: what a model takes and gives, and its answers. Pure; all outside input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from edgewise.bundle.fields import Form
from edgewise.bundle.limits import Limits
from edgewise.bundle.strict_json import parse_object
from edgewise.errors import DocumentError, HostileBundleError, PeerError
from edgewise.net.oip_tensors import DTYPES, from_raw, from_values, most_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DESCRIPTION",
    "ModelForm",
    "TensorForm",
    "answer_limit",
    "fits",
    "read_answer",
    "read_extensions",
    "read_model",
]

#: Bytes of a description at most.
DESCRIPTION = 1 << 20
_HEAD = 1 << 16  # bytes of an answer besides its numbers
_VARYING, _VARYING_JSON = 1 << 25, 1 << 22  # bytes of an answer whose shape is not known before; of one in JSON
_VARYING_VALUES = 1 << 19  # in JSON, where looking at each takes its time
_RANK = 16
_TENSORS = 256
_REMEDY = "Name a model that speaks the Open Inference Protocol v2 with JSON, as in https://HOST/v2/models/NAME."


@dataclass(frozen=True, slots=True)
class TensorForm:
    """shape: -1 for what varies. dtype: in NumPy's spelling, "str" for texts, "" for a type that is not known here."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return DTYPES.get(self.datatype, "")


@dataclass(frozen=True, slots=True)
class ModelForm:
    """What a model takes and gives, by its own word. parameters: those that are texts."""

    inputs: tuple[TensorForm, ...]
    outputs: tuple[TensorForm, ...]
    name: str = ""
    versions: tuple[str, ...] = ()
    platform: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def read_extensions(data: bytes, what: str) -> tuple[str, ...]:
    """What a server can beyond the protocol, of its own description. Raises PeerError."""
    form = _object(data, what, Limits(json_bytes=DESCRIPTION), _REMEDY)
    found = form.values("extensions", lambda value: isinstance(value, str), "a text", limit=1024)
    _finish(form, _REMEDY)
    return tuple(found)


def read_model(data: bytes, what: str, remedy: str = _REMEDY) -> ModelForm:
    """The description of a model; ``what`` names it in errors. Raises PeerError for what is none."""
    form = _object(data, what, Limits(json_bytes=DESCRIPTION), remedy)
    parameters = form.anything("parameters")
    found = ModelForm(
        tuple(form.items("inputs", _read_tensor, limit=_TENSORS)),
        tuple(form.items("outputs", _read_tensor, limit=_TENSORS)),
        form.text("name", default="", limit=256),
        tuple(form.values("versions", lambda value: isinstance(value, str), "a text", limit=4096)),
        form.text("platform", default="", limit=256),
        {name: value for name, value in parameters.items() if isinstance(value, str)}
        if isinstance(parameters, dict)
        else {},
    )
    _finish(form, remedy)
    if not found.inputs or not found.outputs:
        raise PeerError(f"{what} has no inputs or no outputs", remedy=remedy)
    return found


def answer_limit(expected: Sequence[TensorForm], *, raw: bool) -> int:
    """Bytes of an answer with these outputs at most, besides what it says of who gave it."""
    if _varies(expected):
        return _VARYING if raw else _VARYING_JSON
    return _HEAD + sum(most_bytes(form.datatype, form.shape, raw=raw) for form in expected)


def read_answer(
    data: bytes, what: str, expected: Sequence[TensorForm], *, head: int | None = None, remedy: str = _REMEDY
) -> tuple[dict[str, "NDArray[Any]"], Mapping[str, Any]]:
    """Outputs by name, each as ``expected`` has it (-1: any size), and the answer's parameters. Others than those are left out.

    head: length of the JSON where binary tensors follow it. Raises PeerError for anything that is not expected.
    """
    size = len(data) if head is None else head
    if not 0 < size <= len(data):
        raise PeerError(f"{what} has another length than it says", remedy=remedy)
    # A value of JSON for each number, and as many brackets at worst.
    values = _VARYING_VALUES if _varies(expected) else 4096 + 4 * sum(prod(form.shape) for form in expected)
    form = _object(data[:size], what, Limits(json_bytes=size, json_values=values), remedy)
    tail = _Tail(data[size:])
    wanted = {one.name: one for one in expected}
    found = form.items("outputs", lambda item: _read_output(item, wanted, tail), limit=_TENSORS)
    arrays = {name: array for name, array in found if array is not None}
    missing = len(arrays) != len(wanted) or sum(array is not None for _, array in found) != len(wanted)
    if missing and not form.problems:
        form.problem("outputs", "an output that was asked for is not there once")
    if tail.left and not form.problems:
        form.problem("outputs", f"{tail.left} bytes belong to none")
    parameters = form.anything("parameters")
    _finish(form, remedy)
    return arrays, parameters if isinstance(parameters, dict) else {}


def _varies(expected: Sequence[TensorForm]) -> bool:
    return any(min(form.shape, default=0) < 0 for form in expected)


class _Tail:
    """The binary tensors of an answer, in the order of its outputs."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ValueError("there are fewer bytes than it says")
        self._at += size
        return self._data[self._at - size : self._at]


def _read_output(
    form: Form, wanted: Mapping[str, TensorForm], tail: _Tail
) -> tuple[str, "NDArray[Any] | None"]:  # fmt: skip
    name, datatype = form.text("name", limit=256), form.text("datatype", limit=16)
    shape = tuple(form.values("shape", _is_size, "a size", limit=_RANK))
    parameters = form.anything("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
        form.problem("parameters", "binary_data_size is a number")
        return name, None
    try:
        raw = None if size is None else tail.take(size)
        if name not in wanted:
            return name, None
        one = wanted[name]
        if datatype != one.datatype:
            form.problem("datatype", f"{one.datatype} is needed")
        elif not fits(shape, one.shape):
            form.problem("shape", f"{list(one.shape)} is needed")
        elif not form.problems:
            values = form.anything("data")
            return name, from_values(values, datatype, shape) if raw is None else from_raw(raw, datatype, shape)
    except ValueError as error:
        form.problem("data", str(error))
    return name, None


def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether it is of that shape, in which -1 stands for any size."""
    return len(shape) == len(wanted) and all(own in (-1, size) for size, own in zip(shape, wanted, strict=True))


def _read_tensor(form: Form) -> TensorForm:
    shape = form.values("shape", _is_dimension, "a dimension, -1 or more,", limit=_RANK)
    if not shape:
        form.problem("shape", "a batch axis is needed")
    return TensorForm(form.text("name", limit=256), form.text("datatype", limit=16), tuple(shape) or (-1,))


def _is_dimension(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value < 1 << 31


def _is_size(value: Any) -> bool:
    return _is_dimension(value) and value >= 0


def _object(data: bytes, what: str, limits: Limits, remedy: str) -> Form:
    try:
        return Form(parse_object(data, what, limits), what)
    except HostileBundleError as error:
        raise PeerError(error.what, remedy=remedy) from None


def _finish(form: Form, remedy: str) -> None:
    try:
        form.finish()
    except DocumentError as error:
        raise PeerError(error.what, remedy=remedy) from None

"""The interface of a model: names, dtypes, shapes and ranges of its tensors."""

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from edgewise.bundle.fields import Form
from edgewise.records import dataclass

__all__ = ["DTYPES", "IDENTIFIER", "StateSpec", "TensorSpec", "read_state", "read_tensor"]

#: Element types, in NumPy's spelling. ``str`` is a tensor of UTF-8 strings.
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "str",
)  # fmt: skip
#: What the values are, where an application can decode a file into them.
CONTENT = ("image", "audio", "sensor", "text", "tensor")
IDENTIFIER = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")  # control characters would reach the terminal that prints it
_MAX_RANK = 16


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of the interface.

    shape: each dimension a positive number, or a name for one that varies (``"batch"``, ``"height"``).
    range: lowest and highest value that make sense, both included; None where any value does.
    content: what the values are: image (N, H, W, C), audio (N, samples), sensor (N, time, channels), text or tensor.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    range: tuple[float, float] | None = None
    content: str = "tensor"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        value = {**self.extra, "name": self.name, "dtype": self.dtype, "shape": list(self.shape)}
        if self.range is not None:
            value["range"] = list(self.range)
        if self.content != "tensor":
            value["content"] = self.content
        return value

    def __str__(self) -> str:
        limits = "" if self.range is None else f" in {self.range[0]:g}..{self.range[1]:g}"
        return f"{self.name}: {self.dtype} ({', '.join(map(str, self.shape))}){limits}"


@dataclass(frozen=True, slots=True)
class StateSpec:
    """A tensor that goes back in at the next call: what the output ``output`` gave becomes the input ``input``.

    It starts as zeros; a dimension that varies counts as 1.
    """

    input: str
    output: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {**self.extra, "input": self.input, "output": self.output}


def read_tensor(form: Form) -> TensorSpec:
    name = form.text("name", pattern=IDENTIFIER)
    dtype = form.text("dtype", one_of=DTYPES)
    content = form.text("content", one_of=CONTENT, default="tensor")
    shape = form.values("shape", _is_dimension, "a positive number or a name", limit=_MAX_RANK)
    limits = form.values("range", _is_number, "a number", limit=2)
    if limits and (len(limits) != 2 or not all(map(_is_number, limits)) or limits[0] > limits[1]):
        form.problem("range", "two numbers are needed, the lower first")
    return TensorSpec(
        name, dtype, tuple(shape), (limits[0], limits[1]) if len(limits) == 2 else None, content, form.rest()
    )


def read_state(form: Form) -> StateSpec:
    return StateSpec(form.text("input", pattern=IDENTIFIER), form.text("output", pattern=IDENTIFIER), form.rest())


def _is_dimension(value: Any) -> bool:
    if isinstance(value, str):
        return IDENTIFIER.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

"""Many numbers of a rule, as text: 32-bit floats, little-endian, in base64, which is a fifth of what digits take."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.errors import DataError
from edgewise.runtime.engine import Array

__all__ = ["Table", "read_table"]

_MOST = 2**18  # numbers: 1 MiB, 512 prototypes of 512 values
_BYTES = 4
_LARGEST = 1e18  # its square is a float32 still


@final
@dataclass(frozen=True, slots=True)
class Table:
    """A matrix of ``rows`` rows. array: float64, not to be written to."""

    rows: int
    data: bytes
    array: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        array = np.frombuffer(self.data, "<f4").astype(np.float64).reshape(self.rows, -1)
        array.setflags(write=False)
        object.__setattr__(self, "array", array)

    @staticmethod
    def of(array: Array) -> "Table":
        """Raises DataError where these are too many numbers to be stored with a bundle, or not finite."""
        if array.ndim != 2 or not 0 < array.size <= _MOST:
            raise DataError(
                f"a rule stores 1 to {_MOST} numbers, not {array.size}",
                remedy="Take fewer prototypes, or an output with fewer values.",
            )
        if not (np.abs(array) <= _LARGEST).all():
            raise DataError(f"a rule stores finite numbers within {_LARGEST:g}")
        return Table(len(array), array.astype("<f4").tobytes())

    def to_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "float32": base64.b64encode(self.data).decode()}


def read_table(form: Form, field: str) -> Table:
    """As ``Table.to_json`` gives it; notes every problem in ``form``."""
    found = form.child(field, _read)
    if found is None:
        form.problem(field, "is missing")
        return Table(1, bytes(_BYTES))
    return found


def _read(form: Form) -> Table:
    rows = form.integer("rows", low=1, high=_MOST)
    text = form.text("float32", limit=_MOST * _BYTES * 4 // 3 + 4)
    for name in form.rest():
        form.problem(name[:60], "is not a field of this rule")
    if form.problems:
        return Table(1, bytes(_BYTES))
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or len(data) % (_BYTES * rows) or len(data) > _MOST * _BYTES:
        form.problem("float32", f"base64 of 32-bit floats in {rows} equal rows is needed")
        return Table(1, bytes(_BYTES))
    if not (np.abs(np.frombuffer(data, "<f4")) <= _LARGEST).all():
        form.problem("float32", f"a number is not finite, or beyond {_LARGEST:g}")
        return Table(1, bytes(_BYTES))
    return Table(rows, data)

"""Tensors as the Open Inference Protocol, version 2, writes them: by datatype, as raw bytes or as JSON values. Pure.

https://github.com/open-inference/open-inference-protocol. Raw is row-major and little-endian, as Triton's extension "binary tensor
data" and raw contents over gRPC have it: a boolean is a byte of 0 or 1, an element of BYTES has its length before it in four.
What is read is outside input: a size that does not fit, a number that is not finite, bytes that are no text are ValueErrors, whose
words say what is wrong and have nothing of the content in them.
"""

import struct
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DTYPES", "datatype_of", "from_raw", "from_values", "is_number", "most_bytes", "to_raw", "to_values"]

#: The protocol's name of a type -> NumPy's; "str" for tensors of texts, which are arrays of objects here.
DTYPES = {
    "BOOL": "bool", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8", "UINT16": "uint16",
    "UINT32": "uint32", "UINT64": "uint64", "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "str",
}  # fmt: skip
_DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}
_TEXT = 4096  # bytes of one text at most
_VALUE = 64  # bytes of one number in JSON at most, with brackets and commas


def datatype_of(array: "NDArray[Any]") -> str:
    """The protocol's name of its type; "" for a type that the protocol has not."""
    return "BYTES" if array.dtype.kind in "OUS" else _DATATYPES.get(array.dtype.name, "")


def is_number(datatype: str) -> bool:
    return DTYPES.get(datatype, "str") != "str"


def most_bytes(datatype: str, shape: tuple[int, ...], *, raw: bool) -> int:
    """How long a tensor can be in an answer; of a shape without dimensions that vary."""
    if datatype == "BYTES":
        return (4 + _TEXT if raw else 6 * _TEXT) * prod(shape)  # JSON may write a letter as \uXXXX
    return (np.dtype(DTYPES[datatype]).itemsize if raw else _VALUE) * prod(shape)


def to_raw(array: "NDArray[Any]", datatype: str) -> bytes:
    """``array`` in the type of that name, to which it is cast."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(item)) + item for item in map(_encoded, array.ravel().tolist()))
    return np.ascontiguousarray(array, np.dtype(DTYPES[datatype]).newbyteorder("<")).tobytes()


def from_raw(data: bytes, datatype: str, shape: tuple[int, ...]) -> "NDArray[Any]":
    """The array that ``data`` is, all of it; it may be written to. Raises ValueError."""
    if datatype == "BYTES":
        return _texts([_decoded(item) for item in _split(data, prod(shape))], shape)
    dtype = np.dtype(DTYPES[datatype])
    if len(data) != dtype.itemsize * prod(shape):
        raise ValueError(f"{len(data)} bytes are not {prod(shape)} values of {datatype}")
    if datatype == "BOOL" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise ValueError("a boolean is neither 0 nor 1")
    return _finite(np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape))


def to_values(array: "NDArray[Any]", datatype: str) -> list[Any]:
    """All elements in one list for JSON. Raises ValueError for numbers that JSON has not."""
    if datatype == "BYTES":
        return [_encoded(item).decode() for item in array.ravel().tolist()]
    values: list[Any] = _finite(array.astype(DTYPES[datatype])).ravel().tolist()
    return values


def from_values(values: Any, datatype: str, shape: tuple[int, ...]) -> "NDArray[Any]":
    """The array of a list, or of lists within lists, from JSON. Raises ValueError."""
    if datatype == "BYTES":
        flat = _flat(values)
        if len(flat) != prod(shape) or not all(isinstance(item, str) for item in flat):
            raise ValueError(f"{prod(shape)} texts are needed")
        return _texts(flat, shape)
    try:
        found = np.asarray(values).ravel()
    except ValueError:  # rows of different lengths
        found = np.empty(0, object)
    dtype = np.dtype(DTYPES[datatype])
    if found.size != prod(shape) or (found.size and found.dtype.kind not in _KINDS[dtype.kind]):
        raise ValueError(f"{prod(shape)} values of {datatype} are needed, as JSON and not in binary")
    if dtype.kind in "iu" and found.size:
        limits = np.iinfo(dtype)
        if found.min() < limits.min or found.max() > limits.max:
            raise ValueError(f"a number is none of {datatype}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        return _finite(found.astype(dtype).reshape(shape))


#: Kind of a type -> kinds that the numbers of JSON may have for it.
_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}


def _finite(array: "NDArray[Any]") -> "NDArray[Any]":
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("a number is not finite")
    return array


def _encoded(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _decoded(item: bytes) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError:
        raise ValueError("a text is not UTF-8") from None


def _split(data: bytes, count: int) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at) if at + 4 <= len(data) else (-1,)
        if not 0 <= size <= min(_TEXT, len(data) - at - 4):
            raise ValueError("a text is longer than what is there, or than what makes sense")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if len(found) != count:
        raise ValueError(f"{len(found)} texts are there, not {count}")
    return found


def _texts(items: list[str], shape: tuple[int, ...]) -> "NDArray[Any]":
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def _flat(values: Any) -> list[Any]:
    if not isinstance(values, list):
        return []
    if any(isinstance(item, list) for item in values):
        return [inner for item in values for inner in (_flat(item) if isinstance(item, list) else [item])]
    return values

"""Arrays in a bundle: the safetensors format, which has no code in it, no compression, and is trivial to bound.

Layout (huggingface/safetensors): eight bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}},
then the data, each tensor little-endian, C order, without gaps.
"""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.errors import HostileBundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    Array = np.ndarray  # numpy.typing takes a millisecond to import

__all__ = ["Array", "dump_arrays", "parse_arrays"]

_CODES = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16",
    "uint32": "U32", "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_DTYPES = {code: np.dtype(name).newbyteorder("<") for name, code in _CODES.items()}
_MAX_RANK = 16


def dump_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Bytes for named arrays; sorted by name, so equal arrays give equal bytes. Raises KeyError for dtypes like str or object."""
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {
            "dtype": _CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + len(data)],
        }
        parts.append(data)
        at += len(data)
    text = dump_json(header)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def parse_arrays(data: bytes, what: str, limits: Limits = DEFAULT_LIMITS) -> dict[str, Array]:
    """The arrays in ``data``, as read-only views of it: nothing is allocated that the file does not hold.

    Raises HostileBundleError where offsets, shapes and dtypes do not describe exactly the bytes that are there.
    """
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 0 < length <= min(len(data) - 8, limits.json_bytes):
        raise HostileBundleError("arrays-malformed", f"{what} has no header of a sensible length")
    if len(data) > limits.array_bytes:
        raise HostileBundleError("arrays-size", f"{what} has {len(data)} bytes; at most {limits.array_bytes} are read")
    header = parse_object(data[8 : 8 + length], f"the header of {what}", limits)
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    entries = {name: _entry(name, entry, what) for name, entry in header.items()}
    at = 0
    for name, (dtype, shape, start, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if start != at or prod(shape) * dtype.itemsize != end - start or end > len(body):
            raise HostileBundleError("arrays-malformed", f"{what}: {name[:60]!r} does not fit its offsets")
        at = end
    if at != len(body):
        raise HostileBundleError("arrays-malformed", f"{what} has {len(body)} bytes of data; its tensors cover {at}")
    return {
        name: _view(body[start:end], dtype, shape, name, what) for name, (dtype, shape, start, end) in entries.items()
    }


def _view(body: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], name: str, what: str) -> Array:
    if dtype.kind == "b" and np.any(np.frombuffer(body, np.uint8) > 1):
        raise HostileBundleError("arrays-malformed", f"{what}: {name[:60]!r} has booleans that are neither 0 nor 1")
    try:
        return np.frombuffer(body, dtype).reshape(shape)
    except ValueError:  # empty, but with the other dimensions beyond what an array can have
        raise HostileBundleError("arrays-malformed", f"{what}: {name[:60]!r} has an impossible shape") from None


def _entry(name: str, entry: object, what: str) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if isinstance(entry, dict):
        dtype = _DTYPES.get(str(entry.get("dtype")))
        shape: Any = entry.get("shape")
        offsets: Any = entry.get("data_offsets")
        if dtype is not None and _counts(shape, _MAX_RANK) and _counts(offsets, 2) and len(offsets) == 2:
            return dtype, tuple(shape), offsets[0], offsets[1]
    raise HostileBundleError("arrays-malformed", f"{what}: the entry {name[:60]!r} is not a tensor")


def _counts(value: Any, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most and all(type(item) is int and item >= 0 for item in value)

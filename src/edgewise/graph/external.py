"""External data of an ONNX model: where a model may point to, and fetching it within a bound.

``location`` is text written by whoever made the file, and readers have followed it out of the folder before
(CVE-2022-25882, CVE-2024-27318 in onnx). Here only a plain relative path is passed on, and only as many bytes as the
tensor's own shape implies are taken.
"""

import re
from collections.abc import Callable
from math import prod

from onnx import ModelProto, TensorProto

from edgewise.errors import ModelError, UnsupportedError
from edgewise.graph.walk import element_bits, tensors

__all__ = ["external_locations", "inline_external_data", "is_safe_location"]

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# onnxruntime takes this location to mean an address in its own memory.
_MEMORY_ADDRESS = "_ORT_MEM_ADDR_"


def is_safe_location(location: str) -> bool:
    """True for a relative path with ``/`` that stays inside the model's folder, whatever the system."""
    if not location or location.startswith("/") or _DRIVE.match(location) or _CONTROL.search(location):
        return False
    return "\\" not in location and _MEMORY_ADDRESS not in location and ".." not in location.split("/")


def external_locations(model: ModelProto) -> tuple[str, ...]:
    """The distinct files that ``model`` points to, in order. Raises ModelError where one is no safe relative path."""
    return tuple(dict.fromkeys(_location(tensor) for tensor in tensors(model) if _is_external(tensor)))


def inline_external_data(model: ModelProto, read: Callable[[str], bytes] | None, limit: int) -> int:
    """Move all external data into ``model``, in place. Returns how many bytes came in.

    read: location -> content of that file; called once for each. limit: bytes of all files together, and of all tensors
    together (many tensors may point to one region). Raises ModelError for a location, offset or length that does not fit,
    and where ``read`` is None although there is external data; UnsupportedError past the limit.
    """
    locations = external_locations(model)
    if not locations:
        return 0
    if read is None:
        raise ModelError(
            f"the weights are in other files ({', '.join(locations[:3])})",
            remedy="Pass the model with its external data, or save it in one file.",
            locations=list(locations),
        )
    files: dict[str, bytes] = {}
    for location in locations:
        files[location] = read(location)
        _within(sum(map(len, files.values())), limit)
    total = 0
    for tensor in tensors(model):
        if _is_external(tensor):
            start, length = _region(tensor, len(files[_location(tensor)]))
            total += length
            _within(total, limit)
            tensor.raw_data = bytes(files[_location(tensor)][start : start + length])
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
    return total


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _location(tensor: TensorProto) -> str:
    location = _entries(tensor).get("location", "")
    if not is_safe_location(location):
        raise ModelError(
            f"the tensor {tensor.name!r} points to {location!r:.200}, outside the model's folder",
            remedy="Do not use this file; external data must be a relative path beside the model.",
            tensor=tensor.name,
            location=location,
        )
    return location


def _region(tensor: TensorProto, size: int) -> tuple[int, int]:
    """Offset and length in bytes, both checked against the file and the tensor's own shape."""
    entries = _entries(tensor)
    bits = element_bits(tensor.data_type)
    if not bits or any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"the tensor {tensor.name!r} cannot have external data: text, or a negative dimension")
    needed = (prod(tensor.dims) * bits + 7) // 8
    offset, length = _number(tensor, entries.get("offset", "0")), _number(tensor, entries.get("length", str(needed)))
    if length != needed or offset + length > size:
        raise ModelError(
            f"the tensor {tensor.name!r} needs {needed} bytes; it points to {length} from {offset} in a file of {size}",
            remedy="The external data does not belong to this model, or is cut off; get both again.",
            tensor=tensor.name,
        )
    return offset, length


def _number(tensor: TensorProto, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        raise ModelError(f"the tensor {tensor.name!r} has the offset or length {text!r:.40}, which is no number")
    return int(text)


def _within(total: int, limit: int) -> None:
    if total > limit:
        raise UnsupportedError(
            f"the external data has {total} bytes or more; at most {limit} are read",
            remedy="Raise the limit if you trust the file, or use a smaller model.",
        )

"""NumPy files and archives from outside: bounded before anything is unpacked, and never unpickled.

An ``.npz`` is a zip of ``.npy`` files. A zip can promise terabytes in a few bytes, list one piece of data under a thousand names
and point outside of itself, so its directory is judged first: how many entries, how large, how much larger than what is
there. Then each array's own header has to agree with the directory before memory for it is asked for. An ``.npy`` alone is
held to the size of its file in the same way: nothing missing, nothing behind.
"""

import re
import struct
import warnings
import zlib
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError  # numpy tries a header that is no literal once more as one of Python 2
from typing import IO, Any, BinaryIO, NoReturn
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.digests import CHUNK
from edgewise.errors import DataError

__all__ = ["Array", "load_npy", "load_npz"]

Array = npt.NDArray[Any]
_MAX_ARRAYS = 64
_MAX_DIRECTORY = 64 << 10  # bytes; an entry of numpy takes about 60
_SMALL = 1 << 20  # bytes below which no expansion is suspicious: a constant array shrinks a thousandfold
_MAX_HEADER = 2048  # characters; numpy writes 128
_MAX_RANK = 16
_KINDS = "biufSU"
_ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:")  # a tensor's name may have a colon further on, as TensorFlow's do
_BROKEN = (BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, OverflowError, struct.error, zlib.error)
# What reading a header of nonsense raises besides; MemoryError is how Python's parser says "nested too deeply".
_NONSENSE = (
    *_BROKEN, SyntaxError, TokenError, TypeError, KeyError, AttributeError, IndexError, RecursionError, MemoryError,
)  # fmt: skip


def load_npz(source: bytes | Path, limits: Limits = DEFAULT_LIMITS) -> dict[str, Array]:
    """Name -> array, for every array in an ``.npz``: numbers, booleans and text; in the machine's byte order.

    Raises DataError, with the rule that was broken in ``details["rule"]``, for anything else; also where the file is missing.
    """
    try:
        with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            return _load(stream, limits)
    except OSError as error:
        raise DataError(f"could not read {source!s:.200}: {error.strerror or error}", rule="npz-unreadable") from error


def load_npy(path: Path, limits: Limits = DEFAULT_LIMITS) -> Array:
    """The array in an ``.npy``: numbers, booleans or text; in the machine's byte order.

    Raises DataError, with the rule that was broken in ``details["rule"]``, for anything else; also where the file is missing.
    """
    try:
        with path.open("rb") as stream:
            length = stream.seek(0, 2)
            if length > limits.array_bytes:
                _refuse(
                    "npy-size",
                    f"{path} has {length} bytes; at most {limits.array_bytes} are read",
                    remedy="Pass fewer samples at once.",
                )
            stream.seek(0)
            return _read_array(stream, f"{path}", length, "npy")
    except OSError as error:
        raise DataError(f"could not read {path!s:.200}: {error.strerror or error}", rule="npy-unreadable") from error
    except BadZipFile as error:  # the file changed while it was read
        _refuse("npy-malformed", f"{path} is damaged: {error}")


def _load(stream: BinaryIO, limits: Limits) -> dict[str, Array]:
    length = stream.seek(0, 2)
    _check_directory(stream, length)
    try:
        with ZipFile(stream) as archive:
            entries = archive.infolist()
            _check_entries(entries, length, limits)
            return {info.filename.removesuffix(".npy"): _read(archive, info) for info in entries}
    except _BROKEN as error:
        _refuse("npz-malformed", f"the archive is damaged: {error}")


def _check_directory(stream: BinaryIO, length: int) -> None:
    # zipfile builds an object for every entry that the directory claims, so its size is read by hand first.
    tail = _at(stream, max(0, length - 65_557), 65_557)  # the record of 22 bytes and a comment of up to 65,535
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        _refuse("npz-malformed", "this is no zip archive, so no .npz")
    count, size = struct.unpack_from("<HL", tail, at + 10)
    if tail[max(0, at - 20) : at].startswith(b"PK\6\7"):
        record = tail[max(0, at - 76) : at - 20]
        if len(record) < 56 or not record.startswith(b"PK\6\6"):
            _refuse("npz-malformed", "the archive has no readable directory")
        count, size = struct.unpack_from("<QQ", record, 32)
    if count > _MAX_ARRAYS or size > _MAX_DIRECTORY:
        _refuse("npz-entries", f"a directory of {count} entries in {size} bytes; at most {_MAX_ARRAYS} arrays are read")


def _check_entries(entries: list[ZipInfo], length: int, limits: Limits) -> None:
    if len(entries) > _MAX_ARRAYS:
        _refuse("npz-entries", f"the archive lists {len(entries)} entries; at most {_MAX_ARRAYS} arrays are read")
    names: set[str] = set()
    for info in entries:
        name = info.filename
        if not name.endswith(".npy") or name.startswith("/") or "\\" in name or ".." in name or _DRIVE.match(name):
            _refuse("npz-name", f"{name[:80]!r} is not the name of an array")
        if name in names:
            _refuse("npz-duplicate", f"{name[:80]!r} is in the archive twice")
        names.add(name)
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            _refuse("npz-compression", f"{name[:80]!r} is encrypted or packed by a method that numpy does not write")
        if info.file_size > max(_SMALL, limits.expansion * info.compress_size):
            _refuse(
                "npz-expansion",
                f"{name[:80]!r} unpacks from {info.compress_size} to {info.file_size} bytes; "
                f"more than {limits.expansion} times is taken for an attack",
                remedy="If the data really is that uniform, save it with np.savez instead of np.savez_compressed.",
            )
    if sum(info.compress_size for info in entries) > length:
        _refuse("npz-overlap", "the entries of the archive overlap")
    total = sum(info.file_size for info in entries)
    if total > limits.array_bytes:
        _refuse(
            "npz-size",
            f"the arrays have {total} bytes; at most {limits.array_bytes} are read",
            remedy="Pass fewer samples at once.",
        )


def _read(archive: ZipFile, info: ZipInfo) -> Array:
    with archive.open(info) as stream:
        return _read_array(stream, repr(info.filename.removesuffix(".npy")[:80]), info.file_size, "npz")


def _read_array(stream: IO[bytes], what: str, length: int, form: str) -> Array:
    """One array whose header and content take ``length`` bytes. form: ``npy`` or ``npz``, what its rules are called after."""
    dtype, shape, fortran, header = _read_header(stream, what, form)
    if dtype.kind not in _KINDS:
        _refuse(
            f"{form}-dtype", f"{what} has the type {dtype!s:.80}; numbers, booleans and text are read, objects never"
        )
    if len(shape) > _MAX_RANK or any(dim < 0 for dim in shape):
        _refuse(f"{form}-malformed", f"{what} has an impossible shape")
    if header + prod(shape) * dtype.itemsize != length:
        _refuse(f"{form}-malformed", f"{what} is not as large as its header says")
    array = _empty(shape, dtype, what, form)
    _fill(array, stream)
    array = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
    if dtype.kind == "b" and np.any(array.view(np.uint8) > 1):
        _refuse(f"{form}-malformed", f"{what} has booleans that are neither 0 nor 1")
    array = array.astype(dtype.newbyteorder("="), copy=False)
    if dtype.kind == "U" and array.size and dtype.itemsize and int(_code_points(array).max()) > 0x10FFFF:
        _refuse(f"{form}-malformed", f"{what} has text that is not Unicode")
    return array


def _read_header(stream: Any, what: str, form: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Type, shape, whether in Fortran order, and how many bytes that took."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns about headers of Python 2 before it reads them
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream, max_header_size=_MAX_HEADER)
            else:
                raise ValueError(f"version {version}")
        return dtype, shape, fortran, stream.tell()
    except _NONSENSE as error:
        _refuse(f"{form}-malformed", f"{what} has no readable .npy header: {type(error).__name__}")


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any], what: str, form: str) -> Array:
    try:
        return np.empty(shape, dtype).reshape(-1)
    except ValueError:  # empty, but with the other dimensions beyond what an array can have
        _refuse(f"{form}-malformed", f"{what} has an impossible shape")


def _fill(array: Array, stream: IO[bytes]) -> None:
    # Chunk by chunk: a damaged stream that unpacks to more than it declared ends in zipfile's own check.
    at, target = 0, array.view(np.uint8) if array.nbytes else np.empty(0, np.uint8)
    while chunk := stream.read(CHUNK):
        if at + len(chunk) > len(target):
            raise BadZipFile("an entry holds more than it declares")
        target[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    if at != len(target):
        raise BadZipFile("an entry holds less than it declares")


def _code_points(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint32)


def _at(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def _refuse(rule: str, what: str, remedy: str | None = None) -> NoReturn:
    raise DataError(what, remedy=remedy, rule=rule)

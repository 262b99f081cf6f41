"""A bundle as one file: the image layout in an uncompressed, reproducible tar.

Written: POSIX ustar (IEEE Std 1003.1-1988, pax specification), entries in one order, every time, owner and mode fixed, so the
same content gives the same bytes. Read: only what we and the OCI tools write. General tar readers follow links, sparse maps
and extension headers; each of those has been somebody's vulnerability, and a bundle needs none of them.
"""

import re
from _thread import allocate_lock  # threading.Lock, without the rest of threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

from edgewise.bundle.layout import Descriptor
from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.bundle.source import Source, copy_blob, read_exactly
from edgewise.digests import hex_of
from edgewise.errors import HostileBundleError
from edgewise.records import dataclass

__all__ = ["TarSource", "write_tar"]

_BLOCK = 512
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_FOLDERS = ("blobs", "blobs/sha256")
_FILES = ("oci-layout", "index.json")
_OTHER_ENTRIES = 7  # the root, two folders, two files, manifest and config
_MAX_PADDING = 1 << 20  # GNU tar pads to a record of 10 KiB
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    size: int


class TarSource:
    """A layout inside a seekable tar stream. Only headers are read when it is built; blobs when they are asked for."""

    def __init__(self, stream: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> None:
        self._stream = stream
        self._lock = allocate_lock()  # the position of the stream is shared by all readers of this source
        self._entries = dict(_scan(stream, limits))

    def read_file(self, name: str, limit: int) -> bytes:
        entry = self._entries.get(name)
        if entry is None:
            raise HostileBundleError("layout-missing", f"{name} is missing: this is not a bundle")
        return read_exactly(_Window(self._stream, entry, self._lock), name, limit)

    def blob_size(self, digest: str) -> int:
        entry = self._entries.get("blobs/sha256/" + hex_of(digest))
        return -1 if entry is None else entry.size

    def open_blob(self, digest: str) -> BinaryIO:
        return _Window(self._stream, self._entries["blobs/sha256/" + hex_of(digest)], self._lock)


def write_tar(target: BinaryIO, source: Source, index: bytes, layout: bytes, blobs: list[Descriptor]) -> None:
    """Write the layout files and the named blobs, sorted by digest, each digest once; every blob is verified on the way."""
    target.writelines(_header(folder + "/", 0, b"5") for folder in _FOLDERS)
    for digest, blob in sorted({blob.digest: blob for blob in blobs}.items()):
        target.write(_header("blobs/sha256/" + hex_of(digest), blob.size, b"0"))
        copy_blob(source, blob, target, digest)
        target.write(bytes(-blob.size % _BLOCK))
    for name, data in (("index.json", index), ("oci-layout", layout)):
        target.writelines((_header(name, len(data), b"0"), data, bytes(-len(data) % _BLOCK)))
    target.write(bytes(2 * _BLOCK))


class _Window(BytesIO):
    """A stream over one entry; nothing is held in memory."""

    def __init__(self, stream: BinaryIO, entry: _Entry, lock: Any) -> None:
        super().__init__()
        self._outer, self._start, self._left, self._guard = stream, entry.offset, entry.size, lock

    def read(self, size: int | None = -1, /) -> bytes:
        count = self._left if size is None or size < 0 else min(size, self._left)
        with self._guard:
            self._outer.seek(self._start)
            data = self._outer.read(count)
        self._start += len(data)
        self._left -= len(data)
        return data


def _scan(stream: BinaryIO, limits: Limits) -> Iterator[tuple[str, _Entry]]:
    length = stream.seek(0, 2)
    at, seen = 0, set[str]()
    while True:
        stream.seek(at)
        block = stream.read(_BLOCK)
        if at == 0:
            _refuse_compressed(block)
        if len(block) < _BLOCK:
            raise HostileBundleError("tar-truncated", f"the file ends at byte {at} in the middle of the archive")
        if block == bytes(_BLOCK):
            _check_end(stream, at, length)
            return
        name, size = _parse_header(block, at)
        at += _BLOCK
        if at + size > length:
            raise HostileBundleError("tar-truncated", f"{name} has {size} bytes; the file ends after {length - at}")
        if name in seen:
            raise HostileBundleError("tar-duplicate", f"{name} is in the archive twice")
        seen.add(name)
        if len(seen) > limits.blobs + _OTHER_ENTRIES:
            raise HostileBundleError("tar-entries", f"the archive has more than {limits.blobs} blobs")
        yield name, _Entry(at, size)
        at += size + -size % _BLOCK


def _parse_header(block: bytes, at: int) -> tuple[str, int]:
    if block[257:262] != b"ustar":
        raise HostileBundleError("not-a-bundle", f"byte {at} is no ustar header: this is not a bundle")
    total = sum(block) - sum(block[148:156]) + 8 * 0x20
    if _octal(block[148:156], "checksum") != total:
        raise HostileBundleError("tar-checksum", f"the archive header at byte {at} is damaged")
    kind, size = block[156:157], _octal(block[124:136], "size")
    prefix, plain = block[345:500].rstrip(b"\0"), block[:100].split(b"\0", 1)[0]
    name = (prefix + b"/" + plain if prefix else plain).decode("ascii", "backslashreplace")
    if kind in (b"1", b"2"):
        raise HostileBundleError("tar-link", f"{name[:120]!r} is a link; a bundle has none")
    if kind not in (b"0", b"\0", b"5"):
        raise HostileBundleError(
            "tar-type", f"{name[:120]!r} is an entry of type {kind!r}; a bundle has plain files and folders"
        )
    if name.startswith("/") or ".." in name or "\\" in name:
        raise HostileBundleError("path-escape", f"{name[:120]!r} points outside the bundle")
    clean = name.removeprefix("./")
    if kind == b"5":
        clean = clean.rstrip("/")
        if clean not in (*_FOLDERS, ".", "") or size:
            raise HostileBundleError("unexpected-entry", f"the folder {name[:120]!r} does not belong in a bundle")
        return clean, 0
    if clean not in _FILES and not _BLOB.fullmatch(clean):
        raise HostileBundleError("unexpected-entry", f"{name[:120]!r} does not belong in a bundle")
    return clean, size


def _octal(field: bytes, what: str) -> int:
    digits = field.strip(b" \0")
    if not digits or not set(digits) <= set(b"01234567"):
        raise HostileBundleError("tar-number", f"the archive has a {what} that is not octal: {field!r}")
    return int(digits, 8)


def _refuse_compressed(block: bytes) -> None:
    for magic, name in _MAGIC:
        if block.startswith(magic):
            raise HostileBundleError(
                "compressed-archive", f"the file is compressed with {name}; a bundle is an uncompressed tar",
                remedy="Unpack it with its own tool first, if you trust where it came from.",
            )  # fmt: skip


def _check_end(stream: BinaryIO, at: int, length: int) -> None:
    if length - at > _MAX_PADDING:
        raise HostileBundleError("tar-trailing", f"{length - at} bytes follow the end of the archive")
    stream.seek(at)
    if stream.read(_MAX_PADDING).strip(b"\0"):
        raise HostileBundleError("tar-trailing", "data follows the end of the archive")


def _header(name: str, size: int, kind: bytes) -> bytes:
    block = bytearray(_BLOCK)
    block[0 : len(name)] = name.encode()
    for start, text in (
        (100, b"0000755\0" if kind == b"5" else b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"),
        (124, b"%011o\0" % size), (136, b"00000000000\0"), (148, b" " * 8), (156, kind), (257, b"ustar\x0000"),
    ):  # fmt: skip
        block[start : start + len(text)] = text
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)

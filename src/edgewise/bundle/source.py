"""Where a bundle's bytes come from: the seam between the format and disk, network or memory; and verified reading over it."""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import BinaryIO, Protocol

from edgewise.bundle.layout import LAYOUT_FILE, Descriptor
from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.digests import digest_of, digest_of_stream, new_sha256, read_chunks
from edgewise.errors import HostileBundleError

__all__ = ["MemorySource", "Source", "check_blob", "copy_blob", "read_blob", "read_exactly"]


class Source(Protocol):
    """The files of an OCI image layout. Nothing that it returns is trusted: readers check size and digest."""

    def read_file(self, name: str, limit: int) -> bytes:
        """``oci-layout`` or ``index.json``. Raises HostileBundleError if it is missing or longer than ``limit`` bytes."""
        ...

    def blob_size(self, digest: str) -> int:
        """Size in bytes of a blob, or -1 where it is missing."""
        ...

    def open_blob(self, digest: str) -> BinaryIO:
        """A fresh stream over a blob that ``blob_size`` found. The caller closes it."""
        ...


class MemorySource:
    """A layout held in memory: what a packer builds before it is written, and what tests read."""

    def __init__(self, index: bytes, blobs: Mapping[str, bytes] | Iterable[bytes], layout: bytes = LAYOUT_FILE) -> None:
        self.files = {"oci-layout": layout, "index.json": index}
        self.blobs = dict(blobs) if isinstance(blobs, Mapping) else {digest_of(blob): blob for blob in blobs}

    def read_file(self, name: str, limit: int) -> bytes:
        return read_exactly(BytesIO(self.files[name]), name, limit)

    def blob_size(self, digest: str) -> int:
        return len(self.blobs[digest]) if digest in self.blobs else -1

    def open_blob(self, digest: str) -> BinaryIO:
        return BytesIO(self.blobs[digest])


def read_exactly(stream: BinaryIO, name: str, limit: int) -> bytes:
    """All of a small file, refused if it is longer than ``limit`` bytes."""
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise HostileBundleError("json-size", f"{name} has more than {limit} bytes")
    return data


def read_blob(source: Source, blob: Descriptor, what: str, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The verified bytes of a blob. What is returned is what was hashed, so it can be used without another look at the disk."""
    _check_size(source, blob, what, limits)
    with source.open_blob(blob.digest) as stream:
        data = stream.read(blob.size + 1)
    _check_found(len(data), digest_of(data), blob, what)
    return data


def check_blob(source: Source, blob: Descriptor, what: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Verify a blob without holding more than one MiB of it."""
    _check_size(source, blob, what, limits)
    with source.open_blob(blob.digest) as stream:
        digest, size = digest_of_stream(stream)
    _check_found(size, digest, blob, what)


def copy_blob(source: Source, blob: Descriptor, target: BinaryIO, what: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Write a blob into ``target``, verified on the way, one MiB at a time. Where it raises, what was written is worth nothing."""
    _check_size(source, blob, what, limits)
    sha, size = new_sha256(blob.size), 0
    with source.open_blob(blob.digest) as stream:
        for chunk in read_chunks(stream):
            sha.update(chunk)
            size += len(chunk)
            target.write(chunk)
    _check_found(size, "sha256:" + sha.hexdigest(), blob, what)


def _check_size(source: Source, blob: Descriptor, what: str, limits: Limits) -> None:
    size = source.blob_size(blob.digest)
    if size < 0:
        raise HostileBundleError("blob-missing", f"{what} ({blob.digest}) is not in the bundle")
    if blob.size > limits.blob_bytes:
        raise HostileBundleError("blob-size", f"{what} has {blob.size} bytes; at most {limits.blob_bytes} are read")
    if size < blob.size:
        raise HostileBundleError("blob-truncated", f"{what} has {size} bytes; the manifest says {blob.size}")
    if size > blob.size:
        raise HostileBundleError("blob-overlong", f"{what} has {size} bytes; the manifest says {blob.size}")


def _check_found(size: int, digest: str, blob: Descriptor, what: str) -> None:
    if size != blob.size:
        raise HostileBundleError("blob-truncated", f"{what} gave {size} bytes; the manifest says {blob.size}")
    if digest != blob.digest:
        raise HostileBundleError("digest-mismatch", f"{what} has digest {digest}; the manifest says {blob.digest}")

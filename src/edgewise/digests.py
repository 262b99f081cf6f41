"""SHA-256 digests in OCI notation (``sha256:`` and 64 lower-case hex digits), of bytes and of streams."""

import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["CHUNK", "digest_of", "digest_of_stream", "hex_of", "is_digest", "read_chunks"]

CHUNK = 1 << 20  # bytes; large enough that hashing, not calling, dominates
_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data: bytes | memoryview) -> str:
    """The digest of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of_stream(stream: BinaryIO) -> tuple[str, int]:
    """Digest and length in bytes of what is left in ``stream``, read in pieces of one MiB."""
    sha, size = hashlib.sha256(), 0
    for chunk in read_chunks(stream):
        sha.update(chunk)
        size += len(chunk)
    return "sha256:" + sha.hexdigest(), size


def read_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """What is left in ``stream``, in pieces of at most one MiB."""
    while chunk := stream.read(CHUNK):
        yield chunk


def is_digest(text: object) -> bool:
    """True for a well-formed SHA-256 digest; other algorithms are not accepted."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


def hex_of(digest: str) -> str:
    """The 64 hex digits of a well-formed digest."""
    return digest.removeprefix("sha256:")

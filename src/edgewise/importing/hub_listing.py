"""What a hub says a repository holds: the commit, and name, size and digest of every file. Nothing of it is believed yet.

The form is that of ``GET /api/models/REPO/revision/REV?blobs=true`` on the Hugging Face Hub: a file kept in Git LFS has its
SHA-256, any other the id that git gives it (SHA-1 over ``blob SIZE\\0`` and the content).
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import BinaryIO

from edgewise.bundle.fields import Form
from edgewise.bundle.limits import Limits
from edgewise.bundle.strict_json import parse_object
from edgewise.digests import read_chunks
from edgewise.errors import DocumentError, DownloadMismatchError, InputError, NotFoundError, PeerError, RefusedError
from edgewise.importing.folder import is_plain_path

__all__ = [
    "DEFAULT_PATTERNS",
    "LISTING_LIMIT",
    "HubFile",
    "HubListing",
    "check_repository",
    "choose",
    "parse_listing",
]

#: What ``import_hub`` reads: configuration, tokenizer, licence and the ONNX files with their external data.
DEFAULT_PATTERNS = (
    "config.json", "preprocessor_config.json", "tokenizer*.json", "special_tokens_map.json", "vocab.*", "merges.txt",
    "LICENSE*", "NOTICE*", "README.md", "model*.onnx", "model*.onnx_data*", "onnx/model*.onnx", "onnx/model*.onnx_data*",
)  # fmt: skip
#: Bytes of a listing: the largest repositories have some ten thousand files.
LISTING_LIMIT = 32 << 20
_LIMITS = Limits(json_bytes=LISTING_LIMIT)
_REPOSITORY = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,95}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file as listed. sha256: hex, for LFS files, else empty. blob_id: git's id of the content, for the others."""

    path: str
    size: int
    sha256: str
    blob_id: str

    def check(self, stream: BinaryIO) -> None:
        """Raise DownloadMismatchError unless what is left in ``stream`` is what was listed."""
        git = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        sha, size = hashlib.sha256() if self.sha256 else git, 0
        for chunk in read_chunks(stream):
            sha.update(chunk)
            size += len(chunk)
        expected = self.sha256 or self.blob_id
        if size != self.size or sha.hexdigest() != expected:
            raise DownloadMismatchError(
                f"{self.path} has {size} bytes and the digest {sha.hexdigest()}; listed are {self.size} bytes and {expected}",
                path=self.path, expected=expected, got=sha.hexdigest(),
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HubListing:
    """A repository at one commit."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]


def check_repository(repository: str, revision: str) -> None:
    """Raise InputError unless both can stand in a URL as they are."""
    if not _REPOSITORY.fullmatch(repository) or ".." in repository:
        raise InputError(f"{repository[:120]!r} names no repository", remedy="Write it as OWNER/NAME.")
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise InputError(f"{revision[:120]!r} names no revision", remedy="Name a branch, a tag or a commit.")


def parse_listing(data: bytes, repository: str) -> HubListing:
    """The listing in ``data``. Raises RefusedError for a file name that leads out of a folder, PeerError for another form."""
    form = Form(parse_object(data, f"the listing of {repository}", _LIMITS), "hub listing")
    commit = form.text("sha", pattern=_COMMIT)
    files = form.items("siblings", _read_sibling, limit=100_000)
    try:
        form.finish()
    except DocumentError as error:
        raise PeerError(f"the hub's answer on {repository} has another form: {error.what}") from None
    for file in files:
        if not is_plain_path(file.path):
            raise RefusedError(
                f"{repository} lists {file.path[:120]!r}, which would be written outside its folder",
                rule="path-escape", path=file.path,
            )  # fmt: skip
    if len({file.path for file in files}) != len(files):
        raise PeerError(f"{repository} lists a file twice")
    return HubListing(repository, commit, tuple(files))


def choose(listing: HubListing, only: Sequence[str], limit: int) -> list[HubFile]:
    """The files whose path matches one of the patterns (``*`` does not cross folders).

    Raises NotFoundError where none does, RefusedError where they come to more than ``limit`` bytes together.
    """
    chosen = [file for file in listing.files if any(_matches(file.path, pattern) for pattern in only)]
    if not chosen:
        raise NotFoundError(
            f"{listing.repository} has no file that matches {', '.join(only)}",
            remedy=f"It has {', '.join(file.path for file in listing.files[:12]) or 'no files'}.",
        )
    total = sum(file.size for file in chosen)
    if total > limit:
        largest = sorted(chosen, key=lambda file: -file.size)[:5]
        raise RefusedError(
            f"{listing.repository} would be {total} bytes; the limit is {limit}",
            remedy="Choose fewer files (the largest: "
            + ", ".join(f"{file.path} {file.size}" for file in largest)
            + ") or raise the limit.",
            total=total, limit=limit,
        )  # fmt: skip
    return chosen


def _matches(path: str, pattern: str) -> bool:
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _read_sibling(form: Form) -> HubFile:
    path = form.text("rfilename", limit=4096)
    lfs = form.child("lfs", lambda item: (item.text("sha256", pattern=_SHA256), item.integer("size")))
    size = form.integer("size", default=0) if lfs else form.integer("size")
    blob_id = form.text("blobId", default="") if lfs else form.text("blobId", pattern=_COMMIT)
    return HubFile(path, lfs[1] if lfs else size, lfs[0] if lfs else "", "" if lfs else blob_id)

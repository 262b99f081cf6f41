"""The beginning of a file that is being downloaded: ``NAME.part``, and beside it in ``NAME.part.json`` of what it is a part.

It outlives the process. It is continued only where the server can say, by a strong ETag (RFC 9110, section 13.1.5), or the
expected digest will show, that beginning and end belong to one file.
"""

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgewise.digests import read_chunks
from edgewise.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be replaced by another process anyway
    fcntl = None  # type: ignore[assignment]

__all__ = ["Partial"]

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,256}"')


@dataclass(slots=True)
class Partial:
    """An open, locked part with the hash of what is in it. ``size`` in bytes; ``etag`` is empty where there is none.

    Every method may raise OSError: the caller says what could not be written.
    """

    path: Path
    file: BinaryIO
    url: str
    size: int
    etag: str
    sha: "hashlib._Hash"

    @classmethod
    def open(cls, path: Path, url: str, sha256: str | None) -> "Partial":
        """What there is of ``url``, or an empty part. Raises StorageError where another process is writing it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link that somebody has put there is not written through.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o644)
        file = os.fdopen(descriptor, "r+b")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking, another process may have finished and renamed this very file.
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(descriptor)):
                raise BlockingIOError
        except BlockingIOError:
            file.close()
            raise StorageError(
                f"{path} is being written by another process", remedy="Wait for it, then try again.", path=str(path)
            ) from None
        part = cls(path, file, url, 0, "", hashlib.sha256())
        part._take_over(sha256)
        return part

    def _take_over(self, sha256: str | None) -> None:
        note = _read_note(_note_of(self.path))
        etag = _strong(note.get("etag")) if note.get("url") == self.url else ""
        same_content = sha256 is not None and note.get("sha256") == sha256
        if not etag and not same_content:
            self.restart("", sha256)
            return
        for chunk in read_chunks(self.file):
            self.sha.update(chunk)
            self.size += len(chunk)
        self.etag = etag

    def restart(self, etag: str, sha256: str | None) -> None:
        """Begin again at byte 0; from now on it is a part of what has ``etag``."""
        # In this order: at no instant do old bytes lie beside the new note.
        _note_of(self.path).unlink(missing_ok=True)
        self.file.seek(0)
        self.file.truncate()
        self.size, self.etag, self.sha = 0, _strong(etag), hashlib.sha256()
        if self.etag or sha256:
            note = {"url": self.url, "etag": self.etag, "sha256": sha256}
            _note_of(self.path).write_text(json.dumps(note), encoding="utf-8")

    def write(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.sha.update(chunk)
        self.size += len(chunk)

    def move_to(self, target: Path) -> None:
        """Make it durable and give it its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.path.replace(target)
        _note_of(self.path).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        _note_of(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Keep what there is. An empty part is no part."""
        try:
            self.file.close()
        finally:
            if not self.size:
                self.discard()


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _strong(etag: object) -> str:
    return etag if isinstance(etag, str) and _STRONG_ETAG.fullmatch(etag) else ""


def _read_note(path: Path) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError):
        note = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(note, dict):
            return note
    return {}

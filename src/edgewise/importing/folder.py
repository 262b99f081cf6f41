"""Reading files below one folder and nowhere else: what a foreign file names may not lead out of the folder it came in.

A model's external data, a package's manifest and a repository's listing are text by a stranger. Every path in them is read
through here: plain relative paths only, no link anywhere below the folder, regular files, bounded in size.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgewise.errors import DataError, NotFoundError, RefusedError, StorageError

__all__ = ["MODEL_LIMIT", "Folder", "is_plain_path"]

#: Bytes of one file. ONNX's protobuf ends at 2 GiB, external data does not; a bundle's blob may have 16 GiB.
MODEL_LIMIT = 16 << 30
_MAX_PATH = 1024  # characters
_COPY_REMEDY = (
    "Copy the folder with its links followed (`cp -rL FROM TO`), look at what came along, and import the copy."
)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder whose files are read by the names that some file in it gives."""

    root: Path

    def has(self, path: str) -> bool:
        """True where something is called ``path``; it may still be refused when read."""
        return is_plain_path(path) and (self.root / path).exists()

    def size(self, path: str) -> int:
        """Bytes of a file. Raises as ``read`` does."""
        return self._locate(path).stat().st_size

    def read(self, path: str, limit: int = MODEL_LIMIT) -> bytes:
        """All of the file ``path``, a relative path with ``/``.

        Raises RefusedError for a path that leads out or passes a link, NotFoundError where nothing is there, DataError for
        what is no regular file or is longer than ``limit`` bytes.
        """
        place = self._locate(path)
        try:
            # The last component once more by the kernel: nothing may become a link between looking and opening.
            handle = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise StorageError.of("read", path, error) from None
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise DataError(f"{path} is no regular file", path=path)
            data = stream.read(limit + 1) if limit < MODEL_LIMIT else stream.read()
        if len(data) > limit:
            raise DataError(f"{path} has more than {limit} bytes", remedy="It is larger than such a file may be.")
        return data

    def files(self, pattern: str) -> list[str]:
        """Paths of the files that match a glob, sorted, links left out."""
        found = [place for place in self.root.glob(pattern) if place.is_file() and not place.is_symlink()]
        return sorted(place.relative_to(self.root).as_posix() for place in found)

    def _locate(self, path: str) -> Path:
        if not is_plain_path(path):
            raise RefusedError(f"{path[:120]!r} leads out of the folder it is named in", rule="path-escape", path=path)
        place = self.root
        for part in PurePosixPath(path).parts:
            place = place / part
            if place.is_symlink():
                raise RefusedError(f"{path} is a link, or lies behind one", remedy=_COPY_REMEDY, rule="link", path=path)
        if not place.exists():
            raise NotFoundError(f"{path} is named but is not in {self.root.resolve()}", remedy=None, path=path)
        if not place.is_file():
            raise DataError(f"{path} is no regular file", path=path)
        return place


def is_plain_path(path: str) -> bool:
    """True for a relative path with ``/`` that cannot lead out of a folder on any system."""
    parts = path.split("/")
    return (
        0 < len(path) <= _MAX_PATH
        and not any(character in path for character in '\\:\x00<>|"?*')
        and path.isprintable()
        and all(part not in ("", ".", "..") for part in parts)
    )

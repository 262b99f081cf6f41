"""A folder that a runtime fills on its own, with a record of what its files must hash to.

Some runtimes load a damaged cache file as if nothing were wrong. The seal lists every file with its digest; where anything
differs, all of it is deleted and the runtime makes it again. Two processes that fill one folder at once cost each other the
cache, never the answer.
"""

import shutil
from pathlib import Path

from edgewise.digests import digest_of_stream
from edgewise.errors import StorageError
from edgewise.store.files import write_bytes

__all__ = ["SealedFolder"]

_SEAL = "seal.sha256"


class SealedFolder:
    """``check`` before the runtime reads from the folder, ``seal`` after it has written to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sealed = b""

    def check(self) -> None:
        """Empty the folder unless every file in it is as it was sealed."""
        seal = self._folder / _SEAL
        try:
            self._sealed = seal.read_bytes()
            if self._sealed == self._listing():
                return
        except OSError:
            pass
        self._sealed = b""
        shutil.rmtree(self._folder, ignore_errors=True)

    def seal(self) -> None:
        """Record what is there now. A folder that cannot be read or written stays unsealed and is emptied next time."""
        try:
            listing = self._listing()
            if listing != self._sealed:
                write_bytes(self._folder / _SEAL, listing)
        except (OSError, StorageError):
            return

    def _listing(self) -> bytes:
        lines = []
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and path != self._folder / _SEAL:
                with path.open("rb") as file:
                    lines.append(f"{digest_of_stream(file)[0]} {path.relative_to(self._folder).as_posix()}\n")
        return "".join(lines).encode()

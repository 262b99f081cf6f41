"""Files that are replaced in one step or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgewise.errors import NotFoundError, StorageError

__all__ = ["read_bounded", "write_atomic", "write_bytes"]


def write_atomic(path: Path, write: Callable[[BinaryIO], object], *, mode: int = 0o644) -> None:
    """Let ``write`` fill a file beside ``path``, then rename it into place; ``path`` is never seen half written.

    Raises StorageError where the disk is full, may not be written, or has something else in the way; what was at ``path`` is
    then unchanged.
    """
    from tempfile import NamedTemporaryFile  # noqa: PLC0415  (with all that it needs 4 ms, and a start writes nothing)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115  (closed below)
        draft = Path(file.name)
        try:
            with file:
                write(file)  # type: ignore[arg-type]  # the wrapper behaves as BinaryIO but does not subclass it
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(mode)
            draft.replace(path)  # after it was closed: Windows renames no open file
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError.of("write", path, error) from error


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """``write_atomic`` for data that is in memory."""
    write_atomic(path, lambda file: file.write(data), mode=mode)


def read_bounded(path: Path, limit: int, what: str) -> bytes:
    """The content of a file of at most ``limit`` bytes; ``what`` names it in errors."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{what} {path} does not exist", path=str(path)) from None
    except IsADirectoryError:
        raise NotFoundError(f"{what} {path} is a folder; a file is needed", path=str(path)) from None
    except OSError as error:
        raise StorageError.of("read", path, error) from error
    if len(data) > limit:
        raise NotFoundError(f"{what} {path} has more than {limit} bytes; this is not one", path=str(path))
    return data

"""What a search has done so far, so that it goes on after ``kill -9`` at any instant as if nothing had happened.

One line of JSON for each finished step, with its own checksum, only ever appended and flushed to the disk before the step counts.
Models lie beside it by their digest, each written under another name, flushed and renamed, before the line that names it. So a
kill leaves at most a torn last line and a model that nothing names; the line is dropped, the model is written again as it was.
"""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewise.digests import digest_of, hex_of
from edgewise.errors import CheckpointError, StorageError
from edgewise.store.files import read_bounded, write_bytes

__all__ = ["Journal"]

_LINE = 1 << 20  # bytes; a step's facts are far smaller
_JOURNAL = 256 << 20
_MODEL = (2 << 30) - 1  # protobuf's own limit
_SUM = 16  # hex digits of the checksum: against torn writes and bit rot, not against people
_BEGIN = "begin"


class Journal:
    """The journal in ``folder``. Open one with ``Journal.open``; one process at a time writes there."""

    def __init__(self, folder: Path, steps: dict[tuple[str, str], Mapping[str, Any]], file: int) -> None:
        self.folder = folder
        self._steps = steps
        self._file = file

    @classmethod
    def open(cls, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> "Journal":
        """The journal of the search that ``identity`` says: of which model, data and settings.

        resume: go on with what is there; nothing there is a beginning like any other.
        Raises CheckpointError where something is there and is not to be gone on with, is of another search, is damaged before its
        last line, or is in use by another process; StorageError where the disk refuses.
        """
        path, identity = folder / "journal.jsonl", json.loads(json.dumps(identity))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise StorageError.of("write", path, error) from error
        try:
            _lock(file, path)
            steps = _read(path, file)
            found = steps.get((_BEGIN, ""))
            if len(steps) == 1 and not resume:  # begun, and nothing done: an error came first
                os.ftruncate(file, 0)
                steps, found = {}, None
            if found is not None and not resume:
                raise CheckpointError(
                    f"there is a search in {folder} already", remedy="Go on with --resume, or choose another folder."
                )
            journal = cls(folder, steps, file)
            if found is None:
                journal.add(_BEGIN, "", identity)
            elif dict(found) != dict(identity):
                apart = ", ".join(name for name in identity if found.get(name) != identity[name])
                raise CheckpointError(
                    f"the search in {folder} is another one: its {apart} differ",
                    remedy="Go on with the same model, data and settings, or choose another folder.",
                )
        except BaseException:
            os.close(file)
            raise
        return journal

    @property
    def origin(self) -> bytes:
        """The identity, as bytes to take a digest of."""
        return _encode(self._steps[_BEGIN, ""])

    def find(self, kind: str, key: str) -> Mapping[str, Any] | None:
        """The facts of a finished step, None where it was not finished."""
        return self._steps.get((kind, key))

    def add(self, kind: str, key: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep a finished step for good; the facts as they will be read again, so that a decision is the same then.

        Each step is finished once; doing it again would be a fault of the search.
        """
        if (kind, key) in self._steps:
            raise CheckpointError(f"the step {kind} {key} was finished before", remedy="Report this as a bug.")
        line = _encode({"did": kind, "key": key, "facts": facts})
        try:
            written = os.write(self._file, line)  # in one call, to the end of the file
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as error:
            raise StorageError.of("write", self.folder / "journal.jsonl", error) from error
        kept: Mapping[str, Any] = json.loads(json.dumps(facts))
        self._steps[kind, key] = kept
        return kept

    def keep(self, model: bytes) -> str:
        """Keep ``model`` for good; its digest."""
        digest = digest_of(model)
        path = self.path(digest)
        if not path.exists():
            write_bytes(path, model)
            _settle(path.parent)
        return digest

    def path(self, digest: str) -> Path:
        """Where the model with ``digest`` lies."""
        return self.folder / "models" / f"{hex_of(digest)}.onnx"

    def model(self, digest: str) -> bytes:
        """The model with ``digest``. Raises CheckpointError where it is not what was kept."""
        data = read_bounded(self.path(digest), _MODEL, "the model")
        if digest_of(data) != digest:
            raise CheckpointError(
                f"{self.path(digest)} has changed since it was kept", remedy="Search anew in another folder."
            )
        return data

    def close(self) -> None:
        """Let another process go on with it."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def _encode(step: Mapping[str, Any]) -> bytes:
    text = json.dumps(step, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return f"{_sum(text)} {text}\n".encode()


def _sum(text: str) -> str:
    return hex_of(digest_of(text.encode()))[:_SUM]


def _decode(line: bytes) -> dict[str, Any] | None:
    head, _, text = line.partition(b" ")
    try:
        whole = head.decode() == _sum(text.decode())
        return json.loads(text) if whole else None
    except ValueError:
        return None


def _read(path: Path, file: int) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Every finished step; a torn last line is cut off, so that the next one does not go on in it."""
    data = read_bounded(path, _JOURNAL, "the journal")
    steps: dict[tuple[str, str], Mapping[str, Any]] = {}
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        step = None if end < 0 or end - at > _LINE else _decode(data[at:end])
        if step is None:
            if end >= 0 and end + 1 < len(data):
                raise CheckpointError(
                    f"{path} is damaged at byte {at}, before its last line", remedy="Search anew in another folder."
                )
            os.ftruncate(file, at)
            break
        key = step["did"], step["key"]
        if key in steps:
            raise CheckpointError(f"{path} has the step {key} twice", remedy="Search anew in another folder.")
        steps[key] = step["facts"]
        at = end + 1
    return steps


def _lock(file: int, path: Path) -> None:
    try:
        import fcntl  # noqa: PLC0415  (not on Windows; there two searches in one folder are the user's own care)
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
    except OSError:
        raise CheckpointError(
            f"another process is searching in {path.parent}", remedy="Wait for it, or choose another folder."
        ) from None


def _settle(folder: Path) -> None:
    """The folder's own entry on the disk, too; not every system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

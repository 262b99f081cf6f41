"""Checkpoints: a run that was killed at any instant goes on from one, to the same bits.

Two files take turns, so that while one is written the other is whole; each is replaced in one step, carries a number that
counts up, and has its digest inside. The one with the highest number that is whole counts. What a checkpoint belongs to (step,
settings, data) stands in it, and it is not continued with anything else.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.limits import Limits
from edgewise.bundle.safetensors import Array, dump_arrays, parse_arrays
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.digests import digest_of
from edgewise.errors import CheckpointError, EdgewiseError, NotFoundError
from edgewise.store.files import read_bounded, write_bytes

__all__ = ["CheckpointFolder", "Saved"]

_NAMES = ("checkpoint-0", "checkpoint-1")
_MAGIC = b"edgewise checkpoint 1 "
_HEAD = len(_MAGIC) + len("sha256:") + 64 + 1
_LARGEST = 8 << 30  # bytes; weights, optimiser, best and average of a network with some 400 million weights
_LIMITS = Limits(array_bytes=_LARGEST, json_bytes=32 << 20)
_FACTS = "facts"  # JSON, in an array of bytes beside the others


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """What a checkpoint holds. identity: what it belongs to, name -> digest. facts: JSON. arrays: by name."""

    identity: Mapping[str, str]
    facts: Mapping[str, Any]
    arrays: Mapping[str, Array]


class CheckpointFolder:
    """The checkpoints of one run in a folder of their own. One run at a time writes there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0

    def write(self, saved: Saved) -> None:
        """Keep ``saved`` as the newest. Raises StorageError where that is not possible; the one before is then still there."""
        self._number += 1
        path = self.folder / _NAMES[self._number % 2]
        write_bytes(path, _encode(saved, self._number))
        _settle(self.folder)

    def read(self, identity: Mapping[str, str]) -> Saved | None:
        """The newest whole checkpoint; None where there is none yet.

        Raises CheckpointError where it belongs to something other than ``identity``, or where every copy is damaged.
        """
        for name in _NAMES:  # what a killed process left half written
            for draft in self.folder.glob(f".{name}.*"):
                with suppress(OSError):
                    draft.unlink()
        found: list[tuple[int, Saved]] = []
        damaged: list[str] = []
        for name in _NAMES:
            try:
                found.append(_decode(read_bounded(self.folder / name, _LARGEST, "the checkpoint")))
            except NotFoundError:
                continue
            except (EdgewiseError, ValueError, KeyError, TypeError) as error:
                damaged.append(f"{name} ({error})")
        if not found:
            if damaged:
                raise CheckpointError(
                    f"every checkpoint in {self.folder} is damaged: {'; '.join(damaged)}",
                    remedy="Delete the folder to train anew; nothing in it can be continued.", path=str(self.folder),
                )  # fmt: skip
            return None
        self._number, saved = max(found, key=lambda item: item[0])
        other = [name for name, digest in identity.items() if saved.identity.get(name) != digest]
        if other:
            raise CheckpointError(
                f"the checkpoint in {self.folder} was made with another {' and another '.join(other)}",
                path=str(self.folder), differs=other,
            )  # fmt: skip
        return saved


def _encode(saved: Saved, number: int) -> bytes:
    facts = dump_json({"number": number, "identity": dict(saved.identity), "facts": dict(saved.facts)})
    body = dump_arrays({**{f"array/{k}": v for k, v in saved.arrays.items()}, _FACTS: np.frombuffer(facts, np.uint8)})
    return b"".join((_MAGIC, digest_of(body).encode(), b"\n", body))


def _decode(data: bytes) -> tuple[int, Saved]:
    head, body = data[:_HEAD], data[_HEAD:]
    if not head.startswith(_MAGIC) or head[len(_MAGIC) : -1] != digest_of(body).encode():
        raise ValueError("its digest is another")
    arrays = parse_arrays(body, "the checkpoint", _LIMITS)
    facts = parse_object(arrays.pop(_FACTS).tobytes(), "the checkpoint", _LIMITS)
    named = {name.removeprefix("array/"): array for name, array in arrays.items()}
    return int(facts["number"]), Saved(dict(facts["identity"]), dict(facts["facts"]), named)


def _settle(folder: Path) -> None:
    # After a power cut a file whose folder was not written out may be gone, though its own content was.
    if os.name == "posix":
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

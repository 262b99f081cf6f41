"""What upstream answered, kept on disk by sample: a calibration that was cut off, or is made again, does not pay twice."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np

from edgewise.errors import DataError, EdgewiseError
from edgewise.measure.npz import load_npz
from edgewise.runtime.engine import Array
from edgewise.store.files import read_bounded, write_bytes

__all__ = ["KeptAnswers", "sample_keys"]

_FRESH = 86_400.0  # seconds: after a day upstream may be another, and a promise is about the one that there is
_KEYS = "digest"
_SECONDS = "seconds.txt"
_LIMIT = 256 << 20  # bytes in one folder; the oldest go first


def sample_keys(inputs: Mapping[str, Array]) -> list[bytes]:
    """The digest of each sample: of the values of all inputs, their names and types."""
    head = repr([(name, array.dtype.str, array.shape[1:]) for name, array in sorted(inputs.items())]).encode()
    count = len(next(iter(inputs.values())))
    keys = []
    for at in range(count):
        known = sha256(head)
        for _, array in sorted(inputs.items()):
            row = array[at]
            known.update(repr(row).encode() if array.dtype.kind not in "biuf" else np.ascontiguousarray(row).tobytes())
        keys.append(known.digest())
    return keys


class KeptAnswers:
    """The answers in ``folder``, which belongs to one upstream. now: seconds since 1970, as files are dated.

    Every file is renamed into place when it is complete; what is damaged or older than a day is asked for again.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._rows: dict[bytes, dict[str, Array]] = {}
        self._number = 0
        for path in sorted(folder.glob("*.npz")):
            self._number = max(self._number, int(path.stem) if path.stem.isdecimal() else 0)
            try:
                if now() - path.stat().st_mtime > _FRESH:
                    path.unlink(missing_ok=True)
                    continue
                self._take(load_npz(path))
            except (DataError, OSError):
                path.unlink(missing_ok=True)

    def lacking(self, keys: Sequence[bytes]) -> list[int]:
        """Places in ``keys`` of samples of which no answer is kept, each sample once."""
        found: dict[bytes, int] = {}
        for at, key in enumerate(keys):
            if key not in self._rows:
                found.setdefault(key, at)
        return list(found.values())

    def add(self, keys: Sequence[bytes], outputs: Mapping[str, Array]) -> None:
        """Keep the answers (n, ...) to the samples with these keys, on disk before anything else is asked."""
        arrays = {_KEYS: np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1), **{
            f"out/{name}": array for name, array in outputs.items()
        }}  # fmt: skip
        buffer = BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self._number += 1
        write_bytes(self.folder / f"{self._number:08d}.npz", buffer.getvalue())
        self._take(arrays)
        self._bound()

    def stacked(self, keys: Sequence[bytes]) -> dict[str, Array]:
        """The answers to all of ``keys`` in their order, by output. Raises DataError where they do not fit together."""
        names = list(self._rows[keys[0]])
        try:
            return {name: np.stack([self._rows[key][name] for key in keys]) for name in names}
        except (KeyError, ValueError):
            raise DataError(
                "upstream's answers have different forms from one sample to the next",
                remedy=f"If it was changed meanwhile, delete {self.folder} and ask again.", rule="upstream-answers",
            ) from None  # fmt: skip

    def note_seconds(self, seconds: float) -> None:
        """Keep how long one question took."""
        write_bytes(self.folder / _SECONDS, repr(seconds).encode())

    def seconds(self) -> float | None:
        """How long one question took when these were asked; None where nobody knows."""
        try:
            found = float(read_bounded(self.folder / _SECONDS, 64, "a kept time"))
        except (EdgewiseError, ValueError):
            return None
        return found if 0 <= found < math.inf else None

    def _take(self, arrays: Mapping[str, Array]) -> None:
        digests = arrays.get(_KEYS)
        outputs = {name.removeprefix("out/"): array for name, array in arrays.items() if name != _KEYS}
        if digests is None or digests.dtype != np.uint8 or digests.ndim != 2 or not outputs:
            raise DataError("this file holds no answers")
        if any(array.ndim < 1 or len(array) != len(digests) for array in outputs.values()):
            raise DataError("this file holds answers to other samples")
        for at, digest in enumerate(digests):
            self._rows[digest.tobytes()] = {name: array[at] for name, array in outputs.items()}

    def _bound(self) -> None:
        files = sorted(self.folder.glob("*.npz"))
        sizes = [path.stat().st_size for path in files]
        total = sum(sizes)
        for path, size in zip(files[:-1], sizes, strict=False):
            if total <= _LIMIT:
                return
            path.unlink(missing_ok=True)
            total -= size

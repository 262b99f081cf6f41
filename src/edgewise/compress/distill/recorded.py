"""A teacher's answers to samples that are known beforehand: asked for once, then carried along to whoever needs them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array

__all__ = ["RecordedTeacher"]

_KEY = 16  # bytes: two samples out of 2^64 would have to share one


@dataclass(frozen=True, slots=True)
class RecordedTeacher:
    """digest: of who answered. label: who that is, for people. It knows nothing but the samples it was made with.

    Workers need neither the teacher nor a network. Samples that were augmented are others: the passes leave augmentation out.
    """

    digest: str
    label: str
    answers: Array = field(repr=False, compare=False)
    rows: Mapping[bytes, int] = field(repr=False, compare=False)

    @classmethod
    def of(cls, teacher: Callable[[Array], Array], digest: str, label: str, x: Array) -> "RecordedTeacher":
        """What ``teacher`` says to ``x`` (N, ...), asked once for all of it."""
        return cls(digest, label, teacher(x), {_key(x[at]): at for at in range(len(x))})

    @property
    def name(self) -> str:
        """For the names of passes."""
        return f"recorded-{self.digest[:8]}"

    def __call__(self, x: Array) -> Array:
        """Raises DataError for a sample that it was not made with."""
        try:
            return self.answers[[self.rows[_key(sample)] for sample in x]]
        except KeyError:
            raise DataError(f"{self.label} was not asked about a sample", rule="teacher-answers") from None


def _key(sample: Array) -> bytes:
    return hashlib.blake2b(np.asarray(sample).tobytes(), digest_size=_KEY).digest()

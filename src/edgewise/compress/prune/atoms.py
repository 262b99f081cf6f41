"""Classes of channels that stand and fall together: a union-find whose classes may be pinned.

Every index along an axis carries an atom. Tying two axes puts their atoms into one class, place by place. A pinned class stays
in the model; pinned classes are never merged with one another, so that each keeps the reason it was pinned for.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["Atoms", "Axis"]

#: An atom for every index along an axis; None where the length is not known (which stays as it is).
Axis = npt.NDArray[np.int64] | None


class Atoms:
    """Final. Atoms are integers; ``inexact`` are classes whose removal is no mere zeroing (a mean over them, say)."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}  # root -> why it stays
        self._pins: dict[str, int] = {}  # reason -> its atom
        self._inexact: set[int] = set()

    def new(self, count: int) -> npt.NDArray[np.int64]:
        """``count`` atoms, each in a class of its own."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def fixed(self, count: int, reason: str) -> npt.NDArray[np.int64]:
        """An axis of which nothing can be taken, for ``reason``."""
        return np.full(count, self._pinned(reason), np.int64)

    def root(self, atom: int) -> int:
        """The atom that stands for the whole class."""
        while self._parents[atom] != atom:
            self._parents[atom] = self._parents[self._parents[atom]]
            atom = self._parents[atom]
        return atom

    def roots(self, axis: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The classes along an axis."""
        return np.array([self.root(int(atom)) for atom in axis], np.int64)

    def tie(self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> None:
        """Indices at the same place stand and fall together."""
        for one, other in zip(first, second, strict=True):
            a, b = self.root(int(one)), self.root(int(other))
            if a == b or (a in self._reasons and b in self._reasons):
                continue
            if b in self._reasons:
                a, b = b, a
            self._parents[b] = a
            if b in self._inexact:
                self._inexact.add(a)

    def pin(self, axis: Axis, reason: str) -> None:
        """Nothing of ``axis`` may be taken."""
        if axis is not None:
            self.tie(axis, self.fixed(len(axis), reason))

    def blur(self, axis: Axis) -> None:
        """Taking something of ``axis`` changes more than zeroing it would."""
        if axis is not None:
            self._inexact.update(self.root(int(atom)) for atom in axis)

    def reason(self, atom: int) -> str | None:
        """Why the atom stays; None where it may go."""
        return self._reasons.get(self.root(atom))

    def stays(self, axis: Axis) -> bool:
        """True where nothing of the axis may be taken."""
        return axis is None or all(self.root(int(atom)) in self._reasons for atom in np.unique(axis))

    def exact(self, atom: int) -> bool:
        """True where leaving the class out equals zeroing its weights."""
        return self.root(atom) not in self._inexact

    def _pinned(self, reason: str) -> int:
        if reason not in self._pins:
            (atom,) = self.new(1).tolist()
            self._pins[reason] = atom
            self._reasons[atom] = reason
        return self._pins[reason]

"""Chains in which somebody else teaches or learns: the table of ``space`` with a teacher, a student, or samples without labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from edgewise.compress.distill.distil import Distil
from edgewise.compress.distill.recorded import RecordedTeacher
from edgewise.compress.distill.student import Student
from edgewise.compress.distill.teacher import ModelTeacher
from edgewise.compress.passes import Pass
from edgewise.compress.search.fine_tune import FineTune
from edgewise.compress.search.halving import Effort
from edgewise.compress.search.space import CHAINS, LINKS, Chain, Kind, Link, chains_for
from edgewise.measure.npz import Array

__all__ = ["STUDENT_CHAINS", "Taught"]

_STUDENT = "distil-student"
#: What is tried with a student that was named.
STUDENT_CHAINS = (
    "distil-student > compact", "distil-student > int8-float-bias > compact", "distil-student > int8-aware > compact",
    "distil-student > int4-aware > compact",
)  # fmt: skip
_NARROW = ("distil-50", "distil-25")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """teacher: in place of the model as it came. student: one more that learns. unlabelled: samples (N, ...) that it learns on too.

    samples: how many labelled ones there are. An effort of a part of them has the same part of those without labels.
    """

    teacher: ModelTeacher | RecordedTeacher | None = None
    student: Student | None = None
    unlabelled: Array | None = field(default=None, repr=False, compare=False)
    samples: int = 0

    def chains(self, kind: Kind) -> tuple[Chain, ...]:
        """All that is tried with a model of this kind."""
        own = STUDENT_CHAINS if self.student is not None else ()
        return chains_for(kind, {**LINKS, **self._links()}, {kind: (*CHAINS[kind], *own)})

    def _links(self) -> Mapping[str, Link]:
        links: dict[str, Link] = {word: self._distilled(word) for word in _NARROW}
        if self.teacher is not None:
            links["tune"] = self._tuned
        if self.student is not None:
            links[_STUDENT] = self._distilled(_NARROW[0], self.student)
        return links

    def _tuned(self, effort: Effort, origin: bytes) -> Pass:
        usual = LINKS["tune"](effort, origin)
        assert isinstance(usual, FineTune)
        return replace(usual, other=self.teacher)

    def _distilled(self, word: str, student: Student | None = None) -> Link:
        """The pass that ``word`` usually stands for, with what is other here."""

        def link(effort: Effort, origin: bytes) -> Pass:
            usual = LINKS[word](effort, origin)
            assert isinstance(usual, Distil)
            more = self._more(effort)
            return replace(usual, student=student or usual.student, teacher=self.teacher, unlabelled=more)

        return link

    def _more(self, effort: Effort) -> Array | None:
        if self.unlabelled is None:
            return None
        share = min(1.0, effort.samples / max(1, self.samples))
        return self.unlabelled[: ceil(share * len(self.unlabelled))]

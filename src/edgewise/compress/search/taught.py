"""Chains in which somebody else teaches or learns: the table of ``space`` with a teacher, a student, or samples without labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from edgewise.compress.distill.distil import Distil
from edgewise.compress.distill.recorded import RecordedTeacher
from edgewise.compress.distill.student import Slimmed, Student
from edgewise.compress.distill.teacher import ModelTeacher
from edgewise.compress.passes import Pass
from edgewise.compress.search.fine_tune import FineTune
from edgewise.compress.search.halving import Effort
from edgewise.compress.search.space import CHAINS, LINKS, Chain, Kind, Link, chains_for
from edgewise.compress.tuning import Tuning
from edgewise.measure.npz import Array

__all__ = ["STUDENT_CHAINS", "Taught"]

_STUDENT = "distil-student"
#: What is tried with a student that was named.
STUDENT_CHAINS = (
    "distil-student > compact", "distil-student > int8-float-bias > compact", "distil-student > int8-aware > compact",
    "distil-student > int4-aware > compact",
)  # fmt: skip
_SHARES = {"distil-50": 0.5, "distil-25": 0.25}


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
        links: dict[str, Link] = {word: self._distilled(Slimmed(share=share)) for word, share in _SHARES.items()}
        if self.teacher is not None:
            links["tune"] = self._tuned
        if self.student is not None:
            links[_STUDENT] = self._distilled(self.student)
        return links

    def _tuned(self, effort: Effort, origin: bytes) -> Pass:
        return FineTune(Tuning(epochs=effort.epochs, learning_rate=1e-3), origin, self.teacher)

    def _distilled(self, student: Student) -> Link:
        def link(effort: Effort, origin: bytes) -> Pass:  # noqa: ARG001  (whoever teaches was named, or is what comes in)
            # What is narrow or new has more to learn than what was pruned.
            tuning = Tuning(epochs=2 * effort.epochs, learning_rate=3e-3)
            return Distil(student=student, tuning=tuning, teacher=self.teacher, unlabelled=self._more(effort))

        return link

    def _more(self, effort: Effort) -> Array | None:
        if self.unlabelled is None:
            return None
        share = min(1.0, effort.samples / max(1, self.samples))
        return self.unlabelled[: ceil(share * len(self.unlabelled))]

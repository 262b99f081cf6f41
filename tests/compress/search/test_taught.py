"""With a teacher, a student or samples without labels there are more chains, and other passes under the same words."""

import numpy as np

from edgewise.compress.distill.distil import Distil
from edgewise.compress.distill.recorded import RecordedTeacher
from edgewise.compress.distill.student import Reference
from edgewise.compress.search.fine_tune import FineTune
from edgewise.compress.search.halving import Effort
from edgewise.compress.search.space import CHAINS, chains_for
from edgewise.compress.search.taught import STUDENT_CHAINS, Taught
from edgewise.digits import model_bytes

TEACHER = RecordedTeacher("ab" * 32, "the teacher large", np.zeros((1, 3)), {})
EFFORT = Effort(6, 50)


def candidates(taught: Taught) -> dict[str, tuple[object, ...]]:
    return {chain.name: chain.candidate("o", EFFORT, model_bytes("fp32")).passes for chain in taught.chains("dense")}


def test_without_anything_it_is_the_usual_table() -> None:
    usual = {c.name: c.candidate("o", EFFORT, model_bytes("fp32")) for c in chains_for("dense")}
    same = {c.name: c.candidate("o", EFFORT, model_bytes("fp32")) for c in Taught(samples=100).chains("dense")}
    assert {name: c.digest for name, c in same.items()} == {name: c.digest for name, c in usual.items()}


def test_whoever_teaches_is_in_the_name_of_every_pass_that_learns_from_answers() -> None:
    found = candidates(Taught(teacher=TEACHER, samples=100))
    assert list(found) == list(CHAINS["dense"])
    taught = [step for passes in found.values() for step in passes if isinstance(step, Distil | FineTune)]
    assert taught
    for step in taught:
        assert "recorded-abababab" in step.name
        assert "the teacher large" in step.describe()


def test_a_student_has_chains_of_its_own() -> None:
    found = candidates(Taught(student=Reference(network="cnn"), samples=100))
    assert list(found) == [*CHAINS["dense"], *STUDENT_CHAINS]
    step = found["distil-student > int8-aware > compact"][0]
    assert isinstance(step, Distil)
    assert step.student == Reference(network="cnn")
    assert step.tuning.epochs == 12


def test_of_samples_without_labels_an_effort_has_its_part() -> None:
    more = np.zeros((31, 8, 8), np.uint8)
    found = candidates(Taught(unlabelled=more, samples=100))
    step = found["distil-50 > streamline > int8-timed > express > compact"][0]
    assert isinstance(step, Distil)
    assert step.unlabelled is not None
    assert len(step.unlabelled) == 16
    assert "unlabelled=16" in step.name

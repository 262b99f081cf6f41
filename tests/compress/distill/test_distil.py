"""Distilling: the small model comes to answer as the large one does, with labels or without."""

from dataclasses import replace

import numpy as np
import pytest
from tests.compress.quantize.test_aware import held_out
from tests.compress.test_foundation import digits, with_front

from edgewise.compress.cutting import cut
from edgewise.compress.distill.distil import Distil, Features
from edgewise.compress.distill.student import Reference, Slimmed
from edgewise.compress.distill.teacher import ModelTeacher
from edgewise.compress.tuning import Tuning, answers
from edgewise.errors import InputError, UnsupportedError
from edgewise.measure.dataset import Dataset

TUNING = Tuning(epochs=12, batch=32, learning_rate=5e-3)


def agreement(made: object, model: object) -> float:
    held = held_out()
    return float(np.mean(answers(made, held).argmax(1) == answers(model, held).argmax(1)))  # type: ignore[arg-type]


def test_a_slimmed_copy_answers_as_its_teacher() -> None:
    model = with_front()
    before = model.SerializeToString()
    made = Distil(student=Slimmed(), tuning=TUNING).apply(model, digits())
    assert model.SerializeToString() == before
    assert len(made.SerializeToString()) < 0.3 * len(before)
    assert agreement(made, model) > 0.93


def test_no_label_is_looked_at_where_samples_without_labels_are_given() -> None:
    model, samples = with_front(), digits()
    half = Dataset(samples.data.x[:100], np.zeros(100, np.int64))  # wrong labels
    given = Distil(student=Slimmed(), tuning=TUNING, unlabelled=samples.data.x[100:])
    assert agreement(given.apply(model, replace(samples, data=half)), model) > 0.9
    with pytest.raises(InputError):
        replace(given, unlabelled=np.zeros((3, 2))).apply(model, samples)


def test_where_a_layer_is_active_can_be_taught_to_a_narrower_one() -> None:
    model, samples = with_front(), digits(200)
    convs = [node.output[0] for node in cut(model).core.graph.node if node.op_type == "Conv"]
    features = Features(pairs=((convs[1], convs[1]),))
    quick = Tuning(epochs=2, batch=32, learning_rate=5e-3)
    plain, matched = (
        Distil(student=Slimmed(), tuning=quick, features=which).apply(model, samples) for which in (None, features)
    )
    assert plain.SerializeToString() != matched.SerializeToString()
    assert [v.name for v in matched.graph.output] == [v.name for v in model.graph.output]
    with pytest.raises(UnsupportedError):
        Distil(tuning=quick, features=Features(pairs=(("nothing", convs[1]),))).apply(model, samples)


def test_a_reference_network_learns_from_another_teacher() -> None:
    model, samples = with_front(), digits()
    chosen = Distil(
        student=Reference(network="cnn", settings=(("widths", (8, 16)), ("strides", (1, 2)))),
        tuning=replace(TUNING, epochs=20, learning_rate=0.02),
        teacher=ModelTeacher.of(model, samples),
    )  # fmt: skip
    assert agreement(chosen.apply(model, samples), model) > 0.8
    assert chosen.name != replace(chosen, teacher=None).name

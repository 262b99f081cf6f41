"""Students have the teacher's inputs and outputs, whatever they are inside."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper
from tests.compress.test_foundation import digits, with_front
from tests.networks.cases import CASES, feeds

from edgewise.compress.distill.student import Given, Reference, Slimmed
from edgewise.errors import UnsupportedError
from edgewise.graph.inspect import describe
from edgewise.networks.compact import CnnConfig
from edgewise.networks.inputs import ImageInput
from edgewise.networks.registry import build
from edgewise.runtime.engine import OpenOptions, find_engine

#: Networks without a width that can change: gates of a recurrent layer, items of a catalogue.
FIXED = {"gru", "two-tower"}


def results(model: ModelProto, batch: int = 3) -> dict[str, np.ndarray]:
    session = find_engine("onnxruntime").open({"m.onnx": model.SerializeToString()}, OpenOptions(threads=1))
    try:
        return session.run(feeds(model, batch))
    finally:
        session.close()


@pytest.mark.parametrize("name", CASES)
def test_a_slimmed_copy_is_smaller_and_gives_what_the_network_gives(name: str) -> None:
    network, config, _ = CASES[name]
    model, samples = build(network, config, 0), digits(4)
    for weights in ("sliced", "random"):
        if name in FIXED:
            with pytest.raises(UnsupportedError):
                Slimmed(weights=weights).build(model, samples)
            continue
        slim = Slimmed(weights=weights).build(model, samples)
        onnx.checker.check_model(slim)
        assert describe(slim).inputs == describe(model).inputs
        assert [value.name for value in describe(slim).outputs] == [value.name for value in describe(model).outputs]
        assert len(slim.SerializeToString()) < len(model.SerializeToString())
        first, second = results(slim), results(model)
        assert {key: value.shape for key, value in first.items()} == {key: value.shape for key, value in second.items()}
        assert all(np.isfinite(value).all() for value in first.values())


def test_the_whole_width_is_no_narrower() -> None:
    with pytest.raises(UnsupportedError):
        Slimmed(share=1.0).build(build("cnn", CnnConfig(), 0), digits(4))


def test_a_reference_network_stands_behind_the_same_preprocessing() -> None:
    model = with_front()
    student = Reference(network="cnn", settings=(("widths", (4, 8)),)).build(model, digits(4))
    assert describe(student).inputs == describe(model).inputs
    assert [v.name for v in describe(student).outputs] == ["logits"]
    assert "Resize" in {node.op_type for node in student.graph.node}


def test_where_the_teacher_gives_probabilities_the_student_does() -> None:
    config = CnnConfig(ImageInput(8, 8), 10, (4, 8))
    teacher = build("cnn", config, 0)
    out = teacher.graph.output[0]
    teacher.graph.node.append(helper.make_node("Softmax", [out.name], ["odds"], axis=-1))
    out.name = "odds"
    student = Given(build("cnn", config, 1).SerializeToString()).build(teacher, digits(4))
    (odds,) = results(student).values()
    np.testing.assert_allclose(odds.sum(axis=1), 1, rtol=1e-5)
    assert [v.name for v in student.graph.output] == ["odds"]


def test_a_student_of_another_form_is_refused() -> None:
    other = build("cnn", CnnConfig(ImageInput(8, 8), 7, (4, 8)), 0).SerializeToString()
    with pytest.raises(UnsupportedError):
        Given(other).build(build("cnn", CnnConfig(ImageInput(8, 8), 10, (4, 8)), 0), digits(4))

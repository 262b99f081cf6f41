"""The demo's chain: every form is whole, judged beside the big one, and the same when it is made again."""

import numpy as np
import pytest
from onnx import ModelProto

from edgewise.clock import SystemClock
from edgewise.compose.demo import digits_data, digits_model
from edgewise.compose.demo_compress import Form, made_small
from edgewise.compress.search.gate import one_sided
from edgewise.graph.inspect import describe, read_model
from edgewise.measure.dataset import Dataset
from edgewise.runtime.engine import OpenOptions, find_engine

HELD = digits_data("calibration")


def few() -> Dataset:
    return digits_data("train").take(np.arange(96))


def big() -> ModelProto:
    return read_model(digits_model("fp32").model)


@pytest.fixture(scope="module")
def forms() -> tuple[Form, ...]:
    return made_small(big(), few(), HELD, clock=SystemClock())


def right(form: Form) -> np.ndarray:
    session = find_engine("onnxruntime").open({"model.onnx": form.model}, OpenOptions(threads=1))
    return session.run({"image": HELD.x})["probabilities"].argmax(1) == HELD.y


def test_each_form_takes_images_and_has_fewer_bytes_than_the_one_before(forms: tuple[Form, ...]) -> None:
    assert [form.name for form in forms] == ["big", "distilled", "pruned", "int8"]
    first, *others = [describe(read_model(form.model)) for form in forms]
    for other in others:
        assert [(value.name, value.dtype) for value in other.inputs] == [("image", "uint8")]
        assert other.outputs == first.outputs
    sizes = [form.size for form in forms]
    assert sizes == sorted(sizes, reverse=True)
    assert forms[-1].size <= forms[0].size / 10
    assert [describe(read_model(form.model)).precision for form in forms] == ["fp32", "fp32", "fp32", "int8"]


def test_figures_and_p_values_are_those_of_the_files(forms: tuple[Form, ...]) -> None:
    before = right(forms[0])
    assert forms[0].verdict is None
    for form in forms[1:]:
        after, verdict = right(form), form.verdict
        assert verdict is not None
        assert form.metric == verdict.metric
        assert form.metric.value == pytest.approx(after.mean())
        assert verdict.drop == pytest.approx(100 * (before.mean() - after.mean()))
        assert verdict.p_value == pytest.approx(one_sided(before, after))


def test_made_again_every_form_has_the_same_bytes(forms: tuple[Form, ...]) -> None:
    told: list[str] = []
    seen: list[tuple[str, int, int]] = []
    again = made_small(
        big(), few(), HELD, clock=SystemClock(), report=told.append, progress=lambda *step: seen.append(step)
    )
    assert [form.model for form in again] == [form.model for form in forms]
    assert [line.partition(":")[0] for line in told] == ["distilled", "pruned", "int8", "timing all forms, in turns"]
    assert {what.partition(":")[0] for what, _, _ in seen} == {"distilled", "pruned", "int8"}
    assert all(0 <= done <= total for _, done, total in seen)

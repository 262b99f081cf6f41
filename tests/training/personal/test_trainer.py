"""On a device: examples in, weights of one's own out, within the memory that is allowed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper
from tests.training.hand_steps import CLASSES, FEATURES, SHAPES, blobs, mlp_step

from edgewise.errors import (
    DataError,
    EdgewiseError,
    MemoryBudgetError,
    MismatchError,
    NotFoundError,
    TensorError,
)
from edgewise.measure.metric import Metric
from edgewise.training.losses.registry import CrossEntropy
from edgewise.training.personal.trainer import Trainer
from edgewise.training.run.loop import Predict
from edgewise.training.run.step_file import StepSpec, TrainingStep
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import SGD

X, Y = blobs(120)
HELD_X, HELD_Y = blobs(200, seed=1)
STEP = mlp_step()


def trainer(step: TrainingStep = STEP, budget: int | None = None) -> Trainer:
    return Trainer(step, threads=1, budget=budget)


def right(found: Trainer) -> float:
    return float((found.predict(HELD_X)["logits"].argmax(1) == HELD_Y).mean())


def test_examples_in_and_better_answers_out() -> None:
    learning = trainer()
    before = right(learning)
    result = learning.fit(X, Y.astype(np.int32), epochs=15, schedule="cosine:warmup=0.1")
    assert (len(result.history), result.stopped) == (15, "finished")
    assert right(learning) > max(before + 0.2, 0.8)
    assert set(learning.weights()) == set(SHAPES)
    learning.reset()
    assert right(learning) == before


def test_the_best_weights_by_held_out_examples_are_kept() -> None:
    learning = trainer()

    def evaluate(predict: Predict) -> Metric:
        value = float((predict({"x": HELD_X})["logits"].argmax(1) == HELD_Y).mean())
        return Metric("accuracy", value, value, value, len(HELD_Y), "none")

    result = learning.fit({"x": X}, {"target": Y}, epochs=8, evaluate=evaluate)
    assert result.best is not None
    assert right(learning) == result.best.value == max(r.metric.value for r in result.history if r.metric)


def test_weights_come_back_from_their_file(tmp_path: Path) -> None:
    learning = trainer()
    learning.fit(X, Y, epochs=2)
    learning.save(tmp_path / "mine.weights")
    assert (tmp_path / "mine.weights").stat().st_mode & 0o077 == 0, "what a person taught his device is his"
    again = trainer()
    again.load(tmp_path / "mine.weights")
    np.testing.assert_array_equal(again.predict(HELD_X)["logits"], learning.predict(HELD_X)["logits"])


def test_weights_of_another_step_or_a_damaged_file_change_nothing(tmp_path: Path) -> None:
    learning, other = trainer(), trainer(mlp_step(seed=9))
    learning.save(tmp_path / "w")
    before = other.weights()
    with pytest.raises(MismatchError, match="another training step"):
        other.load(tmp_path / "w")
    data = (tmp_path / "w").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(EdgewiseError):
        other.load(tmp_path / "cut")
    with pytest.raises(NotFoundError):
        other.load(tmp_path / "none")
    learning.stepper._live["param/w1"][0, 0] = np.nan
    learning.save(tmp_path / "nan")
    with pytest.raises(TensorError, match="NaN in param/w1"):
        trainer().load(tmp_path / "nan")
    assert all(np.array_equal(before[name], array) for name, array in other.weights().items())


def test_a_batch_over_the_budget_is_refused_and_a_smaller_one_trains() -> None:
    learning = trainer(budget=25_000)
    with pytest.raises(MemoryBudgetError, match="a batch of 10 fits"):
        learning.fit(X, Y, batch=32)
    assert not learning.stepper.in_place, "nothing was run"
    learning.fit(X, Y, batch=10, epochs=1)
    with pytest.raises(MemoryBudgetError, match="not even one sample fits"):
        trainer(budget=20_100)


def test_a_killed_run_goes_on_from_its_folder(tmp_path: Path) -> None:
    whole, again = trainer(), trainer()
    whole.fit(X, Y, epochs=3)

    def stop(progress: object) -> None:
        if getattr(progress, "epoch", 0) == 2:
            raise KeyboardInterrupt

    assert trainer().fit(X, Y, epochs=3, checkpoints=tmp_path, watch=stop).stopped == "interrupted"
    again.fit(X, Y, epochs=3, checkpoints=tmp_path)
    assert all(np.array_equal(whole.weights()[name], array) for name, array in again.weights().items())


def fixed(size: int) -> TrainingStep:
    """The same step as if it had been built for one batch size."""
    spec: StepSpec = STEP.spec
    return replace(
        STEP,
        spec=replace(
            spec, inputs=(replace(spec.inputs[0], shape=(size, *spec.inputs[0].shape[1:])),),
            targets=(replace(spec.targets[0], shape=(size,)),),
        ),
    )  # fmt: skip


def test_a_step_for_one_batch_size_trains_with_it_and_answers_with_any() -> None:
    learning = trainer(fixed(50))
    result = learning.fit(X, Y, epochs=2)
    assert [record.samples for record in result.history] == [100, 100]
    assert len(learning.predict(HELD_X[:7])["logits"]) == 7
    with pytest.raises(DataError, match="do not fill one batch of 50"):
        learning.fit(X[:49], Y[:49])


def weighing(size: int | None) -> TrainingStep:
    """A layer whose loss weighs the samples, for one batch size or for any."""
    stored = [numpy_helper.from_array(np.zeros((FEATURES, CLASSES), np.float32), "w")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])], stored,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return build_step(model, CrossEntropy(weighted=True), SGD(0.1), ["w"], batch=size)


@pytest.mark.parametrize(("size", "batch"), [(50, 32), (None, 50)])
def test_where_samples_are_weighed_what_fills_no_batch_is_learnt_from_too(size: int | None, batch: int) -> None:
    learning, steps = trainer(weighing(size)), list[int]()
    learning.fit(X, Y, epochs=5, batch=batch, watch=lambda progress: steps.append(progress.steps))
    assert set(steps) == {3}
    assert right(learning) > 0.7


def test_answers_keep_to_the_budget_as_batches_do() -> None:
    assert trainer(budget=25_000)._at_once() == 10
    assert trainer(budget=1 << 30)._at_once() == trainer()._at_once()


def test_examples_that_do_not_fit_are_named() -> None:
    learning = trainer()
    with pytest.raises(TensorError, match=r"x has elements of float64"):
        learning.fit(X.astype(np.float64), Y)
    with pytest.raises(TensorError, match=r"target has elements of float64"):
        learning.fit(X, Y.astype(np.float64))
    with pytest.raises(TensorError, match="the batch lacks target"):
        learning.fit(X)
    with pytest.raises(TensorError, match=r"target has 7 in sample"):
        learning.fit(X, np.full_like(Y, 7))
    with pytest.raises(DataError, match="y"):
        learning.fit(X, Y[:-1])

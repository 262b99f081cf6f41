"""What all passes stand on: cutting the preprocessing off, drawing samples, learning for a few epochs."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto
from tests.networks.cases import CASES

from edgewise.compress.cutting import cut
from edgewise.compress.distill.distil import Distil
from edgewise.compress.distill.student import Slimmed
from edgewise.compress.passes import Pass
from edgewise.compress.prune.prune import Prune
from edgewise.compress.quantize.aware import Aware
from edgewise.compress.quantize.dynamic import Dynamic
from edgewise.compress.quantize.static import Static
from edgewise.compress.samples import Samples, joined_inputs
from edgewise.compress.search.fine_tune import FineTune
from edgewise.compress.tuning import Tuning, answers, fine_tune, learn
from edgewise.digits import load_split, model_bytes
from edgewise.graph.image import image_pipeline
from edgewise.graph.inspect import describe, read_model
from edgewise.graph.join import prepend
from edgewise.measure.dataset import Dataset
from edgewise.networks.compact import CnnConfig
from edgewise.networks.inputs import ImageInput
from edgewise.networks.registry import build
from edgewise.networks.text_bag import TextBagConfig


def digits(count: int = 400) -> Samples:
    x, y = load_split("train")
    return Samples(
        Dataset((x[:count, :, :, None] * 15).astype(np.uint8), y[:count]), "classification", "image", "logits"
    )


def with_front() -> ModelProto:
    front = image_pipeline(size=(8, 8), channels=1, input_name="image")
    return prepend(front, read_model(model_bytes("fp32")))


def run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def test_a_cut_model_joined_again_gives_the_same_answers() -> None:
    model, samples = with_front(), digits(20)
    parts = cut(model)
    assert parts.front is not None
    assert "Resize" in {node.op_type for node in parts.front.graph.node}
    assert "Resize" not in {node.op_type for node in parts.core.graph.node}
    assert not {tensor.name for tensor in parts.core.graph.initializer} & {
        t.name for t in parts.front.graph.initializer
    }
    whole = parts.whole(parts.core)
    assert describe(whole).inputs == describe(model).inputs
    assert [value.name for value in describe(whole).outputs] == [value.name for value in describe(model).outputs]
    np.testing.assert_array_equal(run(whole, samples.data.x), run(model, samples.data.x))


def test_a_model_without_preprocessing_stays_whole() -> None:
    model = build("cnn", CnnConfig(ImageInput(8, 8), 10, (4, 8)), 0)
    parts = cut(model)
    assert parts.front is None
    assert parts.seam == model.graph.input[0].name


def test_samples_are_along_the_first_axis_of_the_seam() -> None:
    kind, config, _ = CASES["gru"]
    parts = cut(build(kind, config, 0))
    assert parts.front is None
    assert "Transpose" in {node.op_type for node in parts.core.graph.node}


def test_any_beginning_of_the_drawn_rows_has_every_class() -> None:
    y = np.repeat([0, 1, 2], [90, 9, 3])
    samples = Samples(Dataset(np.arange(102.0)[:, None], y), "classification", "x", "y", seed=4)
    rows = samples.rows(34)
    assert sorted(np.bincount(y[rows])) == [1, 3, 30]
    assert len(set(rows.tolist())) == 34
    np.testing.assert_array_equal(rows, samples.rows(34))
    assert len(set(samples.rows(1000).tolist())) == 102


def test_learning_lowers_the_loss_and_a_teacher_is_followed() -> None:
    samples = digits()
    front = image_pipeline(size=(8, 8), channels=1, input_name="image", output_name="x")
    core = build("cnn", CnnConfig(ImageInput(8, 8), 10, (4, 8), strides=(1, 2)), 1)
    student = prepend(front, core)
    tuned = fine_tune(student, samples, Tuning(epochs=12, batch=32, learning_rate=0.02))
    before, after = (np.mean(answers(m, samples).argmax(1) == samples.data.y) for m in (student, tuned))
    assert after > before + 0.4
    taught = fine_tune(
        student, samples, Tuning(epochs=12, batch=32, learning_rate=0.02), teacher=lambda x: run(with_front(), x)
    )
    assert np.mean(answers(taught, samples).argmax(1) == run(with_front(), samples.data.x).argmax(1)) > 0.5
    losses = learn(cut(student), samples, Tuning(epochs=12, batch=32, learning_rate=0.02)).losses
    assert losses[-1] < losses[0]


def test_only_the_named_parameters_learn() -> None:
    samples, parts = digits(64), cut(with_front())
    learnt = learn(parts, samples, Tuning(epochs=1, batch=32), parameters=[_last(parts.core)])
    assert set(learnt.weights) == {_last(parts.core)}


def _last(core: ModelProto) -> str:
    return core.graph.node[-1].input[-1]


@pytest.mark.parametrize("seed", [0, 1])
def test_feeds_are_batches_of_the_drawn_rows(seed: int) -> None:
    samples = Samples(Dataset(np.arange(100.0)[:, None], np.zeros(100)), "regression", "x", "y", seed=seed)
    fed = np.concatenate([batch["x"] for batch in samples.feeds(50)])
    np.testing.assert_array_equal(fed[:, 0], samples.rows(50))


def bags(count: int = 200) -> tuple[ModelProto, Samples]:
    """A text classifier of two inputs, and samples of two classes that share no id."""
    config = TextBagConfig(vocabulary=64, classes=2, length=6, weighted=True, width=8, hidden=(8,))
    chance = np.random.default_rng(0)
    y = np.arange(count) % 2
    ids = chance.integers(1, 30, (count, 6)) + 30 * y[:, None]
    x = joined_inputs({"ids": ids, "weights": np.ones((count, 6), np.float32)})
    return build("text-bag", config, 0), Samples(Dataset(x, y), "classification", "ids", "logits")


def test_samples_of_several_inputs_fill_each_of_them() -> None:
    _, samples = bags(50)
    (first, second) = samples.feeds(50)
    assert {name: array.dtype.name for name, array in first.items()} == {"ids": "int64", "weights": "float32"}
    assert (len(first["ids"]), len(second["ids"]), first["weights"].shape) == (32, 18, (32, 6))
    assert all(array.flags.c_contiguous for array in first.values())


@pytest.mark.parametrize(
    "step",
    [
        FineTune(Tuning(epochs=8, batch=20, learning_rate=3e-2)), Prune(share=0.5, tuning=Tuning(epochs=2), count=64), Static(),
        Dynamic(), Aware(tuning=Tuning(epochs=1)), Distil(student=Slimmed(share=0.5), tuning=Tuning(epochs=2)),
    ],
    ids=lambda step: type(step).__name__,
)  # fmt: skip
def test_a_model_of_two_inputs_goes_through_every_kind_of_pass(step: Pass) -> None:
    model, samples = bags()
    made = step.apply(model, samples)
    assert [value.name for value in describe(made).inputs] == ["ids", "weights"]
    given = answers(made, samples)
    assert given.shape == (200, 2)
    if isinstance(step, FineTune):
        assert (given.argmax(axis=1) == samples.data.y).mean() > 0.95

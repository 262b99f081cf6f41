"""Teachers give scores whatever they are made of; what they said is kept on disk, whole or not at all."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compress.test_foundation import digits, run, with_front

from edgewise.compress.distill.teacher import CachedTeacher, FunctionTeacher, ModelTeacher, as_scores
from edgewise.errors import DataError, ModelError
from edgewise.runtime.engine import installed_engines


@given(st.integers(0, 999), st.integers(2, 9))
def test_probabilities_become_scores_of_the_same_softmax(seed: int, classes: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(5, classes)).astype(np.float32)
    odds = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    again = np.exp(as_scores(odds))
    np.testing.assert_allclose(again / again.sum(axis=1, keepdims=True), odds, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(as_scores(scores), scores)


def test_a_model_teaches_by_its_own_scores() -> None:
    samples, model = digits(70), with_front()
    teacher = ModelTeacher.of(model, samples)
    np.testing.assert_allclose(teacher(samples.data.x), run(model, samples.data.x), rtol=1e-5, atol=1e-5)
    with pytest.raises(ModelError):
        ModelTeacher(dict(teacher.files), output="nothing")


class Counting:
    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.asked += 1
        return x.reshape(len(x), -1)[:, :3].astype(np.float32) - 1


def test_a_cached_teacher_is_asked_once_for_each_batch(tmp_path: Path) -> None:
    ask, x = Counting(), np.arange(600, dtype=np.float32).reshape(100, 6)
    teacher = CachedTeacher(FunctionTeacher(ask, "one"), tmp_path)
    first = teacher(x)
    assert ask.asked == 2
    np.testing.assert_array_equal(teacher(x), first)
    assert ask.asked == 2
    # A truncated file, and drafts of a process that was killed, are as if they were not there.
    broken = min(tmp_path.glob("*.npy"))
    broken.write_bytes(broken.read_bytes()[:60])
    (tmp_path / ".half.npy.x").write_bytes(b"draft")
    np.testing.assert_array_equal(teacher(x), first)
    assert ask.asked == 3
    other = Counting()
    CachedTeacher(FunctionTeacher(other, "two"), tmp_path)(x)
    assert other.asked == 2


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    teacher = CachedTeacher(FunctionTeacher(Counting(), "one"), tmp_path, limit=2000)
    for at in range(6):
        teacher(np.full((64, 3), at, np.float32))
    assert sum(path.stat().st_size for path in tmp_path.glob("*.npy")) <= 2000


def test_a_function_that_gives_too_few_answers_is_an_error() -> None:
    with pytest.raises(DataError):
        FunctionTeacher(lambda x: np.zeros((len(x) - 1, 2)), "bad")(np.zeros((4, 2)))


@pytest.mark.skipif("litert" not in installed_engines(), reason="LiteRT is not installed")
def test_a_tflite_model_teaches_as_the_onnx_model_that_it_was_made_of(shared_data: Path) -> None:
    folder = shared_data / "model_kws_dscnn"
    data = np.load(folder / "kws01_accuracy_set_1000.npz")
    tflite = ModelTeacher.open(folder / "kws_ref_model_int8.tflite")
    full = ModelTeacher.open(folder / "kws_ds_cnn_fp32.onnx")
    x = data["x_int8"][:70]
    real = (x.astype(np.float32) - float(data["zero_point"])) * np.float32(data["scale"])
    shape = [d.dim_value for d in onnx.load(folder / "kws_ds_cnn_fp32.onnx").graph.input[0].type.tensor_type.shape.dim]
    a, b = tflite(x), full(real.reshape(-1, *shape[1:]))
    assert np.mean(a.argmax(1) == b.argmax(1)) > 0.9


def test_a_teacher_goes_to_another_process_and_is_opened_there() -> None:
    samples = digits(8)
    teacher = ModelTeacher.of(with_front(), samples)
    again = pickle.loads(pickle.dumps(teacher))
    np.testing.assert_array_equal(again(samples.data.x), teacher(samples.data.x))
    assert again.digest == teacher.digest


def test_what_is_still_to_be_asked_is_known_before(tmp_path: Path) -> None:
    x = np.arange(600, dtype=np.float32).reshape(100, 6)
    teacher = CachedTeacher(FunctionTeacher(Counting(), "one"), tmp_path)
    assert teacher.lacking(x) == 100
    teacher(x[:64])
    assert teacher.lacking(x) == 36
    teacher(x)
    assert teacher.lacking(x) == 0


@pytest.mark.skipif("litert" not in installed_engines(), reason="LiteRT is not installed")
def test_a_model_of_integers_takes_and_gives_real_numbers_where_their_scale_is_known(shared_data: Path) -> None:
    folder = shared_data / "model_kws_dscnn"
    data = np.load(folder / "kws01_accuracy_set_1000.npz")
    form = float(data["scale"]), int(data["zero_point"])
    files = {"model.tflite": (folder / "kws_ref_model_int8.tflite").read_bytes()}
    whole = data["x_int8"][:20]
    real = (whole.astype(np.float32) - form[1]) * np.float32(form[0])
    plain = ModelTeacher(files, "litert", raw=True)
    scaled = ModelTeacher(files, "litert", raw=True, takes=form, gives=(1 / 256, -128))
    np.testing.assert_allclose(scaled(real), (plain(whole).astype(np.float32) + 128) / 256)
    assert np.abs(scaled(real).sum(axis=1) - 1).max() < 0.02  # probabilities again

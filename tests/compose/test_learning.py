"""A device learns with the core install: from a verified bundle, within a budget, and remembers it after a restart."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgewise
from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.digests import digest_of
from edgewise.errors import (
    DataError,
    HostileBundleError,
    InputError,
    MemoryBudgetError,
    MismatchError,
    SignatureError,
    TensorError,
    UnsupportedError,
)
from edgewise.runtime.answer import Answer
from edgewise.runtime.session import Session
from edgewise.store.bundles import open_path, write_file
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS, release, sample_root
from edgewise.training.personal.learner import PersonalTrainer
from edgewise.training.run.step_file import TrainingStep
from edgewise.training.run.stepper import Stepper
from edgewise.trust.verification import sign_statement

pytestmark = pytest.mark.bare

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors" / "training"
BUNDLE = VECTORS / "learner.bundle"
EXPECTED: dict[str, Any] = json.loads((VECTORS / "learner.json").read_text(encoding="utf-8"))
X = np.array(EXPECTED["x"], np.float32)
CLASSES = np.array(EXPECTED["target"])
LABELS = ("up", "level", "down")
NAMES = [LABELS[index] for index in CLASSES]


def load(path: Path = BUNDLE, **more: Any) -> Session:
    return edgewise.load(path, trust=sample_root(), **more)


def right(model: Session | PersonalTrainer) -> float:
    return float(np.mean(np.array(model.predict(X).index) == CLASSES))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the vector's bundle after it learnt the vector's batch."""
    trainer = load(home=tmp_path_factory.mktemp("home")).trainer(threads=1)
    trainer.fit(X, NAMES, epochs=60, learning_rate=0.05)
    path = tmp_path_factory.mktemp("weights") / "mine.weights"
    trainer.save(path)
    return path


def test_the_step_of_the_vector_gives_its_losses_norms_and_answers() -> None:
    bundle = open_path(BUNDLE)
    (entry,) = bundle.document.training
    step = TrainingStep.from_blobs(bundle.training_parts(entry))
    assert step.digest() == entry.digest(bundle.document.files) == EXPECTED["digest"]
    stepper = Stepper(step, threads=1)
    np.testing.assert_allclose(stepper.predict({"x": X})["probabilities"], EXPECTED["before"], atol=1e-5)
    results = [stepper.step({"x": X, "target": CLASSES}, EXPECTED["scalars"]) for _ in EXPECTED["losses"]]
    np.testing.assert_allclose([result.loss for result in results], EXPECTED["losses"], atol=1e-4)
    np.testing.assert_allclose([result.grad_norm for result in results], EXPECTED["gradNorms"], atol=1e-3)
    np.testing.assert_allclose(stepper.predict({"x": X})["probabilities"], EXPECTED["after"], atol=1e-4)


def test_weights_of_the_vector_are_read_and_answer(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(bytes.fromhex(EXPECTED["weights"]))
    with load(personal=tmp_path / "w") as model:
        np.testing.assert_allclose(model.predict(X).output, EXPECTED["after"], atol=1e-4)


def test_examples_by_label_or_number_make_better_answers() -> None:
    session = load()
    by_name, by_number = session.trainer(threads=1), session.trainer(threads=1)
    before = session.predict(X).output
    np.testing.assert_allclose(by_name.predict(X).output, before, atol=1e-5)
    by_name.fit(X, NAMES, epochs=60, learning_rate=0.05)
    by_number.fit(X.tolist(), CLASSES, epochs=60, learning_rate=0.05)
    assert right(by_name) == right(by_number) > right(session) + 0.3
    np.testing.assert_array_equal(session.predict(X).output, before, "a session stays as it is")
    by_name.reset()
    np.testing.assert_allclose(by_name.predict(X).output, before, atol=1e-5)


def test_a_trainer_answers_as_a_session_does(learnt: Path) -> None:
    trainer = load().trainer(threads=1)
    trainer.load(learnt)
    answer, batch = trainer.predict(X[0]), trainer.predict(X[:3])
    assert isinstance(answer, Answer)
    assert answer.label == LABELS[answer.index] == batch.label[0]
    assert (answer.variant, answer.engine, answer.tier) == ("fp32+personal", "onnxruntime", "device")
    assert answer.score == pytest.approx(float(answer.output.max()))
    with pytest.raises(TensorError, match="x should be float32"):
        trainer.predict(X.astype(np.float64))


def test_what_was_learnt_is_there_after_a_restart(learnt: Path) -> None:
    code = (
        "import sys, json, numpy as np, edgewise; from edgewise.testing.sample_bundles import sample_root\n"
        "model = edgewise.load(sys.argv[1], trust=sample_root(), personal=sys.argv[2])\n"
        "print(json.dumps(model.predict(np.array(json.loads(sys.argv[3]), np.float32)).output.tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(BUNDLE), str(learnt), json.dumps(EXPECTED["x"])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    again = load().trainer(threads=1)
    again.load(learnt)
    np.testing.assert_allclose(json.loads(done.stdout), again.predict(X).output, atol=1e-6)


def test_a_personal_session_goes_on_learning_from_where_it_is(learnt: Path) -> None:
    model = load(personal=learnt)
    trainer = model.trainer(threads=1)
    np.testing.assert_allclose(trainer.predict(X).output, model.predict(X).output, atol=1e-6)
    kept = trainer.session()
    first = trainer.fit(X, NAMES, epochs=1).history[0].loss
    assert first < EXPECTED["losses"][-1]
    np.testing.assert_allclose(kept.predict(X).output, model.predict(X).output, atol=1e-6)
    kept.close()
    with pytest.raises(InputError, match="closed"):
        kept.predict(X)


def test_held_out_examples_choose_the_weights_that_stay() -> None:
    trainer = load().trainer(threads=1)
    result = trainer.fit(X[:8], NAMES[:8], held_out=(X[8:], NAMES[8:]), epochs=5, patience=3)
    assert result.best is not None
    assert result.best.value == np.mean(np.array(trainer.predict(X[8:]).index) == CLASSES[8:])


@pytest.mark.parametrize("held_out", [X[8:], (X[8:],), ()])
def test_held_out_examples_that_are_no_pair_are_refused(held_out: Any) -> None:
    with pytest.raises(InputError, match="held_out is examples and what they are"):
        load().trainer(threads=1).fit(X[:8], NAMES[:8], held_out=held_out)


def test_weights_of_another_step_are_refused(learnt: Path, tmp_path: Path) -> None:
    data = learnt.read_bytes()
    other = tmp_path / "other"
    other.write_bytes(data.replace(EXPECTED["digest"].encode(), b"sha256:" + b"0" * 64))
    with pytest.raises(MismatchError, match=r"were not learnt with learner:1\.0\.0"):
        load(personal=other)
    with pytest.raises(MismatchError, match="another training step"):
        load().trainer().load(other)
    (tmp_path / "cut").write_bytes(data[:-8])
    with pytest.raises(HostileBundleError, match="the file of weights is damaged") as told:
        load(personal=tmp_path / "cut")
    assert "learn again" in told.value.remedy, "no publisher has another copy"
    with pytest.raises(InputError, match="requirements choose"):
        load(personal=learnt, require={"engine": "onnxruntime"})


def test_over_the_budget_nothing_is_opened_and_within_it_the_batch_fits() -> None:
    session = load()
    memory = session.trainer().step.memory
    assert memory is not None
    with pytest.raises(MemoryBudgetError, match="not even one sample fits"):
        session.trainer(budget=memory.fixed - 1)
    trainer = session.trainer(budget=memory.peak(64))
    assert trainer.fit(X, NAMES, epochs=1).history[0].samples == len(X)
    if memory.per_sample:
        with pytest.raises(MemoryBudgetError, match="a batch of 64 fits"):
            trainer.fit(X, NAMES, batch=4096)


def test_examples_that_cannot_be_meant_are_named() -> None:
    trainer = load().trainer(threads=1)
    for y, words in (
        ([*NAMES[:-1], "sideways"], "example 15 is labelled 'sideways'"), ([*CLASSES[:-1], 7], "example 15 is of class 7"),
        (NAMES[:-1], "16 examples and 15 values"), (CLASSES + 0.5, "example 0 is labelled"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            trainer.fit(X, y)
    with pytest.raises(TensorError, match="x should be float32"):
        trainer.fit(X[:, :2], NAMES)
    with pytest.raises(DataError, match="it has z"):
        trainer.fit({"z": X}, NAMES)


def bundle_without(part: str, path: Path) -> Path:
    """The vector's bundle, signed as it should be, whose ``part`` is no such thing; none for "": it has no step at all."""
    bundle = open_path(BUNDLE)
    document, evil = bundle.document, b'{"version": 1}'
    blobs = [bundle.read(file) for file in document.all_files()]
    if part:
        files = tuple(
            replace(file, digest=digest_of(evil), size=len(evil)) if file.path.endswith(part) else file
            for file in document.files
        )
        document = replace(document, files=files)
    else:
        document = replace(document, files=(), training=())
    made = build_bundle(document, [*blobs, evil])
    write_file(with_evidence(made, [sign_statement(release(made), PUBLIC_TEST_KEYS["publisher"])]), path)
    return path


def test_a_bundle_without_a_step_answers_and_says_how_it_would_learn(tmp_path: Path, learnt: Path) -> None:
    path = bundle_without("", tmp_path / "plain.bundle")
    session = load(path)
    np.testing.assert_allclose(session.predict(X).output, EXPECTED["before"], atol=1e-5)
    with pytest.raises(UnsupportedError, match="carries no training step") as raised:
        session.trainer()
    assert "--trainable" in raised.value.remedy
    with pytest.raises(UnsupportedError, match="carries no training step"):
        load(path, personal=learnt)


@pytest.mark.parametrize("part", ["spec.json", "step.onnx", "forward.onnx", "initial.safetensors"])
def test_a_part_that_is_no_such_thing_is_a_clear_error(part: str, tmp_path: Path) -> None:
    session = load(bundle_without(part, tmp_path / "broken.bundle"))
    with pytest.raises(edgewise.EdgewiseError):
        session.trainer(threads=1).predict(X)


def test_only_a_step_that_the_release_covers_is_used(tmp_path: Path) -> None:
    bundle = open_path(BUNDLE)
    blobs = [bundle.read(file) for file in bundle.document.all_files()]
    changed = build_bundle(replace(bundle.document, description="changed"), blobs)
    write_file(with_evidence(changed, bundle.evidence().values()), tmp_path / "changed.bundle")
    with pytest.raises(SignatureError):
        load(tmp_path / "changed.bundle")


def test_learning_needs_no_onnx_and_answering_nothing_that_learns() -> None:
    code = (
        "import sys, numpy as np, edgewise; from edgewise.testing.sample_bundles import sample_root\n"
        "model = edgewise.load(sys.argv[1], trust=sample_root()); model.predict(np.zeros((1, 4), np.float32))\n"
        "first = set(sys.modules)\n"
        "model.trainer(threads=1).fit(np.zeros((3, 4), np.float32), [0, 1, 2], epochs=1)\n"
        "print(sorted(name for name in first if name.startswith('edgewise.training')))\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('onnx', 'PIL', 'matplotlib', 'pyarrow')))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(BUNDLE)], check=True, capture_output=True
    )  # the choice is made here
    done = subprocess.run([sys.executable, "-c", code, str(BUNDLE)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]

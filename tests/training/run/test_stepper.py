"""A step changes exactly the states, in place, and never from a batch that does not fit."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("onnx")

from tests.training.hand_steps import CLASSES, FEATURES, SHAPES, blobs, mlp_step

from edgewise.errors import ModelError, TensorError, TrainingDivergedError
from edgewise.training.run.step_file import OPTIMIZER, PARAMETER, StateSpec, TrainingStep
from edgewise.training.run.stepper import Stepper

X, Y = blobs(96)
STEP = mlp_step()


def stepper(step: TrainingStep = STEP) -> Stepper:
    return Stepper(step, threads=1)


def batch(start: int, size: int = 16) -> dict[str, npt.NDArray[np.generic]]:
    return {"x": X[start : start + size], "target": Y[start : start + size]}


def reference(
    batches: list[dict[str, npt.NDArray[np.generic]]], rate: float, decay: float, clip: float
) -> dict[str, np.ndarray]:
    """The same training in float64 NumPy."""
    p = {name: STEP.initial[f"param/{name}"].astype(np.float64) for name in SHAPES}
    m = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for item in batches:
        x, y = item["x"].astype(np.float64), np.eye(CLASSES)[item["target"]]
        before = x @ p["w1"] + p["b1"]
        hidden = np.maximum(before, 0)
        logits = hidden @ p["w2"] + p["b2"]
        soft = np.exp(logits - logits.max(1, keepdims=True))
        d = (soft / soft.sum(1, keepdims=True) - y) / len(x)
        back = (d @ p["w2"].T) * (before > 0)
        grads = {"w1": x.T @ back, "b1": back.sum(0), "w2": hidden.T @ d, "b2": d.sum(0)}
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        for name, grad in grads.items():
            m[name] = 0.9 * m[name] + grad * min(1.0, clip / norm)
            p[name] = p[name] - rate * (m[name] + decay * p[name])
    return p


def test_steps_are_those_of_the_formula_with_any_batch_size() -> None:
    running = stepper()
    batches = [batch(0), batch(16), batch(32, 7), batch(39, 1), batch(40), batch(0, 96)]
    for item in batches:
        result = running.step(item, {"learning_rate": 0.05, "weight_decay": 0.01, "max_norm": 0.7})
        assert (result.updated, result.samples) == (True, len(item["x"]))
        assert result.grad_norm is not None
    for name, want in reference(batches, 0.05, 0.01, 0.7).items():
        np.testing.assert_allclose(running.weights()[name], want, rtol=1e-4, atol=1e-6)


def test_states_are_written_over_themselves_once_that_is_proven_to_change_no_bit() -> None:
    running = stepper()
    assert not running.in_place
    running.step(batch(0))
    assert running.in_place
    live = running._live["param/w1"]
    before = live.ctypes.data
    running.step(batch(16))
    assert running._live["param/w1"].ctypes.data == before


def test_a_step_without_effect_proves_nothing() -> None:
    running = stepper()
    running.step(batch(0), {"learning_rate": 0.0})
    assert not running.in_place
    running.step(batch(0))
    assert running.in_place


def test_a_graph_that_writes_too_early_trains_with_the_same_numbers_as_plain_calls() -> None:
    import onnxruntime as ort

    step = mlp_step(early=True)
    running = stepper(step)
    session = ort.InferenceSession(step.step, providers=["CPUExecutionProvider"])
    states = dict(step.initial)
    scalars = {s.name: np.asarray(s.default, s.dtype) for s in step.spec.scalars}
    for at in range(4):
        running.step(batch(16 * at))
        names = ["loss", *(s.output for s in step.spec.states)]
        given = session.run(names, {**batch(16 * at), **scalars, **states})
        states = {s.input: value for s, value in zip(step.spec.states, given[1:], strict=True)}
    assert not running.in_place
    for name, value in running.state().items():
        np.testing.assert_allclose(value, states[name], rtol=1e-5, atol=1e-7)


def test_batches_that_are_added_up_are_one_large_batch() -> None:
    running, whole = stepper(mlp_step(accumulates=3)), stepper()
    for repeat in range(4):
        flags = [running.step(batch(32 * at, 32), {"learning_rate": 0.05}).updated for at in range(3)]
        assert flags == [False, False, True], repeat
        whole.step(batch(0, 96), {"learning_rate": 0.05})
    assert running.in_place
    for name, value in whole.weights().items():
        np.testing.assert_allclose(running.weights()[name], value, rtol=1e-4, atol=1e-6)


def test_a_reset_forgets_what_was_added_up() -> None:
    running = stepper(mlp_step(accumulates=3))
    running.step(batch(0))
    running.reset()
    assert [running.step(batch(0)).updated for _ in range(3)] == [False, False, True]


def test_a_visitor_reads_and_cannot_write() -> None:
    def spoil(state: StateSpec, live: npt.NDArray[np.generic]) -> None:
        live[...] = 0

    with pytest.raises(ValueError, match="read-only"):
        stepper().visit(spoil)


def test_predict_uses_the_weights_as_they_are_now() -> None:
    running = stepper()
    first = running.predict({"x": X})["logits"]
    for _ in range(30):
        running.step(batch(0, 96))
    after = running.predict({"x": X})["logits"]
    assert (first.argmax(1) == Y).mean() < 0.8
    assert (after.argmax(1) == Y).mean() > 0.95
    np.testing.assert_array_equal(running.predict({"x": X}, batch=17)["logits"].argmax(1), after.argmax(1))
    initial = {name: array for name, array in STEP.initial.items() if name.startswith("param/")}
    np.testing.assert_array_equal(running.predict({"x": X}, states=initial)["logits"], first)
    result = running.step(batch(0), outputs=True)
    np.testing.assert_allclose(result.outputs["logits"], after[:16], rtol=1e-4, atol=1e-5)
    assert running.step(batch(0)).outputs == {}


def test_going_on_from_a_copy_of_the_states_gives_the_same_bits() -> None:
    running = stepper()
    running.step(batch(0))
    kept = running.state()
    running.step(batch(16))
    running.step(batch(32, 5))
    want = running.state()
    fresh = stepper()
    for other in (running, fresh):
        other.load(kept)
        other.step(batch(16))
        other.step(batch(32, 5))
        for name, array in other.state().items():
            np.testing.assert_array_equal(array, want[name])


def test_where_the_numbers_lie_in_memory_changes_no_bit() -> None:
    rows = np.empty(X.nbytes + 64, np.uint8)
    want = None
    for shift in (0, 4, 16, 36):
        moved = rows[shift : shift + X.nbytes].view(np.float32).reshape(X.shape)
        moved[...] = X
        running = stepper()
        for _ in range(3):
            running.step({"x": moved, "target": Y})
        want = want or running.state()
        assert all(np.array_equal(want[name], value) for name, value in running.state().items())


def test_load_names_every_misfit_and_changes_nothing() -> None:
    running = stepper()
    before = running.state()
    bad = running.state()
    del bad["param/b1"]
    bad["param/w1"] = bad["param/w1"].astype(np.float64)
    bad["momentum/w2"] = bad["momentum/w2"].T
    bad["other"] = np.zeros(1)
    with pytest.raises(TensorError, match=r"other.*param/w1.*param/b1: is missing.*momentum/w2"):
        running.load(bad)
    assert all(np.array_equal(before[name], value) for name, value in running.state().items())
    weights = running.state((PARAMETER,))
    assert set(weights) == {f"param/{name}" for name in SHAPES}
    running.load(weights, (PARAMETER,))
    running.step(batch(0))
    running.reset((OPTIMIZER,))
    assert not running.state((OPTIMIZER,))["momentum/w1"].any()
    assert running.state((PARAMETER,))["param/w1"].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": X[:16].astype(np.float64)}, r"x has elements of float64; x: float32 \(batch, 6\) is needed"),
        ({"x": X[:16].tolist()}, "x has elements of list"),
        ({"x": X[:16, :5]}, r"x has the shape \(16, 5\)"),
        ({"x": X[:16, 0]}, r"x has the shape \(16,\)"),
        ({"x": X[:15]}, r"target has 16 at batch \(dimension 0\), and x has 15"),
        ({"x": X[:0], "target": Y[:0]}, "x has no elements"),
        ({"x": np.where(np.arange(16)[:, None] == 3, np.nan, X[:16]).astype(np.float32)}, "x has nan in sample 3"),
        ({"x": np.where(np.arange(16)[:, None] == 9, np.inf, X[:16]).astype(np.float32)}, "x has inf in sample 9"),
        ({"target": np.where(np.arange(16) == 5, CLASSES, Y[:16])}, r"target has 3 in sample 5; .* in 0..2 is needed"),
        ({"target": np.where(np.arange(16) == 6, -1, Y[:16])}, "target has -1 in sample 6"),
        ({"weight": Y[:16]}, "the step takes no weight; it takes x, target"),
        ({"target": None}, "elements of NoneType"),
    ],
)
def test_a_batch_that_does_not_fit_is_named_and_changes_nothing(change: dict[str, object], words: str) -> None:
    running = stepper()
    before = running.state()
    with pytest.raises(TensorError, match=words):
        running.step({**batch(0), **change})  # type: ignore[dict-item]
    assert all(np.array_equal(before[name], value) for name, value in running.state().items())


def test_a_missing_tensor_is_named() -> None:
    with pytest.raises(TensorError, match="the batch lacks target; it has x"):
        stepper().step({"x": X})


def test_values_whose_sum_is_too_large_are_still_finite() -> None:
    with pytest.raises(TrainingDivergedError):  # the sum overflows, the values do not: they reach the graph
        stepper().step({"x": np.full((2, FEATURES), 3e38, np.float32), "target": Y[:2]})


@pytest.mark.parametrize(
    ("scalars", "words"),
    [
        ({"rate": 1.0}, "no scalar rate; it has learning_rate"), ({"learning_rate": float("nan")}, "finite number, not nan"),
        ({"learning_rate": "0.1"}, "finite number, not '0.1'"), ({"seed": 0.5}, r"seed is to be a whole number \(int64\)"),
        ({"seed": 2.0**63}, r"seed is to be a whole number \(int64\)"),
        ({"seed": True}, "finite number"), ({"max_norm": float("inf")}, "finite number, not inf"),
    ],
)  # fmt: skip
def test_scalars_are_known_and_finite(scalars: dict[str, float], words: str) -> None:
    with pytest.raises(TensorError, match=words):
        stepper().step(batch(0), scalars)


def test_divergence_is_an_error_of_its_own() -> None:
    running = stepper()
    running.step(batch(0), {"learning_rate": 1e30})
    with pytest.raises(TrainingDivergedError, match=r"the (loss|gradients' norm) became (nan|inf)"):
        running.step(batch(0))


def test_the_seed_reaches_the_graph() -> None:
    running = stepper(mlp_step(dropout=True))
    losses = []
    for seed in (1, 2, 1):
        running.reset()
        losses.append(running.step(batch(0), {"seed": seed}).loss)
    assert losses[0] == losses[2] != losses[1]


def test_graphs_that_are_not_as_described_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot open the training step"):
        stepper(replace(STEP, step=b"not a model"))
    with pytest.raises(ModelError, match=r"output next/param/b1: is missing"):
        stepper(replace(STEP, step=STEP.forward))
    scalars = tuple(s for s in STEP.spec.scalars if s.name != "momentum")
    with pytest.raises(ModelError, match="input momentum: nothing is known of it"):
        stepper(replace(STEP, spec=replace(STEP.spec, scalars=scalars)))
    wide = (replace(STEP.spec.outputs[0], dtype="float64"),)
    with pytest.raises(ModelError, match="output logits: float32 in the graph, float64 in the description"):
        stepper(replace(STEP, spec=replace(STEP.spec, outputs=wide)))
    running = stepper(replace(STEP, forward=b"not a model"))
    with pytest.raises(ModelError, match="cannot open the forward graph"):
        running.predict({"x": X})


def test_running_needs_no_onnx_and_nothing_that_draws_or_reads_tables() -> None:
    """What a device imports is numpy and onnxruntime."""
    code = (
        "import sys, edgewise.training.personal.trainer\n"
        "print([name for name in ('onnx', 'matplotlib', 'pyarrow', 'PIL', 'onnx_ad') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

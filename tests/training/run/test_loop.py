"""The loop: the same settings give the same bits, the best weights are kept, and every end leaves usable weights."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from tests.training.hand_steps import blobs, mlp_step

from edgewise.bundle.safetensors import Array
from edgewise.clock import FixedClock
from edgewise.errors import CheckpointError, DataError, InputError, TensorError, TrainingDivergedError
from edgewise.measure.metric import Metric
from edgewise.training.data.batches import ArrayBatches, Batches
from edgewise.training.data.chance import seed_at
from edgewise.training.run.history import Progress, Watch
from edgewise.training.run.loop import Checkpoints, Evaluate, Predict, fit
from edgewise.training.run.schedules import parse_schedule
from edgewise.training.run.settings import FitSettings
from edgewise.training.run.step_file import PARAMETER
from edgewise.training.run.stepper import Stepper

X, Y = blobs(128)
HELD_X, HELD_Y = blobs(300, seed=1)
STEP = mlp_step(dropout=True)
SETTINGS = FitSettings(epochs=4, learning_rate=0.05, seed=1, schedule=parse_schedule("cosine:warmup=0.2"))


def train(size: int = 24) -> ArrayBatches:
    return ArrayBatches({"x": X, "target": Y}, size)


def metric(value: float, higher: bool = True) -> Metric:
    return Metric("accuracy", value, value, value, 10, "none", higher_is_better=higher)


def accuracy(predict: Predict) -> Metric:
    return metric(float((predict({"x": HELD_X})["logits"].argmax(1) == HELD_Y).mean()))


def scripted(values: list[float], higher: bool = True) -> Evaluate:
    left = iter(values)
    return lambda predict: metric(next(left), higher)


def stepper() -> Stepper:
    return Stepper(STEP, threads=1)


def same(left: dict[str, Array], right: dict[str, Array]) -> bool:
    return all(np.array_equal(left[name], right[name]) for name in left | right)


def test_training_learns_and_says_how() -> None:
    running, told = stepper(), list[Progress]()
    result = fit(running, train(), accuracy, replace(SETTINGS, epochs=12), watch=told.append)
    assert accuracy(running.predict).value > 0.8
    assert [record.epoch for record in result.history] == list(range(1, 13))
    assert result.history[-1].loss < result.history[0].loss / 2
    assert result.best == result.history[(result.best_epoch or 0) - 1].metric
    assert all(record.samples == 128 and record.seconds > 0 for record in result.history)
    assert (len(told), told[-1].record, result.stopped) == (12 * 7, result.history[-1], "finished")
    assert [progress.step for progress in told[:7]] == [1, 2, 3, 4, 5, 6, 6]
    assert told[3].seconds_left > 0
    assert told[3].samples_per_second > 0
    assert told[-1].seconds_left == pytest.approx(0)


def test_equal_settings_give_equal_bits_and_another_seed_gives_others() -> None:
    states = []
    for seed in (1, 1, 2):
        running = stepper()
        fit(running, train(), None, replace(SETTINGS, seed=seed))
        states.append(running.state())
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


def test_a_run_follows_from_the_weights_and_not_from_what_the_optimiser_remembers() -> None:
    running, fresh = stepper(), stepper()
    fit(running, train(), None, SETTINGS)
    fresh.load(running.state((PARAMETER,)), (PARAMETER,))
    for other in (running, fresh):
        fit(other, train(), None, SETTINGS)
    assert same(running.state(), fresh.state())


def test_the_best_weights_are_kept_not_the_last() -> None:
    kept: list[dict[str, Array]] = []
    values = [0.5, 0.9, 0.7, 0.9]
    for higher in (True, False):
        running = stepper()
        script = scripted(values if higher else [1 - value for value in values], higher)

        def evaluate(predict: Predict, script: Evaluate = script, running: Stepper = running) -> Metric:
            kept.append(running.state((PARAMETER,)))
            return script(predict)

        kept.clear()
        result = fit(running, train(), evaluate, SETTINGS)
        assert result.best_epoch == 2
        assert same(running.state((PARAMETER,)), kept[1])


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    result = fit(stepper(), train(), scripted([0.5, 0.6, 0.6, 0.6, 0.9]), replace(SETTINGS, epochs=9, patience=2))
    assert (result.stopped, len(result.history), result.best_epoch) == ("patience", 4, 2)


def test_evaluation_may_be_rarer_but_never_misses_the_end() -> None:
    result = fit(stepper(), train(), scripted([0.1, 0.2, 0.3]), replace(SETTINGS, epochs=5, evaluate_every=2))
    assert [record.metric is not None for record in result.history] == [False, True, False, True, True]


@pytest.mark.parametrize("best", [0, -1])
def test_an_average_of_the_weights_is_evaluated_and_the_best_one_kept(best: int) -> None:
    running, plain = stepper(), stepper()
    answers: list[Array] = []

    def evaluate(predict: Predict) -> Metric:
        answers.append(predict({"x": HELD_X})["logits"])
        return metric(len(answers) / 10, higher=best == -1)

    fit(running, train(), evaluate, replace(SETTINGS, average=0.95))
    fit(plain, train(), None, SETTINGS)
    np.testing.assert_array_equal(running.predict({"x": HELD_X})["logits"], answers[best])
    assert not same(running.state((PARAMETER,)), plain.state((PARAMETER,)))


@pytest.mark.parametrize("most", [0.5, 0.999])  # one that the rising decay reaches, and one that it does not
def test_the_average_is_the_one_of_the_formula(most: float) -> None:
    running = stepper()
    weights: list[Array] = [STEP.initial["param/w1"]]

    def watch(progress: Progress) -> None:
        if progress.record is None:
            weights.append(running.state()["param/w1"])

    fit(running, train(), None, replace(SETTINGS, average=most), watch=watch)
    mean = weights[0].astype(np.float64)
    for at, weight in enumerate(weights[1:], 1):
        decay = min(most, (1 + at) / (10 + at))
        mean = decay * mean + (1 - decay) * weight
    np.testing.assert_allclose(running.state()["param/w1"], mean, rtol=1e-5, atol=1e-7)


def test_settings_reach_the_step() -> None:
    firm, slack = stepper(), stepper()
    fit(firm, train(), None, replace(SETTINGS, weight_decay=5.0, max_norm=0.01, scalars={"momentum": 0.0}))
    fit(slack, train(), None, SETTINGS)
    assert np.abs(firm.state()["param/w1"]).sum() < np.abs(slack.state()["param/w1"]).sum()
    with pytest.raises(InputError, match="no input for beta"):
        fit(stepper(), train(), None, replace(SETTINGS, scalars={"beta": 1.0}))


def test_no_two_batches_of_a_run_have_the_same_seed() -> None:
    """Else dropout would leave out the same units in every epoch."""
    running, seeds = stepper(), list[int]()

    def watch(progress: Progress) -> None:
        if progress.record is None:
            seeds.append(int(running._scalars["seed"]))

    fit(running, train(), None, SETTINGS, watch=watch)
    assert seeds == [seed_at(SETTINGS.seed, at) for at in range(4 * 6)]


def interrupting(at: int) -> Watch:
    left = iter(range(at))

    def watch(progress: Progress) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return watch


def test_ctrl_c_leaves_the_best_weights_and_the_history() -> None:
    running, kept = stepper(), list[dict[str, Array]]()

    def evaluate(predict: Predict) -> Metric:
        kept.append(running.state((PARAMETER,)))
        return metric(0.9 - 0.1 * len(kept))

    result = fit(running, train(), evaluate, SETTINGS, watch=interrupting(17))
    assert (result.stopped, len(result.history), result.best_epoch) == ("interrupted", 2, 1)
    assert same(running.state((PARAMETER,)), kept[0])


def test_ctrl_c_before_any_evaluation_leaves_the_last_weights() -> None:
    running = stepper()
    result = fit(running, train(), None, SETTINGS, watch=interrupting(3))
    assert (result.stopped, result.history, result.best_epoch) == ("interrupted", (), None)
    assert np.isfinite(running.predict({"x": HELD_X})["logits"]).all()
    assert not same(running.state((PARAMETER,)), {"param/w1": STEP.initial["param/w1"]})


@pytest.mark.parametrize("evaluate", [accuracy, None])
@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("stop", [0, 4, 6, 7, 20])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    tmp_path: Path, evaluate: Evaluate | None, average: float, stop: int
) -> None:
    settings = replace(SETTINGS, average=average)
    whole, again = stepper(), stepper()
    want = fit(whole, train(), evaluate, settings)
    keep = Checkpoints(tmp_path, every_steps=2, data="sha256:1")
    fit(stepper(), train(), evaluate, settings, checkpoints=keep, watch=interrupting(stop))
    result = fit(again, train(), evaluate, settings, checkpoints=keep)
    assert same(whole.state(), again.state())
    assert [record.loss for record in result.history] == [record.loss for record in want.history]
    assert (result.best, result.best_epoch) == (want.best, want.best_epoch)


@pytest.mark.parametrize("stop", [2, 5])
def test_a_run_goes_on_in_the_middle_of_an_update(tmp_path: Path, stop: int) -> None:
    """Four batches make one, and a checkpoint may lie between them."""
    step = mlp_step(accumulates=4)
    whole, again = Stepper(step, threads=1), Stepper(step, threads=1)
    fit(whole, train(), None, SETTINGS)
    keep = Checkpoints(tmp_path, every_steps=1)
    fit(Stepper(step, threads=1), train(), None, SETTINGS, checkpoints=keep, watch=interrupting(stop))
    fit(again, train(), None, SETTINGS, checkpoints=keep)
    assert same(whole.state(), again.state())


def test_a_finished_run_gives_its_result_again_without_training(tmp_path: Path) -> None:
    running, again = stepper(), stepper()
    keep = Checkpoints(tmp_path, every_epochs=3)
    first = fit(running, train(), accuracy, SETTINGS, checkpoints=keep)
    told: list[Progress] = []
    second = fit(again, train(), accuracy, SETTINGS, checkpoints=keep, watch=told.append)
    assert (second, told) == (first, [])
    assert same(running.state(), again.state())


def test_a_run_with_other_settings_data_or_model_is_not_continued(tmp_path: Path) -> None:
    keep = Checkpoints(tmp_path, data="sha256:1")
    fit(stepper(), train(), None, SETTINGS, checkpoints=keep)
    with pytest.raises(CheckpointError, match="another set of settings"):
        fit(stepper(), train(), None, replace(SETTINGS, learning_rate=0.1), checkpoints=keep)
    with pytest.raises(CheckpointError, match="another data set"):
        fit(stepper(), train(), None, SETTINGS, checkpoints=replace(keep, data="sha256:2"))
    with pytest.raises(CheckpointError, match="another data set"):
        fit(stepper(), train(8), None, SETTINGS, checkpoints=keep)
    with pytest.raises(CheckpointError, match="another training step"):
        fit(Stepper(mlp_step(seed=5), threads=1), train(), None, SETTINGS, checkpoints=keep)


class Spoilt:
    """Good batches, and one bad value in the third epoch, in the second batch."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __len__(self) -> int:
        return len(train())

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        for at, batch in enumerate(train().epoch(seed, epoch, start)):
            if (epoch, at) == (2, 1):
                batch["x"][5] = self.value
            yield batch


@pytest.mark.parametrize("evaluate", [scripted([0.5, 0.6]), None])
def test_divergence_says_where_and_puts_the_last_good_weights_back(evaluate: Evaluate | None) -> None:
    running, kept = stepper(), list[dict[str, Array]]()

    def watch(progress: Progress) -> None:
        if progress.record:
            kept.append(running.state((PARAMETER,)))

    with pytest.raises(
        TrainingDivergedError, match=r"in epoch 3, batch 2, .* the weights .*epoch 2 were put"
    ) as caught:
        fit(running, Spoilt(1e30), evaluate, SETTINGS, watch=watch)
    assert (caught.value.details["epoch"], len(caught.value.details["history"])) == (3, 2)
    assert same(running.state((PARAMETER,)), kept[1])


def test_a_bad_value_is_named_with_its_place_before_it_does_harm() -> None:
    running = stepper()
    with pytest.raises(TensorError, match=r"x has nan in sample 5; .* \(epoch 3, batch 2\)"):
        fit(running, Spoilt(float("nan")), None, SETTINGS)
    assert all(np.isfinite(array).all() for array in running.state().values())


@pytest.mark.parametrize("evaluate", [scripted([0.5] * 9), None])
def test_after_a_learning_rate_that_is_too_high_the_weights_are_usable(evaluate: Evaluate | None) -> None:
    running = stepper()
    with pytest.raises(TrainingDivergedError, match=r"became .* in epoch 1, batch \d+, at the learning rate .*e\+"):
        fit(running, train(), evaluate, replace(SETTINGS, learning_rate=1e25))
    assert same(running.state(), dict(STEP.initial))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_answers_out_of_range_are_divergence_but_minus_infinity_may_hide_a_class(value: float) -> None:
    running = stepper()

    def evaluate(predict: Predict) -> Metric:
        state = running.state((PARAMETER,))
        state["param/b2"][1] = value
        running.load(state, (PARAMETER,))
        predict({"x": HELD_X})
        return metric(0.5)

    if value == -np.inf:
        assert fit(running, train(), evaluate, replace(SETTINGS, epochs=1)).best == metric(0.5)
        return
    with pytest.raises(TrainingDivergedError, match=r"answers \(logits\) are not finite numbers in epoch 1"):
        fit(running, train(), evaluate, replace(SETTINGS, epochs=1))
    assert same(running.state(), dict(STEP.initial))


class Wrong:
    """Batches that are not as many as announced."""

    def __init__(self, announced: int) -> None:
        self.announced = announced

    def __len__(self) -> int:
        return self.announced

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[dict[str, Array]]:
        return train().epoch(seed, epoch, start)


@pytest.mark.parametrize(
    ("announced", "words"), [(0, "no batch"), (5, "more batches than the 5"), (7, "had 6 batches; 7")]
)
def test_batches_that_are_not_those_announced_are_refused(announced: int, words: str) -> None:
    wrong: Batches = Wrong(announced)
    with pytest.raises(DataError, match=words):
        fit(stepper(), wrong, None, SETTINGS)


def test_seconds_come_from_the_clock_and_survive_an_interruption(tmp_path: Path) -> None:
    clock = FixedClock()

    def watch(progress: Progress) -> None:
        clock.advance(1.0)
        if progress.epoch == 2 and progress.step == 4 and first:
            raise KeyboardInterrupt

    keep = Checkpoints(tmp_path, every_steps=1)
    first = True
    assert fit(stepper(), train(), None, SETTINGS, checkpoints=keep, watch=watch, clock=clock).stopped == "interrupted"
    first = False
    result = fit(stepper(), train(), None, SETTINGS, checkpoints=keep, watch=watch, clock=clock)
    assert [record.seconds for record in result.history] == [6.0, 5.0, 6.0, 6.0]


def test_a_setting_that_is_text_is_named() -> None:
    with pytest.raises(InputError, match="learning_rate is 'fast'; a number is needed"):
        FitSettings(epochs=1, learning_rate="fast")  # type: ignore[arg-type]


def test_settings_are_checked_all_at_once() -> None:
    with pytest.raises(InputError) as caught:
        FitSettings(
            epochs=0, learning_rate=float("nan"), weight_decay=-1.0, max_norm=0.0, seed=-1, patience=-1, average=1.0,
            evaluate_every=0, scalars={"seed": 1, "x": float("inf")},
        )  # fmt: skip
    for name in (
        "epochs",
        "learning_rate",
        "weight_decay",
        "max_norm",
        "seed",
        "patience",
        "average",
        "evaluate_every",
        "seed is a setting of its own",
        "x is not",
    ):
        assert name in str(caught.value)
    with pytest.raises(InputError, match="seed is beyond"):
        FitSettings(epochs=1, seed=2**53)
    assert SETTINGS.digest() == replace(SETTINGS).digest() != replace(SETTINGS, patience=3).digest()

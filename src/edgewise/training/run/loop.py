"""The training loop: epochs over batches, evaluation, the best weights, checkpoints.

Everything that decides a number is a function of the settings and of the position (epoch, batch): the order of the data, the
learning rate, the seed of a step. So a run that goes on from a checkpoint gives the bits that it would have given.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgewise.bundle.safetensors import Array
from edgewise.clock import Clock, SystemClock
from edgewise.errors import DataError, InputError, TensorError, TrainingDivergedError
from edgewise.measure.metric import Metric
from edgewise.training.data.batches import Batches
from edgewise.training.run.averages import AVERAGED
from edgewise.training.run.checkpoint import CheckpointFolder
from edgewise.training.run.history import FINISHED, INTERRUPTED, NO_PATIENCE, EpochRecord, FitResult, Progress, Watch
from edgewise.training.run.settings import FitSettings
from edgewise.training.run.state import RunState
from edgewise.training.run.step_file import OPTIMIZER
from edgewise.training.run.stepper import Stepper

__all__ = ["Checkpoints", "Evaluate", "Predict", "fit"]

#: Input name -> array, to output name -> array, with the weights that are being evaluated.
Predict = Callable[[Mapping[str, Array]], dict[str, Array]]
#: Measures a model on held-out data.
Evaluate = Callable[[Predict], Metric]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where and when a run keeps its checkpoints: every so many epochs, at the end, and every so many batches (0 for never).

    data: digest of the training data, so that a run does not go on with other data; "" where it is not known. further: what else
    has to be the same, in words, and its digest.
    """

    folder: Path
    every_steps: int = 0
    every_epochs: int = 1
    data: str = ""
    further: Mapping[str, str] = field(default_factory=dict)


def fit(
    stepper: Stepper,
    train: Batches,
    evaluate: Evaluate | None,
    settings: FitSettings,
    *,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
    clock: Clock | None = None,
    predict_batch: int = 64,
) -> FitResult:
    """Train from the weights that ``stepper`` holds; afterwards it holds the best ones, or the last where nothing is evaluated.

    The optimiser begins anew: a run follows from its weights, data and settings alone.
    checkpoints: where it is not None, a run that was killed goes on from there, to the same bits, and a run that was finished
    gives its result again. watch: is told of every batch and epoch. predict_batch: samples at a time in evaluation.
    Ctrl-C ends the run as if it had ended by itself.
    Raises TensorError or DataError for data that does not fit, CheckpointError for a checkpoint of something else,
    TrainingDivergedError where numbers got out of range; the stepper then holds the last good weights.
    """
    if len(train) < 1:
        raise DataError("there is no batch to train on")
    return _Run(stepper, train, evaluate, settings, checkpoints, watch, clock or SystemClock(), predict_batch).run()


class _Run:
    def __init__(
        self,
        stepper: Stepper,
        train: Batches,
        evaluate: Evaluate | None,
        settings: FitSettings,
        checkpoints: Checkpoints | None,
        watch: Watch | None,
        clock: Clock,
        predict_batch: int,
    ) -> None:
        self._stepper, self._train, self._evaluate, self._settings = stepper, train, evaluate, settings
        self._watch, self._clock, self._predict_batch = watch, clock, predict_batch
        self._known = dict.fromkeys(scalar.name for scalar in stepper.spec.scalars)
        self._check_settings()
        self._checkpoints = checkpoints
        self._folder = CheckpointFolder(checkpoints.folder) if checkpoints else None
        self._identity = _identity(stepper, train, settings, checkpoints) if checkpoints else {}
        self._state = RunState(stepper, settings.average)
        self._pace = _Pace(settings, len(train), evaluate is not None)
        if self._folder and (saved := self._folder.read(self._identity)) is not None:
            self._state.load(saved)
        else:
            stepper.reset((OPTIMIZER,))
        # Where nothing is evaluated there is no best epoch, and the last whole one is what divergence falls back to.
        self._good = {} if self._state.best_states else self._state.current()

    def run(self) -> FitResult:
        state, settings = self._state, self._settings
        try:
            while not state.ended:
                self._epoch()
                if settings.patience and state.stale >= settings.patience:
                    state.ended = NO_PATIENCE
                elif state.epoch >= settings.epochs:
                    state.ended = FINISHED
                if self._checkpoints and (state.ended or state.epoch % self._checkpoints.every_epochs == 0):
                    self._save()
        except KeyboardInterrupt:
            state.ended = INTERRUPTED
        except TrainingDivergedError as error:
            raise self._diverged(error) from None
        if final := state.best_states or state.answering():
            self._stepper.load(final, AVERAGED)
        return FitResult(tuple(state.history), state.best_epoch, state.best, state.ended)

    def _epoch(self) -> None:
        state, steps = self._state, len(self._train)
        began = last = self._clock.seconds()
        before = state.seconds
        every = self._checkpoints.every_steps if self._checkpoints else 0
        for batch in self._train.epoch(self._settings.seed, state.epoch, state.step):
            samples = self._batch(batch)
            now = self._clock.seconds()
            state.seconds = before + now - began
            self._pace.trained(samples, now - last)
            last = now
            self._tell(None)
            if every and (state.epoch * steps + state.step) % every == 0 and state.step < steps:
                self._save()
        if state.step != steps:
            raise DataError(f"epoch {state.epoch + 1} had {state.step} batches; {steps} were announced")
        evaluated = self._clock.seconds()
        metric = self._measured()
        done = self._clock.seconds()
        self._pace.evaluated(done - evaluated)
        state.seconds = before + done - began
        record = state.close_epoch(metric)
        self._good = {} if state.best_states else state.current()
        self._tell(record)

    def _batch(self, batch: Mapping[str, Array]) -> int:
        state, spec = self._state, self._stepper.spec
        steps = len(self._train)
        if state.step >= steps:
            raise DataError(f"epoch {state.epoch + 1} has more batches than the {steps} that were announced")
        updates = max(1, self._settings.epochs * steps // spec.accumulates)
        at = state.epoch * steps + state.step
        scalars = self._settings.at(spec, state.updates, updates, at)
        state.learning_rate = scalars["learning_rate"]
        try:
            result = self._stepper.step(batch, {name: value for name, value in scalars.items() if name in self._known})
        except TensorError as error:
            where = f"epoch {state.epoch + 1}, batch {state.step + 1}"
            raise TensorError(f"{error.what} ({where})", remedy=error.remedy, **error.details) from None
        state.step += 1
        state.samples += result.samples
        state.loss_sum += result.loss * result.samples
        if result.updated:
            state.updates += 1
            if state.averages is not None:
                state.averages.update(state.updates)
        return result.samples

    def _measured(self) -> Metric | None:
        done = self._state.epoch + 1
        last = done == self._settings.epochs
        if self._evaluate is None or (done % self._settings.evaluate_every and not last):
            return None
        states = self._state.answering()

        def predict(inputs: Mapping[str, Array]) -> dict[str, Array]:
            outputs = self._stepper.predict(inputs, batch=self._predict_batch, states=states)
            # -inf may hide a class on purpose.
            if bad := [name for name, array in outputs.items() if np.isnan(array).any() or np.isposinf(array).any()]:
                raise TrainingDivergedError(f"the model's answers ({', '.join(bad)}) are not finite numbers")
            return outputs

        return self._evaluate(predict)

    def _save(self) -> None:
        if self._folder is not None:
            self._folder.write(self._state.to_saved(self._identity))

    def _tell(self, record: EpochRecord | None) -> None:
        if self._watch is not None:
            state = self._state
            epoch, step = (record.epoch, len(self._train)) if record else (state.epoch + 1, state.step)
            loss = record.loss if record else state.loss
            rate, left = self._pace.speed(), self._pace.left(state)
            self._watch(
                Progress(
                    epoch, self._settings.epochs, step, len(self._train), loss, state.learning_rate, rate, left, record
                )
            )

    def _check_settings(self) -> None:
        unknown = [name for name in self._settings.scalars if name not in self._known]
        unknown += [
            name
            for name in ("weight_decay", "max_norm")
            if getattr(self._settings, name) is not None and name not in self._known
        ]
        if unknown:
            raise InputError(
                f"the step has no input for {', '.join(unknown)}; it has {', '.join(self._known) or 'none'}",
                remedy="Leave the setting out, or build the step with what uses it.",
            )

    def _diverged(self, error: TrainingDivergedError) -> TrainingDivergedError:
        state = self._state
        self._stepper.reset()
        self._stepper.load(state.best_states or self._good, AVERAGED)
        batch = min(state.step + 1, len(self._train))  # the evaluation is behind the last
        kept = f"of epoch {state.best_epoch or state.epoch}"
        return TrainingDivergedError(
            f"{error.what} in epoch {state.epoch + 1}, batch {batch}, at the learning rate "
            f"{state.learning_rate:.3g}; the weights {kept if state.epoch else 'from before the training'} were put back",
            epoch=state.epoch + 1, batch=batch, learningRate=state.learning_rate,
            history=[record.to_json() for record in state.history], **error.details,
        )  # fmt: skip


class _Pace:
    """How fast this process trains, for the time that is left."""

    def __init__(self, settings: FitSettings, steps: int, evaluates: bool) -> None:
        self._settings, self._steps, self._evaluates = settings, steps, evaluates
        self._seconds, self._batches, self._samples, self._evaluation = 0.0, 0, 0, 0.0

    def trained(self, samples: int, seconds: float) -> None:
        self._seconds += seconds
        self._samples += samples
        self._batches += 1

    def evaluated(self, seconds: float) -> None:
        self._evaluation = seconds

    def speed(self) -> float:
        return self._samples / self._seconds if self._seconds > 0 else 0.0

    def left(self, state: RunState) -> float:
        batches = self._settings.epochs * self._steps - state.epoch * self._steps - state.step
        evaluations = (
            -(-(self._settings.epochs - state.epoch) // self._settings.evaluate_every) if self._evaluates else 0
        )
        return batches * self._seconds / max(1, self._batches) + evaluations * self._evaluation


def _identity(stepper: Stepper, train: Batches, settings: FitSettings, checkpoints: Checkpoints) -> dict[str, str]:
    return {
        "training step": stepper.digest, "set of settings": settings.digest(),
        "data set": f"{checkpoints.data} in {len(train)} batches", **checkpoints.further,
    }  # fmt: skip

"""Learning on the device: a training step that came with a model, the user's own examples, and weights of his own afterwards.

Needs what a device has anyway, numpy and onnxruntime; the step was built elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgewise.bundle.safetensors import Array
from edgewise.errors import DataError
from edgewise.training.data.batches import SAMPLE_WEIGHT, ArrayBatches
from edgewise.training.personal.weights_file import read_weights, write_weights
from edgewise.training.run.averages import AVERAGED
from edgewise.training.run.history import FitResult, Watch
from edgewise.training.run.loop import Checkpoints, Evaluate, fit
from edgewise.training.run.memory import fitting_batch, refuse_over_budget
from edgewise.training.run.schedules import parse_schedule
from edgewise.training.run.settings import FitSettings
from edgewise.training.run.step_file import TrainingStep, ValueSpec
from edgewise.training.run.stepper import Stepper

__all__ = ["Trainer"]

_PREDICT = 64  # samples at a time


class Trainer:
    """A model that learns here. ``fit``, ``predict``, and ``save`` and ``load`` for the weights that came of it."""

    def __init__(
        self,
        step: TrainingStep,
        *,
        budget: int | None = None,
        threads: int | None = None,
        frugal: bool | None = None,
    ) -> None:
        """budget: bytes that training may add to this process, by the step's own estimate; None for no limit.

        frugal: give memory back as soon as it is free, at the price of time; None for where there is a budget.

        Raises MemoryBudgetError, before anything is opened, where not even one sample fits.
        """
        first = step.spec.inputs[0].shape[:1]
        self._fixed = first[0] if first and isinstance(first[0], int) else None
        self._budget = budget
        if budget is not None:
            refuse_over_budget(step.spec, self._fixed or 1, budget)
        self.stepper = Stepper(step, threads, frugal=budget is not None if frugal is None else frugal)

    def fit(
        self,
        x: Array | Mapping[str, Array],
        y: Array | Mapping[str, Array] | None = None,
        *,
        epochs: int = 10,
        batch: int = 32,
        learning_rate: float | None = None,
        schedule: str = "constant",
        weight_decay: float | None = None,
        max_norm: float | None = None,
        seed: int = 0,
        evaluate: Evaluate | None = None,
        patience: int = 0,
        average: float = 0.0,
        checkpoints: Path | None = None,
        watch: Watch | None = None,
    ) -> FitResult:
        """Learn from examples, starting from the weights as they are now.

        x: (N, ...) for the one input, or input name -> array. y: the same for the targets. learning_rate: the step's own where
        none is given. evaluate: measures on examples that were held back; with it the best weights are kept. The other
        arguments are those of FitSettings; checkpoints: a folder, and a run that was killed goes on from there.
        Raises MemoryBudgetError for a batch over the budget, TensorError and DataError for examples that do not fit.
        """
        spec = self.stepper.spec
        size = self._fixed or batch
        if self._budget is not None:
            refuse_over_budget(spec, size, self._budget)
        arrays = _named(x, spec.inputs, "x") | _as_targets(
            _named({} if y is None else y, spec.targets, "y"), spec.targets
        )
        weighted = any(value.name == SAMPLE_WEIGHT for value in spec.batch)
        last = "keep" if self._fixed is None else "pad" if weighted else "drop"
        if weighted and last == "keep" and SAMPLE_WEIGHT not in arrays:
            arrays[SAMPLE_WEIGHT] = np.ones(len(next(iter(arrays.values()))), np.float32)
        # In a step with a fixed batch size what is left over takes part in another epoch: the order changes.
        batches = ArrayBatches(arrays, size, last=last)  # type: ignore[arg-type]
        defaults = {scalar.name: scalar.default for scalar in spec.scalars}
        rate = defaults.get("learning_rate", 1e-3) if learning_rate is None else learning_rate
        settings = FitSettings(
            epochs=epochs, learning_rate=rate, schedule=parse_schedule(schedule), weight_decay=weight_decay,
            max_norm=max_norm, seed=seed, patience=patience, average=average,
        )  # fmt: skip
        return fit(
            self.stepper, batches, evaluate, settings, checkpoints=None if checkpoints is None else Checkpoints(checkpoints),
            watch=watch, predict_batch=self._at_once(),
        )  # fmt: skip

    def predict(self, x: Array | Mapping[str, Array]) -> dict[str, Array]:
        """The answers of the model as it is now: output name -> (N, ...). Raises TensorError for inputs that do not fit."""
        return self.stepper.predict(_named(x, self.stepper.spec.inputs, "x"), batch=self._at_once())

    def weights(self) -> dict[str, Array]:
        """The trained weights by the name that they have in the model."""
        return self.stepper.weights()

    def save(self, path: Path) -> None:
        """Keep the weights in a file (safetensors). Raises StorageError where that is not possible."""
        write_weights(path, self.stepper.state(AVERAGED), self.stepper.digest)

    def load(self, path: Path) -> None:
        """Go on with the weights that ``save`` kept.

        Raises NotFoundError, HostileBundleError for a damaged file, MismatchError for the weights of another step; the weights
        are then unchanged.
        """
        self.stepper.load(read_weights(path, self.stepper.digest), AVERAGED)

    def reset(self) -> None:
        """Back to the weights that came with the model."""
        self.stepper.reset()

    def _at_once(self) -> int:
        if self._budget is None:
            return _PREDICT
        return max(1, min(_PREDICT, fitting_batch(self.stepper.spec, self._budget)))


def _named(value: Array | Mapping[str, Array], specs: tuple[ValueSpec, ...], what: str) -> dict[str, Array]:
    if isinstance(value, Mapping):
        return dict(value)
    plain = [spec for spec in specs if spec.name != SAMPLE_WEIGHT]
    if len(plain) != 1:
        names = ", ".join(spec.name for spec in plain)
        raise DataError(
            f"{what} is to be a mapping of {names or 'nothing'} to arrays", remedy="Pass {name: array, ...}."
        )
    return {plain[0].name: np.asarray(value)}


def _as_targets(arrays: dict[str, Array], specs: tuple[ValueSpec, ...]) -> dict[str, Array]:
    """Integers of any width as the step wants them, floats likewise; never one as the other."""
    for spec in specs:
        array, wanted = arrays.get(spec.name), np.dtype(spec.dtype)
        if array is None or array.dtype == wanted:
            continue
        if {array.dtype.kind, wanted.kind} <= {"i", "u"} or array.dtype.kind == wanted.kind == "f":
            arrays[spec.name] = array.astype(wanted)
    return arrays

"""Learning on a device with what a bundle brings: labels in, answers out, weights of one's own that survive a restart."""

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.document import Document, Variant
from edgewise.bundle.safetensors import Array
from edgewise.errors import DataError, InputError, TensorError
from edgewise.measure.metrics import accuracy
from edgewise.runtime.answer import Answer
from edgewise.runtime.inputs import checks_for
from edgewise.runtime.opening import Candidate, origin_of
from edgewise.runtime.session import Session, Teach
from edgewise.training.personal.engine import ForwardSession, LiveSession
from edgewise.training.personal.targets import as_targets
from edgewise.training.personal.trainer import Trainer
from edgewise.training.personal.weights_file import read_weights, write_weights
from edgewise.training.run.averages import AVERAGED
from edgewise.training.run.history import FitResult, Watch
from edgewise.training.run.loop import Evaluate, Predict
from edgewise.training.run.memory import fitting_batch
from edgewise.training.run.step_file import StepSpec, TrainingStep, misfits

__all__ = ["PERSONAL", "PersonalTrainer", "personal_session"]

#: What an answer's variant ends in where its weights were learnt here.
PERSONAL = "+personal"
_BATCH = 32  # samples of an update where the budget allows it


class PersonalTrainer:
    """One variant of a bundle, learning here. Made by ``Session.trainer``; for one caller at a time.

    step: what its graphs take and give, its weights and the estimate of its memory.
    """

    def __init__(
        self,
        document: Document,
        variant: Variant,
        step: TrainingStep,
        digest: str,
        *,
        budget: int | None = None,
        threads: int | None = None,
        frugal: bool | None = None,
    ) -> None:
        """digest: of the step, which saved weights are bound to. The rest as ``Session.trainer``, which see.

        Raises MemoryBudgetError before anything is opened.
        """
        self._document = document
        self._variant = variant
        self._step = step
        self._digest = digest
        self._budget = budget
        self._trainer = Trainer(step, budget=budget, threads=threads, frugal=frugal)
        self._inputs = {spec.name: variant.inputs.get(spec.name, spec.name) for spec in document.inputs}
        self._checks = checks_for(document.inputs)
        self._session = _session(document, variant, LiveSession(step.spec, self._trainer.predict), step.spec)

    @property
    def step(self) -> StepSpec:
        return self._step.spec

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        held_out: tuple[Any, Any] | None = None,
        epochs: int = 10,
        batch: int | None = None,
        learning_rate: float | None = None,
        schedule: str = "constant",
        weight_decay: float | None = None,
        max_norm: float | None = None,
        seed: int = 0,
        patience: int = 0,
        average: float = 0.0,
        checkpoints: str | PathLike[str] | None = None,
        watch: Watch | None = None,
    ) -> FitResult:
        """Learn from examples, going on from the weights as they are now.

        x: what ``predict`` takes, several examples (N, ...); or input name -> array. y: for classifiers the class of each, as
        its number or its label; for multi-label models rows of 0 and 1, or lists of labels; else the numbers that should come
        out. held_out: further examples (x, y) of a classifier; the weights that do best on them are kept. batch: examples
        in one update; by default 32, or as many as the budget allows. learning_rate: the step's own where none is given.
        The other arguments are those of FitSettings; checkpoints: a folder from which a run that was killed goes on.
        Raises TensorError for inputs that do not fit the interface, DataError that names a label which the model does not
        have, MemoryBudgetError for a batch over the budget, TrainingDivergedError (the last good weights are back then).
        """
        if held_out is not None and not (isinstance(held_out, tuple | list) and len(held_out) == 2):
            raise InputError("held_out is examples and what they are", remedy="Pass a pair of both: held_out=(x, y).")
        arrays, count = self._taken(x)
        targets = as_targets(y, self._step.spec.targets, self._document.labels, count)
        return self._trainer.fit(
            arrays, targets, epochs=epochs, batch=self._batch() if batch is None else batch, learning_rate=learning_rate,
            schedule=schedule, weight_decay=weight_decay, max_norm=max_norm, seed=seed, patience=patience, average=average,
            evaluate=None if held_out is None else self._evaluation(*held_out),
            checkpoints=None if checkpoints is None else Path(checkpoints), watch=watch,
        )  # fmt: skip

    def predict(self, inputs: Any = None, /, **named: Any) -> Answer:
        """Answer one example or a batch with the weights as they are now: see ``Session.predict``."""
        return self._session.predict(inputs, **named)

    def session(self) -> Session:
        """A session with the weights as they are now, which learning on does not change."""
        return personal_session(self._document, self._variant, self._step, self._trainer.stepper.state(AVERAGED))

    def weights(self) -> dict[str, Array]:
        """The trained weights by the name that they have in the model."""
        return self._trainer.weights()

    def save(self, path: str | PathLike[str]) -> None:
        """Keep the weights in a file, for ``load`` and for ``edgewise.load(..., personal=path)``. Raises StorageError."""
        write_weights(Path(path), self._trainer.stepper.state(AVERAGED), self._digest)

    def load(self, path: str | PathLike[str]) -> None:
        """Go on with the weights that ``save`` kept.

        Raises NotFoundError, HostileBundleError for a damaged file, MismatchError for weights of another training step; the
        weights are then unchanged.
        """
        self._trainer.stepper.load(read_weights(Path(path), self._digest), AVERAGED)

    def reset(self) -> None:
        """Back to the weights that came with the bundle."""
        self._trainer.reset()

    def _batch(self) -> int:
        return _BATCH if self._budget is None else max(1, min(_BATCH, fitting_batch(self._step.spec, self._budget)))

    def _taken(self, x: Any) -> tuple[dict[str, Array], int]:
        """x as the step takes it, and how many examples there are."""
        given = x if isinstance(x, Mapping) else {next(iter(self._checks)): x}
        if set(given) != set(self._checks):
            raise DataError(
                f"x is to have {', '.join(self._checks)}; it has {', '.join(map(str, given))}",
                remedy="Pass {input name: array, ...}, one array for each input.",
            )
        arrays = {self._inputs[name]: check(given[name])[0] for name, check in self._checks.items()}
        counts = {len(array) for array in arrays.values()}
        if len(counts) != 1:
            raise DataError(f"the inputs have different numbers of examples: {', '.join(map(str, sorted(counts)))}")
        return arrays, counts.pop()

    def _evaluation(self, x: Any, y: Any) -> Evaluate:
        if self._document.task != "classification":
            raise DataError(
                f"held-out examples judge a classifier, and this model is for {self._document.task}",
                remedy="Leave held_out out.",
            )
        arrays, count = self._taken(x)
        (target,) = as_targets(y, self._step.spec.targets, self._document.labels, count).values()
        classes = np.asarray(target).reshape(count).astype(np.int64)
        decision = self._variant.outputs.get(self._session.origin.decision, self._session.origin.decision)

        def evaluate(predict: Predict) -> Any:
            return accuracy(predict(arrays)[decision], classes)

        return evaluate


def personal_session(
    document: Document,
    variant: Variant,
    step: TrainingStep,
    weights: Mapping[str, Array],
    teach: Teach | None = None,
) -> Session:
    """A session that answers with ``weights`` (state input -> array) by the step's inference graph.

    Raises TensorError where they are not the states of this step, ModelError where the graph cannot be opened.
    """
    if problems := misfits(step.spec.of_role(*AVERAGED), weights):
        raise TensorError(f"these weights do not fit: {'; '.join(problems[:8])}", problems=problems)
    return _session(document, variant, ForwardSession(step.spec, step.forward, weights), step.spec, teach)


def _session(
    document: Document,
    variant: Variant,
    engine: LiveSession | ForwardSession,
    spec: StepSpec,
    teach: Teach | None = None,
) -> Session:
    answering = _answering(document, variant, spec)
    candidate = Candidate(f"{variant.name}{PERSONAL}", "onnxruntime", "CPUExecutionProvider")
    origin = origin_of(answering, candidate, f"weights that were learnt here, from {variant.name}")
    return Session(answering, variant, engine, origin, teach)


def _answering(document: Document, variant: Variant, spec: StepSpec) -> Document:
    """The document with the outputs that a step gives: texts are left out, and classes are then named by its labels."""
    given = {value.name for value in spec.forward_outputs}
    outputs = tuple(output for output in document.outputs if variant.outputs.get(output.name, output.name) in given)
    decision = document.decision if any(output.name == document.decision for output in outputs) else ""
    return replace(document, outputs=outputs, decision=decision)

"""Running a training step on the stock runtime, with everything that a step changes kept where the runtime reads it.

The states (weights, what the optimiser remembers, running averages) are bound once. A step writes each of them over itself:
the graph promises that no new value is written before every old one was used, which holds where each update depends on all
gradients. A promise is checked before it is relied upon: the first steps run twice, once into other buffers and once in
place, from the same values. Only where both give the same bits are the other buffers given up; otherwise they stay, and what
a step wrote there is copied over, at the price of a second set of states.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgewise.bundle.safetensors import Array
from edgewise.errors import TensorError, TrainingDivergedError
from edgewise.training.run.batch_check import check_batch, check_scalars
from edgewise.training.run.bound_graph import BoundGraph, aligned, aligned_copy
from edgewise.training.run.step_file import BUFFER, OPTIMIZER, PARAMETER, StateSpec, TrainingStep, ValueSpec, misfits

__all__ = ["ROLES", "StepResult", "Stepper"]

#: Every role that a state can have.
ROLES = (PARAMETER, OPTIMIZER, BUFFER)
_TRIALS = 3  # steps that may pass before the proof; one with a learning rate of 0 proves nothing


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one batch gave. loss: mean over the batch. outputs: the model's own, where they were asked for.

    grad_norm: global L2 norm before clipping; None for a batch whose gradients were only added up (``updated`` is False).
    """

    loss: float
    grad_norm: float | None
    outputs: Mapping[str, Array]
    samples: int
    updated: bool


class Stepper:
    """An opened training step. For one caller at a time."""

    def __init__(self, step: TrainingStep, threads: int | None = None, *, frugal: bool = False) -> None:
        """threads: for one operator; None for as many as the machine has cores. The bits of a run hold for one number.

        frugal: memory is given back as soon as it is free, for this whole process: less of it, more time.

        Raises ModelError where a graph cannot be opened or is not what the description says.
        """
        self.spec = step.spec
        self.threads = threads or 0
        self.frugal = frugal
        #: Batches whose gradients wait for the next update, 0..accumulates-1.
        self.accumulated = 0
        self._step = step
        self._live = {state.input: aligned_copy(step.initial[state.input]) for state in self.spec.states}
        self._scalars = {scalar.name: aligned((), scalar.dtype) for scalar in self.spec.scalars}
        self._update = _Updating(self, step.step, "the training step", (self.spec.loss, self.spec.grad_norm))
        self._add = (
            None
            if step.accumulate is None
            else _Updating(self, step.accumulate, "the accumulation of gradients", (self.spec.loss,))
        )
        self._forward: tuple[BoundGraph, tuple[ValueSpec, ...]] | None = None

    @property
    def digest(self) -> str:
        """Digest of the whole training step, its first values included."""
        return self._step.digest()

    @property
    def in_place(self) -> bool:
        """True once it is proven that steps write the states over themselves."""
        return self._update.in_place is True

    def step(
        self, batch: Mapping[str, Array], scalars: Mapping[str, float] | None = None, *, outputs: bool = False
    ) -> StepResult:
        """Learn from one batch: input and target name -> array. Batches may differ in size.

        scalars: learning rate and the like; the description's defaults for those not given. outputs: also return the model's.
        Where several batches make one update, the calls before the last only add up gradients.
        Raises TensorError for a batch that does not fit (nothing was changed), TrainingDivergedError where the loss or the
        gradients are not finite (the states are spoilt: load the last good ones), ModelError where the runtime fails.
        """
        samples = check_batch(self.spec.batch, batch)
        for name, value in check_scalars(self.spec.scalars, scalars or {}).items():
            self._scalars[name][...] = value
        updated = self.accumulated + 1 >= self.spec.accumulates
        running = self._update if updated or self._add is None else self._add
        wanted = [value.name for value in self.spec.outputs if value.name in running.graph.outputs] if outputs else []
        loss, norm, found = running.run(batch, wanted)
        self.accumulated = 0 if updated else self.accumulated + 1
        for what, number in (("loss", loss), ("gradients' norm", norm)):
            if number is not None and not math.isfinite(number):
                raise TrainingDivergedError(f"the {what} became {number}", loss=str(loss), gradNorm=str(norm))
        return StepResult(loss, norm if updated else None, found, samples, updated)

    def predict(
        self, inputs: Mapping[str, Array], *, batch: int | None = None, states: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """The model's answers with the weights as they are now: output name -> array.

        batch: samples at a time, where all at once need too much memory. states: weights and buffers to answer with instead.
        Raises TensorError for inputs that do not fit.
        """
        samples = check_batch(self._answering()[1], inputs)
        if batch is None or batch >= samples:
            return self._predict(inputs, states)
        parts = [
            self._predict({name: array[at : at + batch] for name, array in inputs.items()}, states)
            for at in range(0, samples, batch)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def state(self, roles: Sequence[str] = ROLES) -> dict[str, Array]:
        """Copies of the states with these roles, by the name of their input."""
        return {state.input: self._live[state.input].copy() for state in self.spec.of_role(*roles)}

    def weights(self) -> dict[str, Array]:
        """Copies of parameters and buffers by the name that they have in the model: what its file is to hold from now on."""
        return {state.of: self._live[state.input].copy() for state in self.spec.of_role(PARAMETER, BUFFER) if state.of}

    def load(self, state: Mapping[str, Array], roles: Sequence[str] = ROLES) -> None:
        """Go on from these states: all that have these roles, no others. Raises TensorError with every misfit, changing nothing."""
        if problems := misfits(self.spec.of_role(*roles), state):
            raise TensorError(
                f"these states do not fit: {'; '.join(problems[:8])}", remedy="Load what state() of the same step gave.",
                problems=problems,
            )  # fmt: skip
        for name, array in state.items():
            self._live[name][...] = array

    def reset(self, roles: Sequence[str] = ROLES) -> None:
        """Put the states with these roles back to their first values; gradients that were added up are forgotten."""
        for state in self.spec.of_role(*roles):
            self._live[state.input][...] = self._step.initial[state.input]
        if OPTIMIZER in roles:
            self.accumulated = 0

    def visit(self, act: Callable[[StateSpec, Array], Any], roles: Sequence[str] = ROLES) -> None:
        """Call ``act`` with each state and its live values, which it must not change: for averages that need no copy."""
        for state in self.spec.of_role(*roles):
            view = self._live[state.input].view()
            view.flags.writeable = False
            act(state, view)

    def _answering(self) -> tuple[BoundGraph, tuple[ValueSpec, ...]]:
        """The forward graph and what it takes: with any batch size, though the step may have been built for one."""
        if self._forward is None:  # a run without evaluation does without a second session
            graph = BoundGraph(self._step.forward, "the forward graph", self.threads, frugal=self.frugal)
            outputs = {value.name: value.dtype for value in self.spec.forward_outputs}
            graph.check(_dtypes(self), outputs, outputs)
            taken = [replace(value, shape=graph.shapes.get(value.name, value.shape)) for value in self.spec.inputs]
            self._forward = graph, tuple(taken)
        return self._forward

    def _predict(self, inputs: Mapping[str, Array], states: Mapping[str, Array] | None) -> dict[str, Array]:
        graph, _ = self._answering()
        for name in graph.inputs:
            if name in self._live:
                graph.feed(name, self._live[name] if states is None else states[name])
            elif name in self._scalars:
                graph.feed(name, self._scalars[name])
            else:
                graph.feed(name, inputs[name])
        return graph.run([value.name for value in self.spec.forward_outputs])


class _Updating:
    """A graph that changes states, and how far it is proven that it may do so in place."""

    def __init__(self, stepper: Stepper, model: bytes, what: str, needed: Sequence[str]) -> None:
        spec = stepper.spec
        self.graph = BoundGraph(model, what, stepper.threads, frugal=stepper.frugal)
        self.in_place: bool | None = None
        self._live, self._scalars = stepper._live, stepper._scalars  # noqa: SLF001  (one thing in two classes)
        given = {state.output: state.dtype for state in spec.states} | {v.name: v.dtype for v in spec.outputs}
        whole = {state.output for state in spec.states} if spec.grad_norm in needed else set()
        self.graph.check(_dtypes(stepper), given, (*needed, *whole))
        self._states = [state for state in spec.states if state.output in self.graph.outputs]
        self._other: dict[str, Array] = {}
        self._trials = _TRIALS
        self._numbers = {
            name: aligned((), self.graph.outputs[name])
            for name in (spec.loss, spec.grad_norm)
            if name in self.graph.outputs
        }
        self._loss, self._norm = spec.loss, spec.grad_norm

    def run(self, batch: Mapping[str, Array], wanted: Sequence[str]) -> tuple[float, float | None, dict[str, Array]]:
        for name in self.graph.inputs:
            if name not in self._live:
                self.graph.feed(name, batch[name] if name in batch else self._scalars[name])
        for name, number in self._numbers.items():
            self.graph.give(name, number)
        outputs = self._run(wanted)
        norm = self._numbers.get(self._norm)
        return float(self._numbers[self._loss]), None if norm is None else float(norm), outputs

    def _run(self, wanted: Sequence[str]) -> dict[str, Array]:
        if self.in_place:
            self._bind(self._live)
            return self.graph.run(wanted)
        if not self._other:
            self._other = {state.input: aligned(state.shape, state.dtype) for state in self._states}
        self._bind(self._other)
        outputs = self.graph.run(wanted)
        if self.in_place is None:
            self._prove()
        else:
            self._take_over()
        return outputs

    def _prove(self) -> None:
        """Run again, in place, and compare. The live values are the first run's in either case."""
        moved = all(not _same(self._live[s.input], self._other[s.input]) for s in self._states if s.role == PARAMETER)
        numbers = {name: number.copy() for name, number in self._numbers.items()}
        self._bind(self._live)
        self.graph.run()
        equal = all(_same(self._live[name], array) for name, array in self._other.items())
        self._trials -= 1
        if not equal or not all(_same(self._numbers[name], number) for name, number in numbers.items()):
            self.in_place = False
            self._take_over()
            for name, number in numbers.items():
                self._numbers[name][...] = number
        elif moved or not self._trials:
            self.in_place = True
            self._other.clear()

    def _take_over(self) -> None:
        for name, array in self._other.items():
            self._live[name][...] = array

    def _bind(self, target: Mapping[str, Array]) -> None:
        for name in self.graph.inputs:
            if name in self._live:
                self.graph.feed(name, self._live[name])
        for state in self._states:
            self.graph.give(state.output, target[state.input])


def _dtypes(stepper: Stepper) -> dict[str, str]:
    spec = stepper.spec
    found = {value.name: value.dtype for value in spec.batch}
    found |= {scalar.name: scalar.dtype for scalar in spec.scalars}
    return found | {state.input: state.dtype for state in spec.states}


def _same(left: Array, right: Array) -> bool:
    # As bytes: a NaN equals itself, and -0.0 is not 0.0.
    return np.array_equal(left.reshape(-1).view(np.uint8), right.reshape(-1).view(np.uint8))

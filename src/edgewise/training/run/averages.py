"""Averages of the weights over the last updates: often better than the weights themselves (Polyak and Juditsky, 1992)."""

from collections.abc import Mapping

import numpy as np

from edgewise.bundle.safetensors import Array
from edgewise.training.run.bound_graph import aligned_copy
from edgewise.training.run.step_file import BUFFER, PARAMETER, StateSpec
from edgewise.training.run.stepper import Stepper

__all__ = ["AVERAGED", "Averages"]

#: Roles whose states are averaged: what an answer depends on.
AVERAGED = (PARAMETER, BUFFER)


class Averages:
    """Exponential moving averages of a stepper's weights and buffers; ``states`` can stand in for them."""

    def __init__(self, stepper: Stepper, decay: float) -> None:
        """decay: share that an average keeps at an update, 0..1; it begins lower, at (1 + n) / (10 + n) for update n."""
        self.decay = decay
        self._stepper = stepper
        self.states: dict[str, Array] = {}
        stepper.visit(self._start, AVERAGED)

    def update(self, updates: int) -> None:
        """Take in the weights after update number ``updates``, counted from 1."""
        decay = min(self.decay, (1 + updates) / (10 + updates))

        def average(state: StateSpec, live: Array) -> None:
            mean = self.states[state.input]
            if mean.dtype.kind == "f":
                mean += (live - mean) * mean.dtype.type(1 - decay)
            else:
                mean[...] = live

        self._stepper.visit(average, AVERAGED)

    def load(self, states: Mapping[str, Array]) -> None:
        """Go on from these averages, whose names and shapes the caller has checked."""
        for name, array in states.items():
            np.copyto(self.states[name], array)

    def _start(self, state: StateSpec, live: Array) -> None:
        self.states[state.input] = aligned_copy(live)

"""The process that ``measure_memory`` starts: opens one training step, runs it a few times, prints what that took."""

import json
import sys
from pathlib import Path

import numpy as np

from edgewise.bundle.safetensors import Array
from edgewise.measure.resident import peak_bytes
from edgewise.training.run.step_file import StepSpec, TrainingStep, ValueSpec
from edgewise.training.run.stepper import Stepper

__all__ = ["main"]

_STEPS = 5  # the first ones run twice, into other buffers and in place


def main(request: str) -> None:
    """Print ``{"baseline": bytes, "peak": bytes}`` for a request as ``measure_memory`` writes it."""
    asked = json.loads(request)
    baseline = peak_bytes()
    stepper = Stepper(TrainingStep.read(Path(asked["folder"])), threads=1, frugal=asked["frugal"])
    batch = _batch(stepper.spec, asked["samples"], asked["sizes"])
    for _ in range(_STEPS * stepper.spec.accumulates):
        stepper.step(
            batch, {name: 0.0 for name in ("learning_rate",) if any(s.name == name for s in stepper.spec.scalars)}
        )
    sys.stdout.write(json.dumps({"baseline": baseline, "peak": peak_bytes()}))


def _batch(spec: StepSpec, samples: int, sizes: dict[str, int]) -> dict[str, Array]:
    first = spec.inputs[0].shape[0] if spec.inputs[0].shape else ""
    known = sizes if isinstance(first, int) else {**sizes, first: samples}
    rng = np.random.default_rng(0)

    def values(value: ValueSpec) -> Array:
        shape = tuple(known.get(dim, 1) if isinstance(dim, str) else dim for dim in value.shape)
        if np.dtype(value.dtype).kind == "f":
            return rng.random(shape).astype(value.dtype)
        return np.zeros(shape, value.dtype)

    return {value.name: values(value) for value in spec.batch}


if __name__ == "__main__":
    main(sys.argv[1])

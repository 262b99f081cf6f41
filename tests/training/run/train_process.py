"""A training run as a process of its own, to be killed: ``train_process.py STEP_FOLDER DATA.npz CHECKPOINTS OUT.npz``.

Prints a line for each batch. It writes the final states to OUT in one step, so that OUT is there only when the run is over.
"""

import os
import sys
from pathlib import Path

import numpy as np

from edgewise.measure.metric import Metric
from edgewise.training.data.batches import ArrayBatches
from edgewise.training.run.loop import Checkpoints, Predict, fit
from edgewise.training.run.schedules import parse_schedule
from edgewise.training.run.settings import FitSettings
from edgewise.training.run.step_file import TrainingStep
from edgewise.training.run.stepper import Stepper

SETTINGS = FitSettings(
    epochs=6, learning_rate=0.05, schedule=parse_schedule("cosine:warmup=0.1"), weight_decay=0.001, max_norm=1.0, seed=3,
    average=0.9, patience=5,
)  # fmt: skip


def main(step: str, data: str, checkpoints: str, out: str) -> None:
    with np.load(data) as arrays:
        x, y, held_x, held_y = (arrays[name] for name in ("x", "y", "held_x", "held_y"))

    def evaluate(predict: Predict) -> Metric:
        right = float((predict({"x": held_x})["logits"].argmax(1) == held_y).mean())
        return Metric("accuracy", right, right, right, len(held_y), "none")

    stepper = Stepper(TrainingStep.read(Path(step)), threads=1)
    result = fit(
        stepper, ArrayBatches({"x": x, "target": y}, 16), evaluate, SETTINGS,
        checkpoints=Checkpoints(Path(checkpoints), every_steps=3), watch=lambda progress: print("batch", flush=True),
    )  # fmt: skip
    states = stepper.state() | {"losses": np.array([record.loss for record in result.history])}
    np.savez(out + ".draft.npz", **states)
    os.replace(out + ".draft.npz", out)  # noqa: PTH105


if __name__ == "__main__":
    main(*sys.argv[1:])

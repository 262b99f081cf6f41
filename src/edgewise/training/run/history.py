"""What a training run says about itself: each epoch, how far it is, how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.errors import DataError
from edgewise.measure.metric import Metric, figure, whole

__all__ = ["FINISHED", "INTERRUPTED", "NO_PATIENCE", "EpochRecord", "FitResult", "Progress", "Watch"]

#: How a run ended: after all epochs; after too many evaluations without improvement; by Ctrl-C.
FINISHED, NO_PATIENCE, INTERRUPTED = "finished", "patience", "interrupted"


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One pass over the data. epoch: from 1. loss: mean over its samples, each with the weights of its time.

    metric: on held-out data after the pass, None where it was not evaluated. learning_rate: of the last update.
    seconds: of training and evaluation.
    """

    epoch: int
    loss: float
    metric: Metric | None
    learning_rate: float
    seconds: float
    samples: int

    def to_json(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch, "loss": self.loss, "metric": None if self.metric is None else self.metric.to_json(),
            "learningRate": self.learning_rate, "seconds": self.seconds, "samples": self.samples,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EpochRecord":
        """What ``to_json`` wrote. Raises DataError for any other form."""
        metric = value.get("metric")
        if metric is not None and not isinstance(metric, dict):
            raise DataError("metric is to be an object or null")
        return cls(
            whole(value, "epoch"), figure(value, "loss"), None if metric is None else Metric.from_json(metric),
            figure(value, "learningRate"), figure(value, "seconds"), whole(value, "samples"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, after each batch and after each epoch.

    epoch: from 1. step: batches done in this epoch, of ``steps``. loss: mean of this epoch so far. seconds_left: of the whole
    run, at the speed so far. record: the epoch that has just ended, else None.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    samples_per_second: float
    seconds_left: float
    record: EpochRecord | None = None


#: What is told of the progress. It may raise KeyboardInterrupt to end the run.
Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run ended. The stepper holds the weights of ``best_epoch``, or the last ones where nothing was evaluated (None).

    best: the metric of that epoch. stopped: "finished", "patience" or "interrupted".
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int | None
    best: Metric | None
    stopped: str

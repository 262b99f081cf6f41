"""Where a training run is: all that changes while it runs, and nothing else. It can be kept and taken up again."""

from collections.abc import Mapping
from typing import Any

from edgewise.bundle.safetensors import Array
from edgewise.errors import CheckpointError, EdgewiseError
from edgewise.measure.metric import Metric, figure, whole
from edgewise.training.run.averages import AVERAGED, Averages
from edgewise.training.run.checkpoint import Saved
from edgewise.training.run.history import EpochRecord
from edgewise.training.run.step_file import StateSpec, misfits
from edgewise.training.run.stepper import Stepper

__all__ = ["RunState"]

_COUNTS = ("epoch", "step", "updates", "samples", "stale")
_FIGURES = ("loss_sum", "seconds", "learning_rate")


class RunState:
    """The position of a run and what it has gathered; the states themselves are in ``stepper``."""

    def __init__(self, stepper: Stepper, average: float) -> None:
        self.stepper = stepper
        self.averages = Averages(stepper, average) if average else None
        self.epoch = 0  # passes over the data that are complete
        self.step = 0  # batches done in this epoch
        self.updates = 0  # changes of the weights since the start
        self.samples = 0  # in this epoch
        self.loss_sum = 0.0  # over these samples
        self.seconds = 0.0  # of this epoch
        self.learning_rate = 0.0
        self.stale = 0  # evaluations since the best one
        self.history: list[EpochRecord] = []
        self.best_epoch: int | None = None
        self.best: Metric | None = None
        self.best_states: dict[str, Array] = {}
        self.ended = ""  # how, where the run is over

    @property
    def loss(self) -> float:
        """Mean loss of this epoch so far."""
        return self.loss_sum / max(1, self.samples)

    def answering(self) -> dict[str, Array] | None:
        """The states to answer with instead of the live ones; None where it is those."""
        return None if self.averages is None else self.averages.states

    def close_epoch(self, metric: Metric | None) -> EpochRecord:
        """The record of the epoch that has just ended; then the next one begins. Keeps the weights if they are the best."""
        record = EpochRecord(self.epoch + 1, self.loss, metric, self.learning_rate, self.seconds, self.samples)
        self.history.append(record)
        self.epoch, self.step, self.samples, self.loss_sum, self.seconds = self.epoch + 1, 0, 0, 0.0, 0.0
        if metric is not None:
            if self.best is None or _better(metric, self.best):
                self.best, self.best_epoch, self.stale = metric, record.epoch, 0
                self.best_states = self.current()
            else:
                self.stale += 1
        return record

    def current(self) -> dict[str, Array]:
        """Copies of the weights and buffers that answers come from."""
        states = self.answering()
        if states is None:
            return self.stepper.state(AVERAGED)
        return {name: array.copy() for name, array in states.items()}

    def to_saved(self, identity: Mapping[str, str]) -> Saved:
        """Everything, for a checkpoint. The arrays are copies, or are not changed by training."""
        facts: dict[str, Any] = {name: getattr(self, name) for name in (*_COUNTS, *_FIGURES)}
        facts |= {
            "accumulated": self.stepper.accumulated, "history": [record.to_json() for record in self.history],
            "bestEpoch": self.best_epoch or 0, "ended": self.ended,
        }  # fmt: skip
        groups = {"state": self.stepper.state(), "best": self.best_states, "average": self.answering() or {}}
        arrays = {f"{group}/{name}": array for group, found in groups.items() for name, array in found.items()}
        return Saved(identity, facts, arrays)

    def load(self, saved: Saved) -> None:
        """Go on from ``saved``. Raises CheckpointError where it does not fit this stepper, changing nothing."""
        spec = self.stepper.spec
        groups: dict[str, dict[str, Array]] = {"state": {}, "best": {}, "average": {}}
        try:
            for name, array in saved.arrays.items():
                group, _, state = name.partition("/")
                groups[group][state] = array
            counts = {name: whole(saved.facts, name) for name in (*_COUNTS, "accumulated", "bestEpoch")}
            figures = {name: figure(saved.facts, name) for name in _FIGURES}
            history = [EpochRecord.from_json(record) for record in saved.facts["history"]]
            ended = str(saved.facts["ended"])
            best = history[counts["bestEpoch"] - 1].metric if counts["bestEpoch"] else None
        except (EdgewiseError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise CheckpointError(f"the checkpoint is not one of a training run: {error!r:.200}") from None
        answering = spec.of_role(*AVERAGED)
        needed: dict[str, tuple[StateSpec, ...]] = {
            "state": spec.states, "best": answering if best else (), "average": answering if self.averages else (),
        }  # fmt: skip
        if problems := [problem for group, found in groups.items() for problem in misfits(needed[group], found)]:
            raise CheckpointError(
                f"the checkpoint does not fit this step: {'; '.join(problems[:8])}", problems=problems
            )
        self.stepper.load(groups["state"])
        self.stepper.accumulated = counts.pop("accumulated")
        if self.averages is not None:
            self.averages.load(groups["average"])
        self.best_epoch, self.best = counts.pop("bestEpoch") or None, best
        # Copies: what was read are views, which would keep the whole file in memory.
        self.best_states = {name: array.copy() for name, array in groups["best"].items()}
        self.history, self.ended = history, ended
        for name, value in (counts | figures).items():
            setattr(self, name, value)


def _better(new: Metric, old: Metric) -> bool:
    return new.value > old.value if new.higher_is_better else new.value < old.value

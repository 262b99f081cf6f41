"""Passes that write down where they run, for the tests of the search on a cluster: its workers import this module by name."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from onnx import ModelProto
from tests.compress.search.stand_ins import Coarse

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.samples import Samples
from edgewise.runtime import telemetry

__all__ = ["Deadly", "Noting", "Run", "runs", "timer_here"]


@dataclass(frozen=True)
class Run:
    """One beginning of a pass: which, on which node, and how a worker is there."""

    name: str
    node: str
    telemetry: str
    threads: str


@dataclass(frozen=True)
class Noting(Coarse):
    """Rounds weights like ``Coarse``, after ``seconds``."""

    seconds: float = field(default=0.3, compare=False)

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        assert self.log is not None
        _note(self.log, self.name)
        time.sleep(self.seconds)
        return super().apply(model, samples, watch)


@dataclass(frozen=True)
class Deadly(Noting):
    """Takes the process with it that applies it."""

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        super().apply(model, samples, watch)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def timer_here(models: Sequence[ModelProto], feeds: Mapping[str, np.ndarray]) -> list[float]:
    """All take the same time; the process that measured it and its parent are in the file that TIMER_LOG names."""
    Path(os.environ["TIMER_LOG"]).write_text(f"{os.getpid()} {os.getppid()}")
    return [float(index) for index, _ in enumerate(models)]


def runs(log: Path) -> list[Run]:
    """What was begun so far."""
    return [Run(*line.split()) for line in log.read_text().splitlines()] if log.exists() else []


def _note(log: Path, name: str) -> None:
    import ray

    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
    line = f"{name} {node} {telemetry.state()['onnxruntime']} {os.environ.get('OMP_NUM_THREADS', '-')}\n"
    with log.open("a") as file:  # one short write: lines of several processes stay whole
        file.write(line)

"""What is measured of a candidate on this machine: nothing is estimated, and times are always taken beside the original's.

Latency is that of one sample at a time on one thread, in turns with the original in the same run: the ratio of two numbers that saw
the same machine means something, a number alone does not. Nothing else of ours runs meanwhile.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgewise.clock import Clock
from edgewise.measure.latency import Latency, interleave
from edgewise.measure.npz import Array
from edgewise.measure.probe import probe_memory
from edgewise.runtime.engine import EngineSession, OpenOptions, find_engine

__all__ = ["Timed", "Timing", "peak_memory", "time_models"]

_TOGETHER = 8  # models that take turns: few enough that all stay open and each comes often
_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How long is measured: seconds for each model, runs at least."""

    seconds: float
    min_runs: int


@dataclass(frozen=True, slots=True)
class Timed:
    """latency: of one sample. original: of the model as it came, in the same run, in turns."""

    latency: Latency
    original: Latency

    @property
    def ratio(self) -> float:
        """Median in units of the original's median."""
        return self.latency.p50_ms / self.original.p50_ms

    def to_json(self) -> dict[str, Any]:
        return {"latency": self.latency.to_json(), "original": self.original.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Timed":
        """What ``to_json`` wrote."""
        return cls(Latency.from_json(value["latency"]), Latency.from_json(value["original"]))


def time_models(
    original: bytes, models: Mapping[str, bytes], feed: dict[str, Array], *, clock: Clock, timing: Timing
) -> dict[str, Timed]:
    """Each of ``models`` beside ``original``, a few at a time. feed: one sample."""
    names = list(models)
    timed: dict[str, Timed] = {}
    for at in range(0, len(names), _TOGETHER):
        timed |= _together(original, {name: models[name] for name in names[at : at + _TOGETHER]}, feed, clock, timing)
    return timed


def peak_memory(path: Path, sample: Mapping[str, Array]) -> int:
    """Resident bytes, at their highest, of a fresh process that opens the model at ``path`` and answers ten samples; Python and
    onnxruntime included, as in a process that does nothing else. sample: a feed of one. Raises ProbeError.
    """
    inputs = {name: {"shape": array.shape, "dtype": array.dtype.str} for name, array in sample.items()}
    request = {"path": str(path), "inputs": inputs}
    return probe_memory(
        "edgewise.compress.search.memory_process", request, path.stem[:12], sys.executable, _SECONDS
    ).peak


def _together(
    original: bytes, models: Mapping[str, bytes], feed: dict[str, Array], clock: Clock, timing: Timing
) -> dict[str, Timed]:
    engine, opened = find_engine("onnxruntime"), list[EngineSession]()
    try:
        for model in (original, *models.values()):
            opened.append(engine.open({"model.onnx": model}, OpenOptions(threads=1)))
        # The original under a key that no digest has.
        calls = {name: partial(session.run, feed) for name, session in zip(("", *models), opened, strict=True)}
        taken = interleave(calls, clock=clock, min_runs=timing.min_runs, max_seconds=timing.seconds * len(calls))
    finally:
        for session in opened:
            session.close()
    return {name: Timed(taken[name], taken[""]) for name in models}

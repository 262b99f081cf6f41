"""Where the milliseconds go: onnxruntime's own profile of each node, one thread."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from onnx import ModelProto

from edgewise.measure.npz import Array
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["TimeShare", "times_of"]

_WARM = 5


@dataclass(frozen=True, slots=True)
class TimeShare:
    """node: as onnxruntime runs it, after its fusions. microseconds: median of a run."""

    node: str
    operator: str
    microseconds: float

    def to_json(self) -> dict[str, Any]:
        return {"node": self.node, "operator": self.operator, "microseconds": round(self.microseconds, 3)}


def times_of(model: ModelProto, feed: Mapping[str, Array], runs: int = 50) -> tuple[TimeShare, ...]:
    """The slowest nodes first. feed: one input of the model. Clocks of nodes cost time themselves: shares, not sums, are true."""
    with TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for _ in range(runs + _WARM):
            session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            taken[event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]].append(float(event["dur"]))
    shares = [TimeShare(node, operator, median(spans[_WARM:] or spans)) for (node, operator), spans in taken.items()]
    return tuple(sorted(shares, key=lambda share: -share.microseconds))

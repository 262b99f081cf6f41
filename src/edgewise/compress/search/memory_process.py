"""The process that ``peak_memory`` starts: opens one model, answers ten times, prints what that took."""

import json
import sys
from pathlib import Path

import numpy as np

from edgewise.measure.resident import peak_bytes
from edgewise.runtime.engine import OpenOptions, find_engine

__all__ = ["main"]

_ANSWERS = 10


def main(request: str) -> None:
    """Print ``{"baseline": bytes, "peak": bytes}`` for a request as ``peak_memory`` writes it."""
    asked = json.loads(request)
    engine = find_engine("onnxruntime")
    engine.providers()
    baseline = peak_bytes()
    session = engine.open({"model.onnx": Path(asked["path"]).read_bytes()}, OpenOptions(threads=1))
    feed = {name: np.zeros(form["shape"], form["dtype"]) for name, form in asked["inputs"].items()}
    for _ in range(_ANSWERS):
        session.run(feed)
    sys.stdout.write(json.dumps({"baseline": baseline, "peak": peak_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1])

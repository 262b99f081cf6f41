"""The process that ``peak_memory`` starts: opens one candidate, answers ten times, prints what that took."""

import json
import sys
from pathlib import Path

from edgewise.errors import ModelError
from edgewise.measure.resident import peak_bytes
from edgewise.measure.samples import fitting_inputs
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import find_engine
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.store.bundles import open_path
from edgewise.store.home import Home

__all__ = ["main"]

_ANSWERS = 10


def main(request: str) -> None:
    """Print ``{"baseline": bytes, "peak": bytes}`` for a request as ``peak_memory`` writes it."""
    asked = json.loads(request)
    find_engine(asked["engine"]).providers()
    baseline = peak_bytes()
    bundle = open_path(Path(asked["path"]))
    candidate = Candidate(asked["variant"], asked["engine"], asked["provider"], asked["threads"])
    with open_candidate(bundle, candidate, home=Home(Path(asked["home"])), device=read_device()) as session:
        inputs = fitting_inputs(bundle, session)
        if inputs is None:
            raise ModelError("no input could be made that the model takes")
        for _ in range(_ANSWERS):
            session.predict(inputs)
        sys.stdout.write(json.dumps({"baseline": baseline, "peak": peak_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1])

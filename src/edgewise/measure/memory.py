"""Peak memory of a model, measured where it cannot be mistaken for something else: in a process of its own."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgewise.errors import ProbeError
from edgewise.runtime.opening import Candidate
from edgewise.store.home import Home

__all__ = ["PeakMemory", "peak_memory"]

_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Resident bytes of a fresh process: ``baseline`` with the engine imported, ``peak`` after opening and ten answers."""

    baseline: int
    peak: int


def peak_memory(path: Path, candidate: Candidate, home: Home, python: str, seconds: float = _SECONDS) -> PeakMemory:
    """Measure ``candidate`` of the bundle at ``path``. Raises ProbeError where the process ends without a result.

    The caller has verified the bundle; the process does not do it again.
    """
    request = json.dumps({"path": str(path), "home": str(home.root), **candidate.to_json()})
    try:
        # -P: with -m alone Python would import whatever is called numpy.py in the current folder.
        done = subprocess.run(  # noqa: S603  (our own module, arguments as a list)
            [python, "-P", "-m", "edgewise.measure.memory_process", request],
            capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ProbeError(f"measuring the memory of {candidate} took more than {seconds:g} s") from None
    try:
        result = json.loads(done.stdout)
        return PeakMemory(int(result["baseline"]), int(result["peak"]))
    except (ValueError, KeyError, TypeError):
        last = done.stderr.decode(errors="replace").strip().split("\n")[-1][:300]
        raise ProbeError(f"measuring the memory of {candidate} ended with status {done.returncode}: {last}") from None

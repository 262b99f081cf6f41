"""Peak memory of a model, measured where it cannot be mistaken for something else: in a process of its own."""

from pathlib import Path

from edgewise.measure.probe import PeakMemory, probe_memory
from edgewise.runtime.opening import Candidate
from edgewise.store.home import Home

__all__ = ["peak_memory"]

_SECONDS = 120.0


def peak_memory(path: Path, candidate: Candidate, home: Home, python: str, seconds: float = _SECONDS) -> PeakMemory:
    """Measure opening ``candidate`` of the bundle at ``path`` and ten answers. Raises ProbeError where there is no result.

    The caller has verified the bundle; the process does not do it again.
    """
    request = {"path": str(path), "home": str(home.root), **candidate.to_json()}
    return probe_memory("edgewise.measure.memory_process", request, str(candidate), python, seconds)

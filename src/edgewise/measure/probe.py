"""Measuring in a process of its own, where what else this one has done cannot be mistaken for what is measured."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.errors import ProbeError

__all__ = ["PeakMemory", "probe_memory"]


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Resident bytes of a fresh process: ``baseline`` with the engine imported, ``peak`` after the work."""

    baseline: int
    peak: int

    @property
    def extra(self) -> int:
        """What the work adds to a process that has the engine loaded."""
        return max(0, self.peak - self.baseline)


def probe_memory(module: str, request: Mapping[str, Any], what: str, python: str, seconds: float) -> PeakMemory:
    """Run ``module`` with ``request`` as JSON; it prints ``{"baseline": bytes, "peak": bytes}``. what: for messages.

    Raises ProbeError where the process takes more than ``seconds`` or ends without a result.
    """
    try:
        # -P: with -m alone Python would import whatever is called numpy.py in the current folder.
        done = subprocess.run(  # noqa: S603  (our own module, arguments as a list)
            [python, "-P", "-m", module, json.dumps(request)], capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"measuring the memory of {what} took more than {seconds:g} s") from None
    try:
        result = json.loads(done.stdout)
        return PeakMemory(int(result["baseline"]), int(result["peak"]))
    except (ValueError, KeyError, TypeError):
        last = done.stderr.decode(errors="replace").strip().split("\n")[-1][:300]
        raise ProbeError(f"measuring the memory of {what} ended with status {done.returncode}: {last}") from None

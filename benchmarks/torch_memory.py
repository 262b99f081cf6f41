"""Peak memory of ten torch steps, in a process that does nothing else: ``python -m benchmarks.torch_memory NETWORK``."""

import json
import sys
from pathlib import Path

import numpy  # noqa: F401  (what is measured first is a process with NumPy alone)


def resident(field: str) -> int:
    """Bytes: ``VmRSS`` now, ``VmHWM`` at the peak."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def main(name: str) -> None:
    before = resident("VmRSS")
    import edgewise.networks.registry  # what the twin is made from; torch does not need it, so it is taken off below

    ours = resident("VmRSS") - before
    from benchmarks.steps import CASES

    call = next(case for case in CASES if case.name == name).torch_step(threads=1)
    loaded = resident("VmRSS") - ours
    for _ in range(10):
        call()
    print(json.dumps({"baseline": loaded, "peak": resident("VmHWM") - ours}))
    assert edgewise.networks.registry


if __name__ == "__main__":
    main(sys.argv[1])

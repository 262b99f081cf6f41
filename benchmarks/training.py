"""One training step against torch: time, both sides in turns; peak memory, each side in a process of its own."""

import json
import subprocess
import sys
import time
from math import prod
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.page import write_page
from benchmarks.steps import CASES, Case
from edgewise.training.run.memory import measure_memory
from edgewise.training.run.stepper import Stepper

_ROUNDS, _WARM = 25, 5
_THREADS = (1, 2)


def run() -> str:
    try:
        import torch  # noqa: F401
    except ImportError:
        return "skipped: torch is not installed here (pip install torch), and it is the other side of this benchmark"
    rows, ratios, memory = [], {threads: [] for threads in _THREADS}, []
    for case in CASES:
        cells = [case.name]
        for threads in _THREADS:
            ours, theirs = _times(case, threads)
            ratios[threads].append(ours / theirs)
            cells += [f"{theirs:.2f}", f"{ours:.2f}", f"{ours / theirs:.2f}"]
        forward = _forward_time(case)
        memory.append(_peaks(case))
        mine, other = memory[-1]
        cells += [f"{forward:.2f}", f"{other:.0f}", f"{mine:.0f}", f"{mine / other:.2f}"]
        rows.append(cells)
    means = [f"**{prod(r) ** (1 / len(r)):.2f}**" for r in ratios.values()]
    share = prod(mine / other for mine, other in memory) ** (1 / len(memory))
    rows.append(["geometric mean", "", "", means[0], "", "", means[1], "", "", "", f"**{share:.2f}**"])
    headers = (
        "network", "torch, 1 thread", "edgewise", "ratio", "torch, 2 threads", "edgewise", "ratio", "3 x forward", "torch MB",
        "edgewise MB", "ratio",
    )  # fmt: skip
    how = (
        "Forward, loss, backward and Adam on a batch of 32: medians in milliseconds, calls in turns; torch eager on the CPU. "
        "3 x forward: three times onnxruntime's own inference on the batch, one thread: a floor. Memory: peak resident set of "
        "a process that does nothing else but some steps, one thread."
    )
    return write_page("training", headers, rows, how)


def _times(case: Case, threads: int) -> tuple[float, float]:
    step, batch = case.step()
    stepper, other = Stepper(step, threads), case.torch_step(threads)
    sides = {"ours": lambda: stepper.step(batch), "torch": other}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for at in range(_ROUNDS + _WARM):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            if at >= _WARM:
                taken[name].append(time.perf_counter() - start)
    return median(taken["ours"]) * 1e3, median(taken["torch"]) * 1e3


def _forward_time(case: Case) -> float:
    step, batch = case.step()
    stepper = Stepper(step, 1)
    inputs = {value.name: batch[value.name] for value in step.spec.inputs}
    taken = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        stepper.predict(inputs)
        taken.append(time.perf_counter() - start)
    return 3e3 * median(taken[_WARM:])


def _peaks(case: Case) -> tuple[float, float]:
    """MiB of a process with ten steps of ours, and of one with torch's."""
    step, _ = case.step()
    with TemporaryDirectory() as folder:
        step.write(Path(folder))
        ours = measure_memory(Path(folder), case.batch, sys.executable)
    done = subprocess.run([sys.executable, "-m", "benchmarks.torch_memory", case.name], capture_output=True, check=True)
    return ours.peak / 2**20, json.loads(done.stdout)["peak"] / 2**20

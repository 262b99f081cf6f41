"""What a node costs over a bare session, rule on, and whether it answers in time whatever upstream does."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import edgewise
from benchmarks.bundles import models, write_signed
from benchmarks.page import write_page
from edgewise.clock import SystemClock
from edgewise.compose.demo import digits_data, digits_models
from edgewise.measure.latency import interleave
from edgewise.measure.samples import synthetic
from edgewise.routing.breaker import Breaker
from edgewise.routing.egress import NamedAlone
from edgewise.routing.guard import Guard
from edgewise.routing.link import Link
from edgewise.routing.losses import judge_for
from edgewise.routing.node import Node
from edgewise.routing.rules import default_rule
from edgewise.routing.rules.fit import fit_rule
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Upstream
from edgewise.routing.upstreams.oip import OipUpstream
from edgewise.routing.watch.widen import Terms, begin_watch
from edgewise.runtime.session import Session

_SECONDS = 9.0
_CALLS = 10_000
_DEADLINE = 0.03  # seconds
_CALLERS = 2
#: What upstream does, by turns; "killed": its process is.
_FAULTS = (
    "", "hangs", "trickles its headers", "trickles its body", "stops in its body", "never reads", "answers garbage",
    "answers no JSON", "answers without end", "breaks off", "killed",
)  # fmt: skip
_ALL_KEPT = -1e300


def _node(
    session: Session, upstream: Upstream | None, threshold: float, *, guard: bool, breaker: Breaker | None = None
) -> Node:
    decision = session.origin.decision
    outputs = session.predict({spec.name: synthetic(spec) for spec in session.document.inputs}).outputs
    rule = fit_rule(default_rule("classification"), outputs, decision, scale=session.origin.scale)
    watch = begin_watch(Terms(0.01), threshold=threshold if threshold > _ALL_KEPT else -1e29)
    watched = Guard(watch, judge_for("classification").disagree, Random(0).random) if guard else None
    link = upstream and Link(upstream, NamedAlone(upstream.name), SystemClock(), node="device", breaker=breaker)
    return Node([Stage(session, rule, threshold)], link, ident="device", guard=watched)


def run() -> str:
    """What it costs."""
    rows = []
    for name, model in models().items():
        with TemporaryDirectory() as folder:
            path, home = write_signed(model, Path(folder))
            session = edgewise.load(path, home=home, require={"engine": "onnxruntime"})
            plain = _node(session, None, _ALL_KEPT, guard=False)
            watched = _node(session, None, _ALL_KEPT, guard=True)
            x = synthetic(session.document.inputs[0])
            calls: dict[str, Callable[[], object]] = {
                "session": lambda s=session, a=x: s.predict(a), "node": lambda n=plain, a=x: n.predict(a),
                "watched": lambda n=watched, a=x: n.predict(a),
            }  # fmt: skip
            timed = interleave(calls, clock=SystemClock(), max_seconds=_SECONDS)
            bare, node, both = (timed[what].p50_ms * 1000 for what in calls)
            rows.append(
                (name, f"{bare:.1f}", f"{node:.1f}", f"{node - bare:+.1f}", f"{node / bare:.2f}", f"{both - bare:+.1f}")
            )
            session.close()
    how = (
        "Medians in microseconds, calls in turns, batch 1, 1 thread: `Session.predict` alone, with a rule that keeps the "
        "answer, and with the watch over the promise."
    )
    heads = ("model", "session", "node, rule on", "difference", "ratio", "watched, difference")
    return write_page("node", heads, rows, how)


@dataclass(frozen=True, slots=True)
class _Used:
    threads: int
    files: int
    resident: int


def _used() -> _Used:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return _Used(threading.active_count(), len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE"))  # noqa: PTH208


def run_faults() -> str:
    """Whether it answers in time."""
    images = digits_data("eval").x[:100]
    rows = []
    with TemporaryDirectory() as folder:
        path, home = write_signed(digits_models()["int8"], Path(folder))
        session = edgewise.load(path, home=home, require={"engine": "onnxruntime"})
        each = _CALLS // len(_FAULTS) + 1
        with _server(Path(folder)) as (url, command):
            upstream = OipUpstream(url)
            node = _node(session, upstream, 1e300, guard=False, breaker=Breaker(failures=1 << 60))
            for fault in _FAULTS[:-1]:  # what buffers and threads are needed is there afterwards
                command(fault)
                _call(node, images, each)
            before = _used()
            for fault in _FAULTS:
                command(fault)
                late, deferred = _call(node, images, each)
                rows.append((
                    fault or "answers", str(len(late)), f"{deferred}", f"{1000 * float(np.median(late)):+.1f}",
                    f"{1000 * float(np.quantile(late, 0.999)):+.1f}", f"{1000 * float(late.max()):+.1f}",
                ))  # fmt: skip
            time.sleep(1.0)  # what was given up is let go
            after = _used()
            node.close()
    how = (
        f"{_CALLS:,} calls with a deadline of {1000 * _DEADLINE:.0f} ms by {_CALLERS} threads, the breaker held closed so that all "
        "ask; upstream in another process; 9,000 such calls came before. Late: milliseconds after the deadline (below 0: before). "
        f"Threads, files and memory before and after: {before.threads} and {after.threads} threads, {before.files} and "
        f"{after.files} open files, {before.resident / 1e6:.1f} and {after.resident / 1e6:.1f} MB resident."
    )
    heads = ("upstream", "calls", "answered upstream", "late, median", "late, 99.9 %", "late, most")
    return write_page("faults", heads, rows, how)


def _call(node: Node, images: Any, count: int) -> tuple[Any, int]:
    """(calls,) seconds after the deadline, and how many were answered upstream. Every call has to come back with an answer."""
    late: list[list[float]] = [[] for _ in range(_CALLERS)]
    deferred = [0] * _CALLERS

    def work(who: int) -> None:
        for at in range(who, count, _CALLERS):
            start = time.perf_counter()
            answer = node.predict(images[at % len(images)], deadline=_DEADLINE)
            late[who].append(time.perf_counter() - start - _DEADLINE)
            deferred[who] += answer.deferred
            assert answer.deferred != answer.degraded

    threads = [threading.Thread(target=work, args=(who,)) for who in range(_CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = np.concatenate([np.array(one) for one in late])
    assert len(found) == count
    return found, sum(deferred)


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, Callable[[str], None]]]:
    """An inference server in a process of its own, and what tells it what to do from here on."""
    model = folder / "model.onnx"
    model.write_bytes(digits_models()["fp32"].model)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgewise.testing.serve_model", model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    url = process.stdout.readline().strip()

    def command(fault: str) -> None:
        if fault == "killed":
            process.kill()
            process.wait()
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{fault}\n")
        process.stdin.flush()
        process.stdout.readline()

    try:
        yield url, command
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

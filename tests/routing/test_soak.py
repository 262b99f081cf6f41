"""Thousands of calls while upstream does everything that is wrong: each is answered in time, and nothing is left behind."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.clock import SystemClock
from edgewise.compose.demo import digits_model
from edgewise.routing.breaker import Breaker
from edgewise.routing.egress import NamedAlone
from edgewise.routing.link import Link
from edgewise.routing.node import Node
from edgewise.routing.rules import read_rule
from edgewise.routing.stage import Stage
from edgewise.routing.upstreams.oip import OipUpstream
from edgewise.runtime.session import Session

FAULTS = (
    "hangs",
    "trickles its headers",
    "trickles its body",
    "never reads",
    "answers garbage",
    "breaks off",
    "killed",
)
DEADLINE = 0.03
EACH = 150


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    model = tmp_path / "model.onnx"
    model.write_bytes(digits_model("fp32").model)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgewise.testing.serve_model", model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()


def used() -> tuple[int, int, int]:
    """Threads, open files, resident bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE")


def calls(node: Node, images: Any, count: int) -> tuple[list[float], int]:
    late, deferred = [], 0
    for at in range(count):
        start = time.perf_counter()
        answer = node.predict(images[at % len(images)], deadline=DEADLINE)
        late.append(time.perf_counter() - start - DEADLINE)
        assert answer.deferred != answer.degraded
        deferred += answer.deferred
    return late, deferred


@pytest.mark.long
def test_every_call_is_answered_in_time_and_nothing_leaks(
    session: Session, images: Any, server: subprocess.Popen[str]
) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    upstream = OipUpstream(server.stdout.readline().strip())
    rule = read_rule({"name": "max-probability", "of": {"output": session.origin.decision, "form": "probabilities"}})
    link = Link(upstream, NamedAlone(upstream.name), SystemClock(), node="device", breaker=Breaker(failures=1 << 60))
    node = Node([Stage(session, rule, 2.0)], link, ident="device")
    assert calls(node, images, EACH)[1] > EACH / 2
    before = used()
    for fault in FAULTS:
        if fault == "killed":
            server.kill()
            server.wait()
        else:
            server.stdin.write(f"{fault}\n")
            server.stdin.flush()
            server.stdout.readline()
        late, deferred = calls(node, images, EACH)
        assert not deferred, fault
        assert float(np.quantile(late, 0.9)) <= 0.010, fault
    time.sleep(0.5)
    threads, files, resident = used()
    assert threads <= before[0] + 2, "couriers wait for more, and are at most as many as there were callers"
    assert files <= before[1] + 2
    assert resident <= before[2] + 20e6
    link.close()

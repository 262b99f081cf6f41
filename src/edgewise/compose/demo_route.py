"""The second half of the demo: the small digits network on the device, the big one upstream, a promise, and a cut in the network.

The images come from the field: blurred by noise, so that the small network is not sure of all of them. It is calibrated on the 300
calibration images, and answers the 497 that nothing was chosen by. After half of them the process upstream is killed.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.clock import Clock
from edgewise.compose.demo import digits_data
from edgewise.compose.keys import default_signing_key
from edgewise.compose.loading import load
from edgewise.digests import digest_of
from edgewise.errors import ProbeError
from edgewise.packing.pack import sign_release
from edgewise.routing.calibration import Against
from edgewise.routing.fitting import Fit, Recorded, Wanted, calibrate, calibration_of, watching
from edgewise.routing.node import Node
from edgewise.routing.risk import Promise
from edgewise.runtime.answer import Answer
from edgewise.runtime.engine import Array
from edgewise.runtime.session import Session
from edgewise.store.bundles import install_bundle, write_file
from edgewise.store.home import Home
from edgewise.trust.verification import sign_statement

__all__ = ["Half", "Routed", "field_noise", "routed"]

_PROMISE = Promise(0.02, 0.05)
_NOISE = 46.0  # standard deviation, in steps of an image's 255
_STARTED = 20.0  # seconds in which the process upstream has to be there


@dataclass(frozen=True, slots=True)
class Half:
    """Answers before or after the cut. deferred, degraded: how many of them. slowest: seconds of the slowest one."""

    answered: int
    deferred: int
    degraded: int
    right: int
    slowest: float
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Routed:
    """fit: the promise and what it costs. local, upstream: share of the images before the cut that the small and the big network
    have right by themselves. before, after: the answers on either side of it.
    """

    fit: Fit
    local: float
    upstream: float
    before: Half
    after: Half

    def to_json(self) -> dict[str, Any]:
        fit = self.fit
        return {
            "epsilon": fit.promise.epsilon, "delta": fit.promise.delta, "samples": fit.samples, "offload": fit.chosen.offload,
            "oracle": fit.oracle.offload, "local": self.local, "upstream": self.upstream,
            "before": self.before.to_json(), "after": self.after.to_json(),
        }  # fmt: skip


def field_noise(images: Array, seed: int) -> Array:
    """Images (N, H, W, 1) uint8 as a poor camera gives them."""
    noise = np.random.default_rng(seed).normal(0, _NOISE, images.shape)
    found: Array = np.clip(np.round(images + noise), 0, 255).astype(np.uint8)
    return found


def routed(bundle: Bundle, output: Path, home: Home, clock: Clock, report: Callable[[str], None]) -> Routed:
    """Calibrate ``small`` of ``bundle`` against ``big``, write and install the result, and answer with a cut in the middle."""
    report("calibrating: what the small network may keep, so that at most 2 points are lost against the big one")
    calibration = digits_data("calibration")
    images = field_noise(calibration.x, seed=1)
    with (
        load(output, home=home, require={"variant": "big"}) as big,
        load(output, home=home, require={"variant": "small"}) as small,
    ):
        theirs, ours = _scores(big, images), _scores(small, images)
        decision = small.origin.decision
        recorded = Recorded("small", {decision: ours}, bytes=bundle.variant("small").size)
        found = calibrate(
            [recorded], theirs, Wanted(_PROMISE, against="agreement", rules=("max-probability",)), task="classification",
            decision=decision, labels=calibration.labels,
        )  # fmt: skip
        data = {"name": calibration.name, "digest": digest_of(images.tobytes()), "samples": len(images)}
        against = Against("digits", bundle.document.version, bundle.document.labels)
        told = watching(found.chosen, recorded.outputs, ours.argmax(axis=1) != theirs.argmax(axis=1))
        fitted = calibration_of(
            found.chosen, data=data, against=against, measured_at=clock.timestamp(), chosen=True, extra=told
        )
        held_out = digits_data("eval")
        stream, y = field_noise(held_out.x, seed=2), held_out.y
        half = len(stream) // 2
        alone = [float((_scores(model, stream[:half]).argmax(axis=1) == y[:half]).mean()) for model in (small, big)]
    key = default_signing_key(home)
    statement = fitted.statement(*(bundle.variant(name) for name in fitted.variants))
    calibrated = sign_release(with_evidence(bundle, [sign_statement(statement, key)]), key)
    write_file(calibrated, output)
    install_bundle(calibrated, home)
    report("answering on the device, the big network in another process; half way through that process is killed")
    with _upstream(bundle) as (url, cut), load(output, home=home, upstream=url, deadline=0.5) as node:
        before = _answer(node, stream[:half], y[:half], clock)
        cut()
        after = _answer(node, stream[half:], y[half:], clock)
    return Routed(found.chosen, alone[0], alone[1], before, after)


def _scores(session: Session, images: Array) -> Array:
    return session.predict(images).outputs[session.origin.decision]


def _answer(node: Node, images: Array, y: Array, clock: Clock) -> Half:
    answers: list[Answer] = []
    taken = []
    for image in images:
        start = clock.seconds()
        answers.append(node.predict(image))
        taken.append(clock.seconds() - start)
    right = sum(int(answer.index == truth) for answer, truth in zip(answers, y, strict=True))
    why = next((answer.why for answer in answers if answer.degraded), "")
    deferred, degraded = (sum(bool(getattr(answer, what)) for answer in answers) for what in ("deferred", "degraded"))
    return Half(len(answers), deferred, degraded, right, max(taken), why)


@contextmanager
def _upstream(bundle: Bundle) -> Iterator[tuple[str, Callable[[], None]]]:
    """The big network behind the Open Inference Protocol in a process of its own: its address, and what kills it."""
    with TemporaryDirectory(prefix="edgewise-demo-") as folder:
        path = Path(folder) / "big.onnx"
        path.write_bytes(next(iter(bundle.model_files(bundle.variant("big")).values())))
        process = subprocess.Popen(  # noqa: S603  (this interpreter, on a file that was just written)
            [sys.executable, "-m", "edgewise.testing.serve_model", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None

        def cut() -> None:
            process.kill()
            process.wait()

        try:
            url = process.stdout.readline().strip()
            if not url:
                raise ProbeError("the process that is to be upstream did not start")
            yield url, cut
        finally:
            cut()
            process.stdin.close()
            process.stdout.close()
